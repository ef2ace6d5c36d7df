//! Validated settings: every default is decided, every path is host or local, and what cannot work is refused here
//! with the flag, the value and what would be right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gpu_model::ResourceName;
use gpu_model::names::RESOURCE_GPU;
use kubelet_api::deviceplugin::KUBELET_SOCKET_NAME;
use node_host::device::NonDevices;
use node_host::{DriverRoot, HostPath, HostRoot, LocalPath, Root};
use thiserror::Error;

use crate::args::{BehaviourArgs, CdiProofMode, PathArgs};
use crate::socket::SocketNames;
use crate::{cdi_gate, driver};

/// Where drivers are installed, in the order of search: on the host, or by a driver container.
const DRIVER_ROOTS: [&str; 2] = ["/", "/run/nvidia/driver"];

/// Where runtimes have their CRI sockets.
const CRI_SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock"];

/// Folder of CDI specs that change at run time, by CDI's convention.
const CDI_DIR: &str = "/var/run/cdi";

/// The kubelet's folder.
const KUBELET_DIR: &str = "/var/lib/kubelet";

/// Folder of plugins' sockets in it.
const PLUGINS: &str = "device-plugins";

/// What the simulated driver's library reads; passed on to the workers, which inherit nothing. Where it is set, plain
/// files may stand for device nodes: without root the simulator can make no others.
const SIMULATOR_VARIABLE: &str = "NVML_SIM_DIR";

/// Settings of the plugin.
#[derive(Clone, Debug)]
pub struct Config {
    /// The resource to offer.
    pub resource: ResourceName,
    /// The kubelet's socket.
    pub kubelet_socket: PathBuf,
    /// Names of our sockets beside it.
    pub socket_names: SocketNames,
    /// Where the driver is.
    pub driver: driver::Settings,
    /// NVML's workers.
    pub nvml: nvml::Config,
    /// Folder for our CDI spec.
    pub cdi_dir: LocalPath,
    /// How CDI is proven.
    pub cdi_gate: cdi_gate::Settings,
    /// Folder for files that other daemons read.
    pub run_dir: LocalPath,
    /// Time between two probes of all GPUs.
    pub probe_interval: Duration,
}

/// A setting that cannot work.
#[derive(Debug, Error)]
#[error("{flag} {value:?}: {hint}")]
pub struct ConfigError {
    flag: &'static str,
    value: String,
    hint: String,
}

impl ConfigError {
    fn new(flag: &'static str, value: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { flag, value: value.into(), hint: hint.into() }
    }

    fn path(flag: &'static str, value: &Path, hint: impl ToString) -> Self {
        Self::new(flag, value.display().to_string(), hint.to_string())
    }
}

/// What tells this process from any other one.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Process id.
    pub pid: u32,
    /// A random number.
    pub token: u64,
}

impl Config {
    /// Validates what the command line gave.
    ///
    /// # Errors
    /// At the first setting that cannot work.
    pub fn new(
        paths: PathArgs,
        behaviour: BehaviourArgs,
        runtime: &daemon::RuntimeArgs,
        instance: Instance,
    ) -> Result<Self, ConfigError> {
        let PathArgs {
            kubelet_dir,
            kubelet_socket,
            nvidia_kubelet_socket,
            driver_root,
            nvidia_driver_root,
            driver_root_ctr_path,
            nvidia_driver_root_ctr_path,
            nvidia_container_driver_root,
            dev_root,
            nvidia_dev_root,
            nvml_library,
            cdi_dir,
            cri_socket,
        } = paths;
        let BehaviourArgs {
            cdi_proof,
            probe_interval,
            nvml_call_timeout,
            nvml_init_timeout,
            mig_strategy,
            device_list_strategy,
            device_id_strategy,
        } = behaviour;
        only("--mig-strategy", mig_strategy, "none")?;
        only("--device-list-strategy", device_list_strategy, "cdi-cri")?;
        only("--device-id-strategy", device_id_strategy, "uuid")?;
        between("--probe-interval", probe_interval, Duration::from_secs(1), Duration::from_secs(3600))?;
        between(
            "--nvml-call-timeout",
            nvml_call_timeout,
            Duration::from_millis(100),
            Duration::from_secs(3600),
        )?;
        between(
            "--nvml-init-timeout",
            nvml_init_timeout,
            Duration::from_millis(100),
            Duration::from_secs(3600),
        )?;

        let host = HostRoot::new(absolute("--host-root", runtime.host_root.clone())?);
        let run_dir = LocalPath::new(absolute("--run-dir", runtime.run_dir.clone())?);
        let simulator = std::env::var_os(SIMULATOR_VARIABLE);
        let non_devices = if simulator.is_some() { NonDevices::Simulated } else { NonDevices::Refused };
        let driver = Drivers {
            root: driver_root,
            host_root: nvidia_driver_root,
            local: driver_root_ctr_path.or(nvidia_driver_root_ctr_path).or(nvidia_container_driver_root),
            devices: dev_root,
            host_devices: nvidia_dev_root,
            library: nvml_library,
            non_devices,
        };
        let driver = driver.settings(&host, run_dir.join("device-plugin/stage"))?;

        let resource: ResourceName = RESOURCE_GPU
            .parse()
            .map_err(|error| ConfigError::new("resource", RESOURCE_GPU, format!("{error}")))?;
        let socket_names = SocketNames::new(&resource, instance.pid, instance.token);
        let kubelet_socket = match (kubelet_socket.or(nvidia_kubelet_socket), kubelet_dir) {
            (Some(socket), _) => absolute("--kubelet-socket", socket)?,
            (None, Some(dir)) => absolute("--kubelet-dir", dir)?.join(PLUGINS).join(KUBELET_SOCKET_NAME),
            (None, None) => on_host(&host, KUBELET_DIR)?.join(PLUGINS).join(KUBELET_SOCKET_NAME),
        };
        let folder = kubelet_socket.parent().unwrap_or(Path::new("/"));
        socket_names
            .check_length(folder)
            .map_err(|error| ConfigError::path("--kubelet-dir", folder, error))?;

        let cdi_dir = match cdi_dir {
            Some(dir) => absolute("--cdi-dir", dir)?,
            None => on_host(&host, CDI_DIR)?,
        };
        let cdi_dir = LocalPath::new(cdi_dir);
        let spec_dir = mounted(&host, "--cdi-dir", cdi_dir.as_path().to_owned())?.host().as_str().into();
        let cdi_gate = match cdi_proof {
            CdiProofMode::Assume => cdi_gate::Settings::Assume,
            CdiProofMode::Auto => {
                cdi_gate::Settings::Ask { sockets: cri_sockets(&host, cri_socket)?, spec_dir }
            }
        };

        let mut nvml = nvml::Config::default();
        nvml.deadlines.query = nvml_call_timeout;
        nvml.deadlines.init = nvml_init_timeout;
        nvml.extra_env.extend(simulator.map(|dir| (SIMULATOR_VARIABLE.into(), dir)));
        Ok(Self {
            resource,
            kubelet_socket,
            socket_names,
            driver,
            nvml,
            cdi_dir,
            cdi_gate,
            run_dir,
            probe_interval,
        })
    }
}

/// What was said about the driver, before it is understood.
struct Drivers {
    /// Ours: a path that this process opens, or the host's name of it when `local` is given too.
    root: Option<PathBuf>,
    /// NVIDIA's: the host's name.
    host_root: Option<PathBuf>,
    local: Option<PathBuf>,
    devices: Option<PathBuf>,
    host_devices: Option<PathBuf>,
    library: Option<PathBuf>,
    non_devices: NonDevices,
}

impl Drivers {
    fn settings(self, host: &HostRoot, stage: LocalPath) -> Result<driver::Settings, ConfigError> {
        let candidates = match (self.root, self.host_root, self.local) {
            (Some(root), _, None) => vec![mounted(host, "--driver-root", root)?],
            (None, Some(root), None) => vec![below(host, host_path("--driver-root", &root)?)],
            (root, host_root, Some(local)) => {
                let root = root.or(host_root).unwrap_or_else(|| PathBuf::from("/"));
                let local = LocalPath::new(absolute("--driver-root-ctr-path", local)?);
                vec![Root::new(host_path("--driver-root", &root)?, local)]
            }
            (None, None, None) => {
                let roots = DRIVER_ROOTS.iter().map(|root| host_path("--driver-root", Path::new(root)));
                roots.map(|root| root.map(|root| below(host, root))).collect::<Result<_, _>>()?
            }
        };
        let device_root = match (self.devices, self.host_devices) {
            (Some(root), _) => Some(mounted(host, "--dev-root", root)?),
            (None, Some(root)) => Some(below(host, host_path("--dev-root", &root)?)),
            (None, None) => None,
        };
        let library = self.library.map(|library| absolute("--nvml-library", library)).transpose()?;
        let candidates =
            candidates.iter().map(|root| DriverRoot::at(root.host().clone(), root.local().clone())).collect();
        Ok(driver::Settings {
            candidates,
            device_root,
            non_devices: self.non_devices,
            library,
            stage,
            host: host.clone(),
        })
    }
}

/// A root that this process has at `local`. Outside the host root the host's name is not known: a folder is
/// mounted at the same path, as a rule.
fn mounted(host: &HostRoot, flag: &'static str, local: PathBuf) -> Result<Root, ConfigError> {
    let local = LocalPath::new(absolute(flag, local)?);
    let on_host = match host.host(&local) {
        Some(path) => path,
        None => host_path(flag, local.as_path())?,
    };
    Ok(Root::new(on_host, local))
}

fn below(host: &HostRoot, root: HostPath) -> Root {
    let local = host.local(&root);
    Root::new(root, local)
}

fn cri_sockets(host: &HostRoot, named: Option<PathBuf>) -> Result<Vec<PathBuf>, ConfigError> {
    match named {
        Some(socket) => Ok(vec![absolute("--cri-socket", socket)?]),
        None => CRI_SOCKETS.iter().map(|socket| on_host(host, socket)).collect(),
    }
}

fn on_host(host: &HostRoot, path: &str) -> Result<PathBuf, ConfigError> {
    Ok(host.local(&host_path("--host-root", Path::new(path))?).into())
}

fn host_path(flag: &'static str, path: &Path) -> Result<HostPath, ConfigError> {
    let text =
        path.to_str().ok_or_else(|| ConfigError::path(flag, path, "a path on the host must be UTF-8"))?;
    HostPath::new(text).map_err(|error| ConfigError::path(flag, path, error))
}

fn absolute(flag: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(ConfigError::path(flag, &path, "an absolute path is needed, such as /var/lib/kubelet"))
}

fn only(flag: &'static str, value: Option<String>, supported: &str) -> Result<(), ConfigError> {
    match value {
        Some(value) if value != supported => Err(ConfigError::new(
            flag,
            value,
            format!("only {supported:?} is supported so far; leave it out or set it to that"),
        )),
        _ => Ok(()),
    }
}

fn between(flag: &'static str, value: Duration, least: Duration, most: Duration) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(flag, format!("{value:?}"), format!("it must be between {least:?} and {most:?}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let args = Args::try_parse_from([&["gpu-device-plugin"], flags].concat())
            .map_err(|error| error.to_string())?;
        let instance = Instance { pid: 1, token: 2 };
        Config::new(args.paths, args.behaviour, &args.runtime, instance).map_err(|error| error.to_string())
    }

    fn local(root: &DriverRoot) -> &Path {
        root.root().local().as_path()
    }

    #[test]
    fn defaults_are_those_of_a_node_and_hang_below_the_host_root() {
        let config = config(&["--host-root", "/host"]).unwrap();
        assert_eq!(config.kubelet_socket, Path::new("/host/var/lib/kubelet/device-plugins/kubelet.sock"));
        assert_eq!(config.cdi_dir.as_path(), Path::new("/host/var/run/cdi"));
        assert_eq!(
            config.driver.candidates.iter().map(local).collect::<Vec<_>>(),
            [Path::new("/host/"), Path::new("/host/run/nvidia/driver")]
        );
        let cdi_gate::Settings::Ask { sockets, spec_dir } = config.cdi_gate else { panic!("assumed") };
        assert_eq!(sockets[0], Path::new("/host/run/containerd/containerd.sock"));
        assert_eq!(spec_dir, Path::new("/var/run/cdi"));
    }

    #[test]
    fn explicit_paths_are_local_and_the_driver_root_is_the_hosts() {
        let config = config(&[
            "--host-root=/host",
            "--kubelet-socket=/plugins/kubelet.sock",
            "--cdi-dir=/cdi",
            "--driver-root=/run/nvidia/driver",
            "--driver-root-ctr-path=/driver-root",
        ])
        .unwrap();
        assert_eq!(config.kubelet_socket, Path::new("/plugins/kubelet.sock"));
        assert_eq!(config.cdi_dir.as_path(), Path::new("/cdi"));
        assert_eq!(local(&config.driver.candidates[0]), Path::new("/driver-root"));
        assert_eq!(config.driver.candidates[0].root().host().as_str(), "/run/nvidia/driver");
    }

    #[test]
    fn driver_root_is_local_and_nvidias_variable_names_the_hosts() {
        let root = |flags: &[&str]| {
            let config = config(&[&["--host-root=/host"], flags].concat()).unwrap();
            let root = config.driver.candidates[0].root().clone();
            (root.host().to_string(), root.local().to_string())
        };
        let expect = |host: &str, local: &str| (host.to_owned(), local.to_owned());
        assert_eq!(
            root(&["--driver-root=/host/run/nvidia/driver"]),
            expect("/run/nvidia/driver", "/host/run/nvidia/driver")
        );
        assert_eq!(root(&["--driver-root=/host"]), expect("/", "/host"));
        assert_eq!(root(&["--driver-root=/driver"]), expect("/driver", "/driver"));
        assert_eq!(
            root(&["--nvidia-driver-root=/run/nvidia/driver"]),
            expect("/run/nvidia/driver", "/host/run/nvidia/driver")
        );
    }

    #[test]
    fn setting_that_cannot_work_is_refused_with_flag_value_and_hint() {
        for (flags, expected) in [
            (&["--kubelet-dir", "relative"][..], ["--kubelet-dir", "relative", "absolute"]),
            (&["--probe-interval", "10ms"], ["--probe-interval", "10ms", "between 1s"]),
            (&["--mig-strategy", "mixed"], ["--mig-strategy", "mixed", "\"none\""]),
            (&["--device-list-strategy", "envvar"], ["--device-list-strategy", "envvar", "cdi-cri"]),
            (&["--nvidia-driver-root", "/run/../etc"], ["--driver-root", "/run/../etc", "'..'"]),
            (
                &[
                    "--kubelet-socket",
                    "/a/very/long/folder/in/which/a/socket/does/not/fit/because/an/address/is/short/kubelet.sock",
                ],
                ["--kubelet-dir", "/a/very", "107"],
            ),
        ] {
            let error = config(flags).unwrap_err();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn command_line_is_well_formed() {
        Args::definition().debug_assert();
    }
}
