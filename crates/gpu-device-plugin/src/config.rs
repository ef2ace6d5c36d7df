//! Validated settings: every default is decided, every path is host or local, and what cannot work is refused here
//! with the flag, the value and what would be right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::{ConfigError, Given, absolute, absolute_flag, between};
use gpu_config::Mode;
use gpu_health::HealthChecksError;
use gpu_model::ResourceName;
use gpu_model::names::RESOURCE_GPU;
use kubelet_api::deviceplugin::{DEVICE_PLUGIN_DIR, KUBELET_SOCKET_NAME};
use kubelet_api::podresources::POD_RESOURCES_SOCKET;
use node_contract::{HELD_FILE, PLUGIN_PRESENCE};
use node_driver::{given_or_known, host_path, known_path, passed_over};
use node_host::{HostPath, HostRoot, LocalPath};

use crate::args::{BehaviourArgs, CdiProofMode, CommandLine, Face, InjectionArgs, Kubelet, Paths};
use crate::fixed::Fixed;
use crate::health::{self, HealthPaths};
use crate::injection::{Injection, InjectionFlags};
use crate::offering::OfferingFlags;
use crate::socket::SocketNames;
use crate::{cdi_gate, holders};

/// Where runtimes have their CRI sockets.
const CRI_SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock"];

/// Folder of CDI specs that change at run time, by CDI's convention.
const CDI_DIR: &str = "/var/run/cdi";

/// Folder for what outlives the process.
const STATE_DIR: &str = "/var/lib/gantry/device-plugin";

/// Settings of the plugin.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether a driver that cannot be used at the start ends the program.
    pub fails_without_driver: bool,
    /// What flags and variables say of what is offered.
    pub offering: OfferingFlags,
    /// The config file, if there is one.
    pub config_file: Option<config_file::Settings>,
    /// What it said at the start of what holds until the end.
    pub fixed: Fixed,
    /// The kubelet's socket.
    pub kubelet_socket: PathBuf,
    /// Where it is learnt what pods hold.
    pub holders: holders::Settings,
    /// What tells this process from any other one.
    pub instance: Instance,
    /// Where the driver is.
    pub driver: node_driver::Settings,
    /// NVML's workers.
    pub nvml: nvml::Config,
    /// Folder for our CDI spec.
    pub cdi_dir: LocalPath,
    /// NVIDIA's program for CDI hooks, where hooks are wanted.
    pub cdi_hook: Option<HostPath>,
    /// How CDI is proven.
    pub cdi_gate: cdi_gate::Settings,
    /// Folder for files that other daemons read.
    pub run_dir: LocalPath,
    /// Time between two probes of all GPUs.
    pub probe_interval: Duration,
    /// By what rules GPUs are judged.
    pub health: gpu_health::Settings,
    /// Where their health is kept and asked for.
    pub health_paths: HealthPaths,
    /// What is not as it was meant, and does not matter in compat mode.
    pub warnings: Vec<String>,
}

/// What tells this process from any other one.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Process id.
    pub pid: u32,
    /// A random number.
    pub token: u64,
}

impl Instance {
    /// The name by which those who lease GPUs know it. Process ids are alike in containers.
    pub fn presence(&self) -> String {
        format!("{PLUGIN_PRESENCE}.{:016x}", self.token)
    }
}

impl Config {
    /// Validates what the command line gave, with what the config file says of what holds until the end.
    ///
    /// # Errors
    /// At the first setting that cannot work.
    pub fn new(line: CommandLine, instance: Instance) -> Result<Self, ConfigError> {
        let CommandLine { command: _, paths, behaviour, injection, unsupported, face, runtime } = line;
        let BehaviourArgs {
            cdi_proof,
            probe_interval,
            nvml,
            mig_strategy,
            shared_devices_allocation_policy,
            gpu_management,
            disable_healthchecks,
            enable_healthchecks,
            xid_classes,
            compat: _,
            fail_on_init_error,
        } = behaviour;
        let mut warnings = passed_over(unsupported.device_discovery_strategy, unsupported.said(), face.mode)?;
        between("--probe-interval", probe_interval, Duration::from_secs(1), Duration::from_secs(3600))?;
        let nvml = nvml.config()?;

        let host = HostRoot::new(absolute_flag("--host-root", runtime.host_root.clone())?);
        let run_dir = LocalPath::new(absolute_flag("--run-dir", runtime.run_dir.clone())?);
        let Paths {
            kubelet,
            pod_resources_socket,
            driver,
            config_file,
            state_dir,
            cdi_hook_path,
            cdi_dir,
            cri_socket,
        } = paths;
        let state_dir = given_or_known(state_dir, STATE_DIR, &host)?;
        let config_file =
            config_file.map(|given| config_file::Settings::new(given, face.mode, &state_dir)).transpose()?;
        let at_start = config_file.as_ref().and_then(config_file::Settings::at_start);
        let fixed = at_start.map(|config| Fixed::of(&config)).unwrap_or_default();
        let of_start = fixed.clone();
        let driver = driver.resolve(&host, fixed.driver, face.places, run_dir.join("device-plugin/stage"))?;
        let hook = cdi_hook_path
            .or_else(|| Given::of_file("flags.plugin.nvidiaCTKPath", fixed.cdi_hook_path))
            .map(|given| host_path(&given))
            .transpose()?;

        let resource: ResourceName = RESOURCE_GPU
            .parse()
            .map_err(|error| ConfigError::new("resource", RESOURCE_GPU, format!("{error}")))?;
        let socket_names = SocketNames::new(&resource, instance.pid, instance.token);
        let kubelet_socket = kubelet_socket(&host, kubelet, &socket_names)?;
        let offering = OfferingFlags {
            mig_strategy,
            shared_policy: shared_devices_allocation_policy,
            packs_mig: face.packs_mig,
            management: gpu_management,
            injection: injection_flags(injection, face),
        };
        // With a file, the two are judged together, each time that the file changes.
        if config_file.is_none() {
            Injection::new(&offering.injection, &gpu_config::Config::default())
                .map_err(|error| ConfigError::new(error.name, error.value, error.hint))?;
        }
        let holders = holders::Settings {
            socket: match pod_resources_socket {
                Some(given) => absolute(given)?,
                None => beside(&kubelet_socket),
            },
            file: state_dir.join(HELD_FILE),
        };
        let given = health::Given {
            disable: disable_healthchecks,
            enable: enable_healthchecks,
            classes: xid_classes,
            probe_interval,
        };
        let (health, meaningless) = health::settings(&given).map_err(of_health)?;
        if let Some(error) = meaningless.first().filter(|_| face.mode == Mode::Strict) {
            return Err(of_health(error.clone()));
        }
        warnings.extend(meaningless.iter().map(ToString::to_string));
        let health_paths = HealthPaths::new(&state_dir, &run_dir);

        let (cdi_dir, spec_dir) = match cdi_dir {
            Some(given) => {
                let local = LocalPath::new(absolute(given.clone())?);
                let on_host = host.host_or_same(&local);
                let on_host = on_host.ok_or_else(|| ConfigError::of(&given, "no host has such a path"))?;
                (local, on_host)
            }
            None => {
                let on_host = known_path(CDI_DIR)?;
                (host.resolved(&on_host), on_host)
            }
        };
        let cdi_gate = match cdi_proof {
            CdiProofMode::Assume => cdi_gate::Settings::Assume,
            CdiProofMode::Auto => {
                cdi_gate::Settings::Ask { sockets: cri_sockets(&host, cri_socket)?, spec_dir }
            }
        };

        let fails = fail_on_init_error.or(fixed.fail_on_init_error).unwrap_or(face.fail_on_init_error);
        Ok(Self {
            fails_without_driver: fails,
            offering,
            config_file,
            fixed: of_start,
            kubelet_socket,
            holders,
            instance,
            driver,
            nvml,
            cdi_dir,
            cdi_hook: hook,
            cdi_gate,
            run_dir,
            probe_interval,
            health,
            health_paths,
            warnings,
        })
    }
}

fn injection_flags(given: InjectionArgs, face: Face) -> InjectionFlags {
    InjectionFlags {
        strategies: given.device_list_strategy,
        id_strategy: given.device_id_strategy,
        pass_device_specs: given.pass_device_specs,
        annotation_prefix: given.cdi_annotation_prefix,
        gds: given.gds_enabled,
        gdrcopy: given.gdrcopy_enabled,
        mofed: given.mofed_enabled,
        imex_channel: given.imex_channel_ids.map(|channels| channels.zero),
        imex_required: given.imex_required,
        default_strategy: face.device_list_strategy,
        mode: face.mode,
    }
}

fn of_health(error: HealthChecksError) -> ConfigError {
    match error {
        HealthChecksError::Word { variable, word } => {
            ConfigError::new(variable, word, "expected numbers from 1, separated by commas, `all` or `xids`")
        }
        HealthChecksError::Class { word, reason } => ConfigError::new("--xid-classes", word, reason),
    }
}

/// The kubelet's socket, whose folder has to have room for ours.
fn kubelet_socket(
    host: &HostRoot,
    kubelet: Option<Kubelet>,
    names: &SocketNames,
) -> Result<PathBuf, ConfigError> {
    let (socket, name) = match kubelet {
        Some(Kubelet::Socket(given)) => (absolute(given.clone())?, given.name),
        Some(Kubelet::Folder(given)) => {
            let plugins = Path::new(DEVICE_PLUGIN_DIR).file_name().unwrap_or_default();
            (absolute(given.clone())?.join(plugins).join(KUBELET_SOCKET_NAME), given.name)
        }
        None => {
            let folder = host.resolved(&known_path(DEVICE_PLUGIN_DIR)?);
            (folder.join(KUBELET_SOCKET_NAME).into(), "--kubelet-dir".to_owned())
        }
    };
    let folder = socket.parent().unwrap_or(Path::new("/"));
    names
        .check_length(folder)
        .map_err(|error| ConfigError::new(&name, folder.display().to_string(), error))?;
    Ok(socket)
}

/// The pod resources socket of the kubelet that has this registration socket: their folders have one parent.
fn beside(kubelet_socket: &Path) -> PathBuf {
    let known = Path::new(POD_RESOURCES_SOCKET);
    let kubelet_dir = Path::new(DEVICE_PLUGIN_DIR).parent().unwrap_or(Path::new("/"));
    let parent = kubelet_socket.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    parent.join(known.strip_prefix(kubelet_dir).unwrap_or(known))
}

fn cri_sockets(host: &HostRoot, named: Option<Given>) -> Result<Vec<PathBuf>, ConfigError> {
    match named {
        Some(socket) => Ok(vec![absolute(socket)?]),
        None => CRI_SOCKETS
            .iter()
            .map(|socket| known_path(socket).map(|path| host.resolved(&path).into()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use node_host::DriverRoot;

    use super::*;
    use crate::args::Args;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let given =
            Args::try_read([&["gpu-device-plugin"], flags].concat()).map_err(|error| error.to_string())?;
        Config::new(given, Instance { pid: 1, token: 2 }).map_err(|error| error.to_string())
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
        assert_eq!(spec_dir.as_str(), "/var/run/cdi");
    }

    #[test]
    fn driver_that_is_whole_at_last_is_picked_up_within_10_seconds_of_any_crash() {
        let longest = config(&[]).unwrap().nvml.backoff.max + crate::observe::SEARCH;
        assert!(longest < Duration::from_secs(10), "{longest:?}");
    }

    #[test]
    fn absolute_links_of_the_host_are_followed_below_the_host_root() {
        let host = tempfile::tempdir().unwrap();
        let at = |inside: &str| host.path().join(inside);
        for folder in ["run", "var/lib", "data/k"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink("/run", at("var/run")).unwrap();
        std::os::unix::fs::symlink("/data/k", at("var/lib/kubelet")).unwrap();
        let config = config(&["--host-root", host.path().to_str().unwrap()]).unwrap();
        assert_eq!(config.cdi_dir.as_path(), at("run/cdi"));
        assert_eq!(config.kubelet_socket, at("data/k/device-plugins/kubelet.sock"));
        let cdi_gate::Settings::Ask { sockets, spec_dir } = config.cdi_gate else { panic!("assumed") };
        assert_eq!(sockets[1], at("run/crio/crio.sock"));
        assert_eq!(spec_dir.as_str(), "/var/run/cdi");
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
        assert_eq!(
            root(&["--driver-root=/run/nvidia/driver", "--driver-root-ctr-path=/driver"]),
            expect("/run/nvidia/driver", "/driver")
        );
        assert_eq!(
            root(&["--nvidia-driver-root=/run/nvidia/driver"]),
            expect("/run/nvidia/driver", "/host/run/nvidia/driver")
        );
    }

    #[test]
    fn roots_are_named_as_the_host_does_where_nvidias_flags_are_meant() {
        let roots = |flags: &[&str]| {
            let given = config(&[&["--host-root=/host"], flags].concat()).unwrap();
            let device_root = given.driver.device_root.unwrap();
            (local(&given.driver.candidates[0]).to_owned(), device_root.local().as_path().to_owned())
        };
        let below = |path: &str| Path::new("/host").join(path);
        let flags = ["--driver-root=/run/driver", "--dev-root=/run/dev", "--compat"];
        assert_eq!(roots(&flags), (below("run/driver"), below("run/dev")));
        let ours = ["--driver-root=/host/run/driver", "--dev-root=/host/run/dev"];
        assert_eq!(roots(&ours), roots(&flags));
    }

    #[test]
    fn setting_that_cannot_work_is_refused_with_flag_value_and_hint() {
        for (flags, expected) in [
            (&["--kubelet-dir", "relative"][..], ["--kubelet-dir", "relative", "absolute"]),
            (&["--probe-interval", "10ms"], ["--probe-interval", "10ms", "between 1s"]),
            (&["--mig-strategy", "mix"], ["--mig-strategy", "mix", "`mixed`"]),
            (&["--config-file", "relative.yaml"], ["--config-file", "relative.yaml", "absolute"]),
            (&["--device-list-strategy", "envvar,cdi"], ["--device-list-strategy", "cdi", "volume-mounts"]),
            (&["--pass-device-specs"], ["--pass-device-specs", "true", "envvar"]),
            (&["--imex-channel-ids", "1"], ["--imex-channel-ids", "1", "channel 0"]),
            (&["--imex-required"], ["--imex-required", "true", "--imex-channel-ids 0"]),
            (&["--cdi-annotation-prefix", "cdi"], ["--cdi-annotation-prefix", "cdi", "cdi.k8s.io/"]),
            (&["--mps-root", "/mps"], ["--mps-root", "/mps", "not supported"]),
            (&["--nvidia-driver-root", "/run/../etc"], ["--nvidia-driver-root", "/run/../etc", "'..'"]),
            (
                &["--host-root=/host", "--driver-root=/run/nvidia/driver"],
                [
                    "--driver-root \"/run/nvidia/driver\"",
                    "give /host/run/nvidia/driver",
                    "--driver-root-ctr-path",
                ],
            ),
            (
                &["--host-root=/host", "--dev-root=/dev-root"],
                ["--dev-root", "give /host/dev-root", "--nvidia-dev-root"],
            ),
            (
                &[
                    "--kubelet-socket",
                    "/a/very/long/folder/in/which/a/socket/does/not/fit/because/an/address/is/short/kubelet.sock",
                ],
                ["--kubelet-socket", "/a/very", "107"],
            ),
            (
                &["--kubelet-socket=/a/kubelet.sock", "--kubelet-dir=/b"],
                ["--kubelet-socket", "--kubelet-dir", "leave one of them out"],
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
