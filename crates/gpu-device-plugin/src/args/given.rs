//! Which of several names for one thing counts: a flag before the environment, and of two of the same kind ours before
//! NVIDIA's. The one place that knows where a value came from.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::PathArgs;

/// A path, and by which name it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As it was given.
    pub path: PathBuf,
    /// What an error calls it: `--cdi-dir`, or `GANTRY_CDI_DIR (--cdi-dir)` where the environment had it.
    pub name: String,
}

/// A folder or file of the host, by one of two kinds of name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As this process sees it.
    Local(Given),
    /// As the host names it.
    Host(Given),
}

/// The kubelet's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kubelet {
    /// Its registration socket.
    Socket(Given),
    /// Its folder.
    Folder(Given),
}

/// Where things are, each said once at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The kubelet.
    pub kubelet: Option<Kubelet>,
    /// The kubelet's pod resources socket.
    pub pod_resources_socket: Option<Given>,
    /// The driver root.
    pub driver_root: Option<Place>,
    /// Where this process sees the driver root, whose name above is then the host's.
    pub driver_root_ctr_path: Option<Given>,
    /// The root of the device nodes.
    pub dev_root: Option<Place>,
    /// The NVML library.
    pub nvml_library: Option<Given>,
    /// The config file.
    pub config_file: Option<Given>,
    /// The folder for what outlives the process.
    pub state_dir: Option<Given>,
    /// NVIDIA's program for CDI hooks, as the host names it.
    pub cdi_hook_path: Option<Given>,
    /// The folder of CDI specs.
    pub cdi_dir: Option<Given>,
    /// The container runtime's socket.
    pub cri_socket: Option<Given>,
}

/// Sources of a value, the stronger one later.
type Source = ValueSource;

impl PathArgs {
    /// Leaves of each group of names the one that counts.
    ///
    /// # Errors
    /// When two flags contradict each other.
    pub(super) fn settle(self, matches: &ArgMatches, command: &mut Command) -> Result<Paths, clap::Error> {
        let given = |id: &str, path: Option<PathBuf>| given(matches, command, id, path);
        let socket = strongest(vec![
            given("kubelet_socket", self.kubelet_socket),
            given("nvidia_kubelet_socket", self.nvidia_kubelet_socket),
        ]);
        let folder = given("kubelet_dir", self.kubelet_dir);
        let is_flag = |given: &Option<(Source, Given)>| matches!(given, Some((ValueSource::CommandLine, _)));
        let contradict = is_flag(&socket) && is_flag(&folder);
        let kubelet = strongest(vec![
            socket.map(|(source, given)| (source, Kubelet::Socket(given))),
            folder.map(|(source, given)| (source, Kubelet::Folder(given))),
        ]);
        let place = |ours: Option<(Source, Given)>, theirs: Option<(Source, Given)>| {
            let ours = ours.map(|(source, given)| (source, Place::Local(given)));
            let theirs = theirs.map(|(source, given)| (source, Place::Host(given)));
            value(strongest(vec![ours, theirs]))
        };
        let paths = Paths {
            kubelet: value(kubelet),
            pod_resources_socket: value(given("pod_resources_socket", self.pod_resources_socket)),
            driver_root: place(
                given("driver_root", self.driver_root),
                given("nvidia_driver_root", self.nvidia_driver_root),
            ),
            driver_root_ctr_path: value(strongest(vec![
                given("driver_root_ctr_path", self.driver_root_ctr_path),
                given("nvidia_driver_root_ctr_path", self.nvidia_driver_root_ctr_path),
                given("nvidia_container_driver_root", self.nvidia_container_driver_root),
            ])),
            dev_root: place(given("dev_root", self.dev_root), given("nvidia_dev_root", self.nvidia_dev_root)),
            nvml_library: value(given("nvml_library", self.nvml_library)),
            config_file: value(given("config_file", self.config_file)),
            state_dir: value(given("state_dir", self.state_dir)),
            cdi_hook_path: value(strongest(vec![
                given("cdi_hook_path", self.cdi_hook_path),
                given("nvidia_cdi_hook_path", self.nvidia_cdi_hook_path),
                given("nvidia_ctk_path", self.nvidia_ctk_path),
            ])),
            cdi_dir: value(given("cdi_dir", self.cdi_dir)),
            cri_socket: value(given("cri_socket", self.cri_socket)),
        };
        if contradict {
            return Err(command.error(
                ErrorKind::ArgumentConflict,
                "--kubelet-dir and --kubelet-socket both say where the kubelet is: leave one of them out",
            ));
        }
        Ok(paths)
    }
}

fn given(
    matches: &ArgMatches,
    command: &Command,
    id: &str,
    path: Option<PathBuf>,
) -> Option<(Source, Given)> {
    let (path, source) = (path?, matches.value_source(id)?);
    let arg = command.get_arguments().find(|arg| arg.get_id() == id)?;
    let flag = format!("--{}", arg.get_long().unwrap_or(id));
    let name = match (source, arg.get_env()) {
        (ValueSource::EnvVariable, Some(variable)) => format!("{} ({flag})", variable.display()),
        _ => flag,
    };
    Some((source, Given { path, name }))
}

/// Of the strongest source, the first.
fn strongest<T>(group: Vec<Option<(Source, T)>>) -> Option<(Source, T)> {
    let stronger = |best: (Source, T), next: (Source, T)| if next.0 > best.0 { next } else { best };
    group.into_iter().flatten().reduce(stronger)
}

fn value<T>(given: Option<(Source, T)>) -> Option<T> {
    given.map(|(_, value)| value)
}
