//! Lays a simulated node down and starts what every node has before a GPU daemon comes: kubelet and runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use fake_kubelet::control::{self, client::Client};
use nvml_sim::presets;
use nvml_sim::root::RootError;
use nvml_sim::{StateFolder, StateFolderError};
use thiserror::Error;

use crate::container_runtime::{ContainerRuntime, RuntimeAnswer};
use crate::eventually::{NotInTime, eventually};
use crate::kubelet::Kubelet;
use crate::node::{KubeletProcess, Places, SimNode};
use crate::process::{Process, SpawnError};
use crate::programs::{self, MissingProgram};

/// Patience with a kubelet that starts on a busy machine.
const KUBELET_PATIENCE: Duration = Duration::from_secs(20);

/// Longest temporary folder below which a plugin's socket still fits into a socket address of 107 bytes.
const LONGEST_TEMP_DIR: usize = 14;

/// A node that could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// No such preset.
    #[error("no node preset is called {name:?}; there are {}", presets::names(presets::NODES))]
    NoPreset {
        /// The name given.
        name: String,
    },
    /// A library or program is not built.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// The operating system refused.
    #[error("cannot create {}", path.display())]
    Io {
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The driver's state could not be laid down.
    #[error(transparent)]
    Driver(#[from] StateFolderError),
    /// The host root could not be laid down.
    #[error("no host root; if the simulated library is missing, run `cargo build --workspace --bins --lib`")]
    Root(#[from] RootError),
    /// The kubelet could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The kubelet does not answer.
    #[error(transparent)]
    Kubelet(#[from] NotInTime),
}

/// What a node is to be. By default a DGX A100 with a kubelet and a containerd that does CDI.
#[derive(Clone, Debug)]
pub struct Builder {
    preset: String,
    yaml: Option<String>,
    kubelet: bool,
    driver: bool,
    runtime: Option<RuntimeAnswer>,
    kubelet_args: Vec<String>,
    own_clock: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            preset: "dgx-a100".to_owned(),
            yaml: None,
            kubelet: true,
            driver: true,
            runtime: Some(RuntimeAnswer::containerd()),
            kubelet_args: Vec::new(),
            own_clock: false,
        }
    }
}

impl Builder {
    /// A node preset of `nvml-sim`.
    #[must_use]
    pub fn preset(mut self, name: &str) -> Builder {
        self.preset = name.to_owned();
        self
    }

    /// A node file's text in place of a preset.
    #[must_use]
    pub fn yaml(mut self, text: &str) -> Builder {
        self.yaml = Some(text.to_owned());
        self
    }

    /// No kubelet yet: [`SimNode::start_kubelet`] starts it.
    #[must_use]
    pub fn without_kubelet(mut self) -> Builder {
        self.kubelet = false;
        self
    }

    /// Further arguments of `fake-kubelet`.
    #[must_use]
    pub fn kubelet_args(mut self, args: &[&str]) -> Builder {
        self.kubelet_args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// Programs of this node have a wall clock of their own, which [`SimNode::set_clock`] moves: see `crates/clock-shim`. The kubelet
    /// keeps the machine's.
    #[must_use]
    pub fn own_clock(mut self) -> Builder {
        self.own_clock = true;
        self
    }

    /// An empty host root: [`SimNode::install_driver`] brings the driver later.
    #[must_use]
    pub fn without_driver(mut self) -> Builder {
        self.driver = false;
        self
    }

    /// What the container runtime says of itself; `None` is a node without one.
    #[must_use]
    pub fn runtime(mut self, answer: Option<RuntimeAnswer>) -> Builder {
        self.runtime = answer;
        self
    }

    /// Lays the node down and starts kubelet and runtime.
    ///
    /// # Errors
    /// When a preset, a program or the simulated library is missing, or the operating system refuses.
    pub fn build(self) -> Result<SimNode, BuildError> {
        let (name, yaml) = match self.yaml {
            Some(yaml) => (PathBuf::from("node.yaml"), yaml),
            None => {
                let preset = presets::find(presets::NODES, &self.preset);
                let preset = preset.ok_or(BuildError::NoPreset { name: self.preset })?;
                (PathBuf::from(preset.name), preset.yaml.to_owned())
            }
        };
        let temp = temp_dir();
        let dir = tempfile::Builder::new()
            .prefix("gantry-")
            .tempdir_in(&temp)
            .map_err(|source| BuildError::Io { path: temp, source })?;
        let places = Places::below(dir.path());
        for path in places.all() {
            fs::create_dir_all(path).map_err(|source| BuildError::Io { path: path.to_owned(), source })?;
        }
        let driver = StateFolder::create(&places.driver, &name, &yaml)?;
        let runtime = match self.runtime {
            Some(answer) => {
                let socket = places.root.join("run/containerd/containerd.sock");
                let started = ContainerRuntime::start(&socket, answer);
                Some(started.map_err(|source| BuildError::Io { path: socket, source })?)
            }
            None => None,
        };
        let mut node = SimNode::new(dir, places, driver, runtime, self.kubelet_args);
        if self.own_clock {
            node.give_clock()?;
        }
        if self.driver {
            node.install_driver()?;
        }
        if self.kubelet {
            node.start_kubelet()?;
        }
        Ok(node)
    }
}

/// Starts the kubelet's process and waits until it answers.
pub(crate) fn start_kubelet(
    plugin_dir: &Path,
    args: &[String],
    log: PathBuf,
) -> Result<KubeletProcess, BuildError> {
    let program = programs::find("fake-kubelet")?;
    let mut words = vec!["--dir".into(), plugin_dir.as_os_str().to_owned()];
    words.extend(args.iter().map(Into::into));
    let process = Process::spawn(&program, &words, &[], log)?;
    let socket = control::socket(plugin_dir);
    eventually("the kubelet answers", KUBELET_PATIENCE, || {
        let asked = Client::connect(&socket).and_then(|mut client| client.state());
        asked.map_err(|error| format!("{error}; its last words:\n{}", process.last_words(5)))
    })?;
    Ok(KubeletProcess { process, kubelet: Kubelet::at(socket) })
}

/// The usual folder for temporary files, unless sockets below it would be too long.
fn temp_dir() -> PathBuf {
    let usual = env::temp_dir();
    if usual.as_os_str().len() <= LONGEST_TEMP_DIR { usual } else { PathBuf::from("/tmp") }
}
