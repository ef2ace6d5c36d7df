//! Of the several names that one path has, which counts.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use daemon::{Given, strongest, strongest_source};
use node_driver::DriverPaths;

use super::PathArgs;

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
    /// Where the driver is.
    pub driver: DriverPaths,
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

impl PathArgs {
    /// Leaves of each group of names the one that counts.
    ///
    /// # Errors
    /// When two flags contradict each other.
    pub(super) fn settle(self, matches: &ArgMatches, command: &mut Command) -> Result<Paths, clap::Error> {
        let given = |id: &str, path: Option<PathBuf>| daemon::given(matches, command, id, path);
        let socket = strongest_source(vec![
            given("kubelet_socket", self.kubelet_socket),
            given("nvidia_kubelet_socket", self.nvidia_kubelet_socket),
        ]);
        let folder = given("kubelet_dir", self.kubelet_dir);
        let is_flag =
            |given: &Option<(ValueSource, Given)>| matches!(given, Some((ValueSource::CommandLine, _)));
        let contradict = is_flag(&socket) && is_flag(&folder);
        let kubelet = strongest(vec![
            socket.map(|(source, given)| (source, Kubelet::Socket(given))),
            folder.map(|(source, given)| (source, Kubelet::Folder(given))),
        ]);
        let paths = Paths {
            kubelet,
            pod_resources_socket: strongest(vec![given("pod_resources_socket", self.pod_resources_socket)]),
            driver: self.driver.settle(matches, command),
            config_file: strongest(vec![given("config_file", self.config_file)]),
            state_dir: strongest(vec![given("state_dir", self.state_dir)]),
            cdi_hook_path: strongest(vec![
                given("cdi_hook_path", self.cdi_hook_path),
                given("nvidia_cdi_hook_path", self.nvidia_cdi_hook_path),
                given("nvidia_ctk_path", self.nvidia_ctk_path),
            ]),
            cdi_dir: strongest(vec![given("cdi_dir", self.cdi_dir)]),
            cri_socket: strongest(vec![given("cri_socket", self.cri_socket)]),
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
