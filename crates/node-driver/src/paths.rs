//! What the paths mean together: which roots are searched for the driver, and by what name the host has them.

use std::path::Path;

use daemon::{ConfigError, Given, absolute};
use gpu_config::Config;
use node_host::device::NonDevices;
use node_host::{DriverRoot, HostPath, HostRoot, LocalPath, Root};

use crate::args::SIMULATOR_VARIABLE;
use crate::settings::Settings;

/// Where drivers are installed, in the order of search: on the host, or by a driver container.
const DRIVER_ROOTS: [&str; 2] = ["/", "/run/nvidia/driver"];

/// How else a driver root can be named.
const OTHER_DRIVER_ROOT: &str =
    "the host's path as --driver-root and this process's as --driver-root-ctr-path";

/// How else the root of the device nodes can be named.
const OTHER_DEV_ROOT: &str = "the host's path as --nvidia-dev-root";

/// A folder or file of the host, by one of two kinds of name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As this process sees it.
    Local(Given),
    /// As the host names it.
    Host(Given),
}

/// Where the driver is, each said once at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverPaths {
    /// The driver root.
    pub driver_root: Option<Place>,
    /// Where this process sees the driver root, whose name above is then the host's.
    pub driver_root_ctr_path: Option<Given>,
    /// The root of the device nodes.
    pub dev_root: Option<Place>,
    /// The NVML library.
    pub nvml_library: Option<Given>,
}

/// What a config file says of the same, where flags and variables do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePaths {
    /// The driver root, as the host names it.
    pub driver_root: Option<String>,
    /// Where this process sees it.
    pub container_driver_root: Option<String>,
    /// The root of the device nodes, as the host names it.
    pub dev_root: Option<String>,
}

impl FilePaths {
    /// Those of a config.
    pub fn of(config: &Config) -> FilePaths {
        let flags = &config.flags;
        FilePaths {
            driver_root: flags.driver_root.clone(),
            container_driver_root: flags.plugin.container_driver_root.clone(),
            dev_root: flags.dev_root.clone(),
        }
    }

    /// Whether each is another one in `now`, and its key.
    pub fn changes(&self, now: &FilePaths) -> [(bool, &'static str); 3] {
        [
            (self.driver_root != now.driver_root, "flags.nvidiaDriverRoot"),
            (self.dev_root != now.dev_root, "flags.nvidiaDevRoot"),
            (self.container_driver_root != now.container_driver_root, "flags.plugin.containerDriverRoot"),
        ]
    }
}

/// What the names of paths mean, and what holds where nobody says anything.
#[derive(Clone, Copy, Debug)]
pub struct PlaceFace {
    /// Whether `--driver-root` and `--dev-root` are the host's names, as NVIDIA's flags of these names are.
    pub roots_are_hosts: bool,
    /// Where the driver's root is mounted, if it is there.
    pub container_driver_root: Option<&'static str>,
}

impl PlaceFace {
    /// Ours, or that of NVIDIA's programs v0.20.
    pub fn new(compat: bool) -> PlaceFace {
        PlaceFace { roots_are_hosts: compat, container_driver_root: compat.then_some("/driver-root") }
    }
}

impl DriverPaths {
    /// Where to look for the driver. Its libraries are staged in `stage`.
    ///
    /// # Errors
    /// At the first path that cannot work.
    pub fn resolve(
        self,
        host: &HostRoot,
        file: FilePaths,
        face: PlaceFace,
        stage: LocalPath,
    ) -> Result<Settings, ConfigError> {
        let place = |place: Place| match place {
            Place::Local(given) if face.roots_are_hosts && given.name.starts_with("--") => Place::Host(given),
            place => place,
        };
        let (driver_root, dev_root) = (self.driver_root.map(place), self.dev_root.map(place));
        // Where the flag names this process's path, the file's name for the same has no place.
        let is_local = matches!(driver_root, Some(Place::Local(_)));
        let driver_root_ctr_path = self.driver_root_ctr_path.or_else(|| {
            let of_file = Given::of_file("flags.plugin.containerDriverRoot", file.container_driver_root);
            of_file.filter(|_| !is_local)
        });
        let driver_root = driver_root
            .or_else(|| Given::of_file("flags.nvidiaDriverRoot", file.driver_root).map(Place::Host));
        let dev_root =
            dev_root.or_else(|| Given::of_file("flags.nvidiaDevRoot", file.dev_root).map(Place::Host));
        let candidates = match (driver_root, driver_root_ctr_path) {
            (root, Some(local)) => vec![driver_root_seen_at(root, local)?],
            (Some(place @ Place::Local(_)), None) => vec![driver_root_at(host, place)?],
            (Some(place), None) => {
                let mut roots = mounted_driver_root(Some(place.clone()), face)?;
                roots.push(driver_root_at(host, place)?);
                roots
            }
            (None, None) => {
                let mut roots = mounted_driver_root(None, face)?;
                roots.extend(default_driver_roots(host)?);
                roots
            }
        };
        // Without root the simulator can make no device nodes: plain files stand for them.
        let is_simulated = std::env::var_os(SIMULATOR_VARIABLE).is_some();
        Ok(Settings {
            candidates,
            device_root: dev_root.map(|place| root_at(host, place, OTHER_DEV_ROOT)).transpose()?,
            non_devices: if is_simulated { NonDevices::Simulated } else { NonDevices::Refused },
            library: self.nvml_library.map(absolute).transpose()?,
            stage,
            host: host.clone(),
        })
    }
}

/// The driver root where NVIDIA's manifests mount it, if it is to be looked for there.
fn mounted_driver_root(root: Option<Place>, face: PlaceFace) -> Result<Vec<DriverRoot>, ConfigError> {
    let mounted = face.container_driver_root.filter(|path| Path::new(path).is_dir());
    let Some(path) = mounted else { return Ok(Vec::new()) };
    let local = Given { path: path.into(), name: "default".to_owned() };
    driver_root_seen_at(root, local).map(|root| vec![root])
}

/// The driver root that the host has under one name, and this process under another.
fn driver_root_seen_at(root: Option<Place>, local: Given) -> Result<DriverRoot, ConfigError> {
    let on_host = match root {
        Some(Place::Local(given) | Place::Host(given)) => host_path(&given)?,
        None => HostPath::root(),
    };
    Ok(DriverRoot::at(on_host, LocalPath::new(absolute(local)?)))
}

fn driver_root_at(host: &HostRoot, place: Place) -> Result<DriverRoot, ConfigError> {
    let root = root_at(host, place, OTHER_DRIVER_ROOT)?;
    Ok(DriverRoot::at(root.host().clone(), root.local().clone()))
}

fn default_driver_roots(host: &HostRoot) -> Result<Vec<DriverRoot>, ConfigError> {
    let root = |path: &&str| {
        let root = host.root_of(known_path(path)?);
        Ok(DriverRoot::at(root.host().clone(), root.local().clone()))
    };
    DRIVER_ROOTS.iter().map(root).collect()
}

/// A root by either kind of name. What the spec names are the host's paths, so one that this process alone has a name
/// for is of no use.
fn root_at(host: &HostRoot, place: Place, otherwise: &str) -> Result<Root, ConfigError> {
    let given = match place {
        Place::Host(given) => return Ok(host.root_of(host_path(&given)?)),
        Place::Local(given) => given,
    };
    let local = LocalPath::new(absolute(given.clone())?);
    host.root_at(local.clone()).ok_or_else(|| {
        let seen = host.as_root().local();
        let below = host_path(&given).map_or_else(|_| seen.clone(), |path| host.local(&path));
        let hint = format!(
            "this process has the host's files below {seen}, and this path is not there: give {below}, or {otherwise}"
        );
        ConfigError::of(&given, hint)
    })
}

/// A path of ours, which is well formed.
///
/// # Errors
/// When it is not.
pub fn known_path(path: &str) -> Result<HostPath, ConfigError> {
    HostPath::new(path).map_err(|error| ConfigError::new("default", path, error))
}

/// The path that was given, or the `known` one of the host.
///
/// # Errors
/// When it is not absolute.
pub fn given_or_known(given: Option<Given>, known: &str, host: &HostRoot) -> Result<LocalPath, ConfigError> {
    match given {
        Some(given) => Ok(LocalPath::new(absolute(given)?)),
        None => Ok(host.resolved(&known_path(known)?)),
    }
}

/// A path as the host names it.
///
/// # Errors
/// When no host can have it.
pub fn host_path(given: &Given) -> Result<HostPath, ConfigError> {
    let text =
        given.path.to_str().ok_or_else(|| ConfigError::of(given, "a path on the host must be UTF-8"))?;
    HostPath::new(text).map_err(|error| ConfigError::of(given, error))
}
