//! The simulated node: its places, its driver, kubelet and runtime, and the daemons started on it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use nvml_sim::StateFolder;
use tempfile::TempDir;

use crate::builder::{self, BuildError, Builder};
use crate::container::{ContainerView, ResolveError, resolve};
use crate::container_runtime::ContainerRuntime;
use crate::kubelet::Kubelet;
use crate::process::{self, Process, SpawnError};
use crate::programs::{self, MissingProgram};

/// Folders of a node.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The simulated driver's state.
    pub driver: PathBuf,
    /// The host's root.
    pub root: PathBuf,
    kubelet: PathBuf,
    plugins: PathBuf,
    cdi: PathBuf,
    run: PathBuf,
    state: PathBuf,
    logs: PathBuf,
}

impl Places {
    /// The kubelet's folder is a short one beside the root: socket addresses hold 107 bytes.
    pub fn below(dir: &Path) -> Places {
        let root = dir.join("root");
        Places {
            driver: dir.join("driver"),
            kubelet: dir.join("kubelet"),
            plugins: dir.join("kubelet/device-plugins"),
            cdi: root.join("var/run/cdi"),
            run: root.join("run/gantry"),
            state: root.join("var/lib/gantry"),
            logs: dir.join("logs"),
            root,
        }
    }

    /// Those that are to be there from the start.
    pub fn all(&self) -> [&Path; 6] {
        [&self.root, &self.plugins, &self.cdi, &self.run, &self.state, &self.logs].map(PathBuf::as_path)
    }
}

/// A running kubelet and the way to ask it.
#[derive(Debug)]
pub(crate) struct KubeletProcess {
    pub process: Process,
    pub kubelet: Kubelet,
}

/// A wall clock of the node's own.
#[derive(Debug)]
struct OwnClock {
    /// The library by which programs have it.
    library: PathBuf,
    /// The file that says how far it is off.
    file: PathBuf,
}

/// A simulated node. Dropping it ends its kubelet and runtime and removes its folder; daemons started on it end
/// when they are dropped, which has to come first.
#[derive(Debug)]
pub struct SimNode {
    // Processes go before the folder that they use.
    kubelet: Option<KubeletProcess>,
    runtime: Option<ContainerRuntime>,
    driver: StateFolder,
    places: Places,
    kubelet_args: Vec<String>,
    clock: Option<OwnClock>,
    started: AtomicUsize,
    dir: TempDir,
}

impl SimNode {
    /// A node to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        dir: TempDir,
        places: Places,
        driver: StateFolder,
        runtime: Option<ContainerRuntime>,
        kubelet_args: Vec<String>,
    ) -> SimNode {
        let started = AtomicUsize::new(0);
        SimNode { kubelet: None, runtime, driver, places, kubelet_args, clock: None, started, dir }
    }

    /// The simulated driver: its faults, lost GPUs and settings.
    pub fn driver(&self) -> &StateFolder {
        &self.driver
    }

    /// The folder that all of it is in, for a test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The host's root, which is the driver root as well.
    pub fn root(&self) -> &Path {
        &self.places.root
    }

    /// The kubelet's folder.
    pub fn kubelet_dir(&self) -> &Path {
        &self.places.kubelet
    }

    /// The folder of `kubelet.sock`.
    pub fn plugin_dir(&self) -> &Path {
        &self.places.plugins
    }

    /// Where CDI specs are; the host calls it `/var/run/cdi`.
    pub fn cdi_dir(&self) -> &Path {
        &self.places.cdi
    }

    /// The daemons' run folder; the host calls it `/run/gantry`.
    pub fn run_dir(&self) -> &Path {
        &self.places.run
    }

    /// The daemons' state folder; the host calls it `/var/lib/gantry`.
    pub fn state_dir(&self) -> &Path {
        &self.places.state
    }

    /// The container runtime, if the node has one.
    pub fn runtime(&self) -> Option<&ContainerRuntime> {
        self.runtime.as_ref()
    }

    /// Lays the driver's files into the host root.
    ///
    /// # Errors
    /// When the simulated library is not built, or the operating system refuses.
    pub fn install_driver(&self) -> Result<(), BuildError> {
        nvml_sim::root::lay(&self.driver, &self.places.root, None)?;
        Ok(())
    }

    /// Starts the kubelet's process; one that runs is ended first.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer.
    pub fn start_kubelet(&mut self) -> Result<(), BuildError> {
        self.kubelet = None;
        let log = self.log_file("fake-kubelet");
        self.kubelet = Some(builder::start_kubelet(&self.places.plugins, &self.kubelet_args, log)?);
        Ok(())
    }

    /// From now on programs have a clock of their own.
    pub(crate) fn give_clock(&mut self) -> Result<(), MissingProgram> {
        let library = programs::find_library("libclock_shim.so")?;
        self.clock = Some(OwnClock { library, file: self.dir().join("clock") });
        Ok(())
    }

    /// Sets the wall clock of this node's programs so many seconds ahead of the machine's, or behind it, at once and also for
    /// those that run. It is the machine's until then.
    ///
    /// # Errors
    /// When the file cannot be written, or the node was built without [`Builder::own_clock`].
    pub fn set_clock(&self, seconds: i64) -> io::Result<()> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the node has no clock of its own");
        let OwnClock { file, .. } = self.clock.as_ref().ok_or_else(none)?;
        // Nobody reads half a number.
        let fresh = file.with_extension("fresh");
        fs::write(&fresh, seconds.to_string())?;
        fs::rename(&fresh, file)
    }

    /// The kubelet; asking fails when none was started.
    pub fn kubelet(&self) -> Kubelet {
        match &self.kubelet {
            Some(kubelet) => kubelet.kubelet.clone(),
            None => Kubelet::at(fake_kubelet::control::socket(&self.places.plugins)),
        }
    }

    /// The kubelet's process, if it was started.
    pub fn kubelet_process(&self) -> Option<&Process> {
        self.kubelet.as_ref().map(|kubelet| &kubelet.process)
    }

    /// Starts a program of this workspace with exactly these arguments. Of the environment it gets a plain `PATH`,
    /// and what the simulated driver needs.
    ///
    /// # Errors
    /// When it is not built, or cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, name: &str, args: &[S]) -> Result<Process, SpawnError> {
        Process::spawn(&programs::find(name)?, args, &self.environment(), self.log_file(name))
    }

    /// Starts a command, such as one of [`SimNode::command_at`]; `name` names its log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_command(&self, name: &str, command: Command) -> Result<Process, SpawnError> {
        Process::start(name.to_owned(), command, self.log_file(name))
    }

    /// Any program, with the environment that [`SimNode::spawn`] gives.
    pub fn command_at(&self, program: &Path) -> Command {
        process::command(program, &self.environment())
    }

    /// A program of this workspace that is to run to its end, with the environment that [`SimNode::spawn`] gives.
    ///
    /// # Errors
    /// When it is not built.
    pub fn command(&self, name: &str) -> Result<Command, MissingProgram> {
        Ok(self.command_at(&programs::find(name)?))
    }

    /// Starts `gpu-device-plugin` on this node; `args` come after the node's own flags.
    ///
    /// # Errors
    /// As [`SimNode::spawn`].
    pub fn spawn_plugin(&self, args: &[&str]) -> Result<Process, SpawnError> {
        let mut words = self.plugin_flags();
        words.extend(args.iter().map(Into::into));
        self.spawn("gpu-device-plugin", &words)
    }

    /// Flags that `gpu-device-plugin` takes, for this node.
    pub fn plugin_flags(&self) -> Vec<OsString> {
        let mut words = self.daemon_flags();
        words.push(flag("kubelet-dir", &self.places.kubelet));
        words
    }

    /// Flags that every daemon takes, for this node: roots, folders, and a free admin port.
    pub fn daemon_flags(&self) -> Vec<OsString> {
        vec![
            flag("host-root", &self.places.root),
            flag("run-dir", &self.places.run),
            "--admin-address=127.0.0.1:0".into(),
        ]
    }

    /// What a container with these CDI devices would get.
    ///
    /// # Errors
    /// When a name is in no spec.
    pub fn resolve_cdi(&self, names: &[String]) -> Result<ContainerView, ResolveError> {
        resolve(&self.places.cdi, names)
    }

    fn environment(&self) -> Vec<(&str, &OsStr)> {
        let mut variables = vec![("NVML_SIM_DIR", self.places.driver.as_os_str())];
        if let Some(OwnClock { library, file }) = &self.clock {
            variables.extend([("LD_PRELOAD", library.as_os_str()), ("CLOCK_SHIM_FILE", file.as_os_str())]);
        }
        variables
    }

    fn log_file(&self, name: &str) -> PathBuf {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        self.places.logs.join(format!("{name}-{number}.log"))
    }
}

fn flag(name: &str, value: &Path) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}
