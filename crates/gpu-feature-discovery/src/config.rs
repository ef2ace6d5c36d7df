//! Validated settings: every default is decided, every path is host or local, and what cannot work is refused here
//! with the flag, the value and what would be right.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::{ConfigError, Given, absolute, absolute_flag};
use gpu_config::{MigStrategy, SleepInterval};
use node_api::{Access, Owner};
use node_driver::{given_or_known, known_path, passed_over};
use node_host::{HostRoot, LocalPath};

use crate::args::{CommandLine, Defaults, Format, LabelArgs, ObjectOwner, OutputArgs, OutputWord, Paths};
use crate::facts::{Face, Group, Settings};
use crate::fixed::Fixed;

/// Folder for what outlives the process.
const STATE_DIR: &str = "/var/lib/gantry/feature-discovery";

/// Where Node Feature Discovery reads files, and the name of NVIDIA's.
const FEATURE_FILE: &str = "/etc/kubernetes/node-feature-discovery/features.d/gfd";

/// NVIDIA's own.
const SLEEP_INTERVAL: SleepInterval = SleepInterval::Every(Duration::from_secs(60));

/// Less would be a load on the driver.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);

/// Settings of feature discovery.
#[derive(Debug)]
pub struct Config {
    /// Whether to look once and end.
    pub oneshot: bool,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fails_without_driver: bool,
    /// What flags and variables say of labels.
    pub labels: LabelFlags,
    /// The config file, if there is one.
    pub config_file: Option<config_file::Settings>,
    /// What it said at the start of what holds until the end.
    pub fixed: Fixed,
    /// Where labels go.
    pub outputs: Outputs,
    /// Where the driver is.
    pub driver: node_driver::Settings,
    /// NVML's workers.
    pub nvml: nvml::Config,
    /// Folder for files that other daemons read.
    pub run_dir: LocalPath,
    /// Folder for what outlives the process.
    pub state_dir: LocalPath,
    /// The name by which those who lease GPUs know this process.
    pub presence: String,
    /// What is not as it was meant, and does not matter in compat mode.
    pub warnings: Vec<String>,
}

/// What flags and variables say of labels; the config file says the rest.
#[derive(Clone, Debug)]
pub struct LabelFlags {
    face: Face,
    mig_strategy: Option<MigStrategy>,
    groups: BTreeSet<Group>,
    sleep_interval: Option<SleepInterval>,
    no_timestamp: Option<bool>,
    timestamp_is_left_out: bool,
    machine_type_file: Option<LocalPath>,
    started: u64,
}

/// How a look is to be made, and what labels come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How labels are made.
    pub settings: Settings,
    /// Time between two looks.
    pub sleep: SleepInterval,
    /// The file with the machine's product name, if it is not firmware's.
    pub machine_type_file: Option<LocalPath>,
}

/// Where labels go.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The file of Node Feature Discovery.
    pub file: Option<LocalPath>,
    /// Standard output.
    pub stdout: Option<Format>,
    /// The Kubernetes API.
    pub cluster: Option<ClusterOutputs>,
}

/// What goes to the Kubernetes API.
#[derive(Clone, Debug)]
pub struct ClusterOutputs {
    /// How it is spoken to.
    pub access: Access,
    /// The own Node's name.
    pub node_name: String,
    /// The own pod's name, or whatever tells this process from another one.
    pub instance: String,
    /// Whether the Node's labels are kept.
    pub node: bool,
    /// The NodeFeature object, if one is kept.
    pub node_feature: Option<NodeFeatureOutput>,
}

/// The NodeFeature object.
#[derive(Clone, Debug)]
pub struct NodeFeatureOutput {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// With what it goes.
    pub owner: Owner,
}

impl Config {
    /// Validates what the command line gave, with what the config file says of what holds until the end.
    ///
    /// # Errors
    /// At the first setting that cannot work.
    pub fn new(line: CommandLine) -> Result<Self, ConfigError> {
        let CommandLine { command: _, paths, labels, outputs, unsupported, defaults, runtime } = line;
        let warnings = passed_over(unsupported.device_discovery_strategy, unsupported.said(), defaults.mode)?;
        let host = HostRoot::new(absolute_flag("--host-root", runtime.host_root)?);
        let run_dir = LocalPath::new(absolute_flag("--run-dir", runtime.run_dir)?);
        let Paths { driver, config_file, state_dir, machine_type_file, kubeconfig } = paths;
        let state_dir = given_or_known(state_dir, STATE_DIR, &host)?;
        let config_file = config_file
            .map(|given| config_file::Settings::new(given, defaults.mode, &state_dir))
            .transpose()?;
        let at_start = config_file.as_ref().and_then(config_file::Settings::at_start);
        let fixed = at_start.map(|config| Fixed::of(&config)).unwrap_or_default();
        let stage = run_dir.join("feature-discovery/stage");
        let driver = driver.resolve(&host, fixed.driver.clone(), defaults.places, stage)?;
        if let Some(SleepInterval::Every(pause)) = labels.sleep_interval
            && pause < SHORTEST_SLEEP
        {
            return Err(ConfigError::new("--sleep-interval", format!("{pause:?}"), "it must be 1s at least"));
        }
        let LabelArgs {
            mig_strategy,
            label_groups,
            oneshot,
            sleep_interval,
            no_timestamp,
            fail_on_init_error,
            nvml,
            compat: _,
        } = labels;
        let token = RandomState::new().hash_one(0u8);
        let flags = LabelFlags {
            face: defaults.face,
            mig_strategy,
            groups: label_groups.into_iter().collect(),
            sleep_interval,
            no_timestamp,
            timestamp_is_left_out: defaults.no_timestamp,
            machine_type_file: machine_type_file.map(absolute).transpose()?.map(LocalPath::new),
            started: node_contract::now().unix_ms / 1000,
        };
        Ok(Self {
            oneshot: oneshot.or(fixed.oneshot).unwrap_or(false),
            fails_without_driver: fail_on_init_error
                .or(fixed.fail_on_init_error)
                .unwrap_or(defaults.fail_on_init_error),
            labels: flags,
            config_file,
            outputs: Outputs::new(outputs, kubeconfig, &fixed, defaults, (&host, token))?,
            fixed,
            driver,
            nvml: nvml.config()?,
            run_dir,
            state_dir,
            presence: format!("gpu-feature-discovery.{token:016x}"),
            warnings,
        })
    }
}

impl LabelFlags {
    /// What a config makes of them.
    pub fn plan(&self, config: &gpu_config::Config) -> Plan {
        let gfd = &config.flags.gfd;
        let no_timestamp = self.no_timestamp.or(gfd.no_timestamp).unwrap_or(self.timestamp_is_left_out);
        let sleep = self.sleep_interval.or(gfd.sleep_interval).unwrap_or(SLEEP_INTERVAL);
        let of_config = gfd.machine_type_file.as_ref().filter(|file| Path::new(file).is_absolute());
        Plan {
            settings: Settings {
                face: self.face,
                mig_strategy: self.mig_strategy.or(config.flags.mig_strategy).unwrap_or(MigStrategy::None),
                time_slicing: config.time_slicing.clone(),
                filter: config.devices.clone(),
                gpu_rules: config.gpu_rules.clone(),
                mig_rules: config.mig_rules.clone(),
                groups: self.groups.clone(),
                timestamp: (!no_timestamp).then_some(self.started),
            },
            sleep: match sleep {
                SleepInterval::Every(pause) => SleepInterval::Every(pause.max(SHORTEST_SLEEP)),
                SleepInterval::Infinite => SleepInterval::Infinite,
            },
            machine_type_file: self.machine_type_file.clone().or_else(|| of_config.map(LocalPath::new)),
        }
    }
}

impl Outputs {
    fn new(
        args: OutputArgs,
        kubeconfig: Option<Given>,
        fixed: &Fixed,
        defaults: Defaults,
        (host, token): (&HostRoot, u64),
    ) -> Result<Outputs, ConfigError> {
        let named = args.output_file.or_else(|| fixed.output_file.clone().map(PathBuf::from));
        let is_compat = defaults.face == Face::Compat;
        let api = args.use_node_feature_api.or(fixed.node_feature_api).or(is_compat.then_some(true));
        let words = match (args.output.as_slice(), api) {
            ([], Some(true)) => vec![OutputWord::NodeFeature],
            ([], Some(false)) => vec![OutputWord::File],
            ([], None) if named.is_some() => vec![OutputWord::File],
            ([], None) => vec![OutputWord::Node],
            (words, _) => words.to_vec(),
        };
        let mut outputs = Outputs::default();
        let format = args.format.unwrap_or(defaults.format);
        let (mut node, mut node_feature) = (false, false);
        for word in words {
            match word {
                OutputWord::Node => node = true,
                OutputWord::NodeFeature => node_feature = true,
                OutputWord::Stdout => outputs.stdout = Some(format),
                OutputWord::FileAt(path) => {
                    outputs.file = Some(LocalPath::new(absolute_flag("--output", path)?));
                }
                // NVIDIA's way of saying standard output.
                OutputWord::File if named.as_ref().is_some_and(|path| path.as_os_str().is_empty()) => {
                    outputs.stdout = Some(format);
                }
                OutputWord::File => {
                    outputs.file = Some(match &named {
                        Some(path) => LocalPath::new(absolute_flag("--output-file", path.clone())?),
                        None => host_or_mounted(host)?,
                    });
                }
            }
        }
        if !node && !node_feature {
            return Ok(outputs);
        }
        let hint = "the own Node's name is needed for the outputs node and nodefeature: set NODE_NAME from the pod's \
                    spec.nodeName, or choose with --output";
        let node_name = args.node_name.filter(|name| !name.is_empty());
        let node_name = node_name.ok_or_else(|| ConfigError::new("--node-name", "", hint))?;
        let prefix = if is_compat { "nvidia-features-for" } else { "gantry-features-for" };
        outputs.cluster = Some(ClusterOutputs {
            access: match kubeconfig {
                Some(given) => Access::Kubeconfig(absolute(given)?),
                None => Access::InCluster,
            },
            instance: args.pod_name.unwrap_or_else(|| format!("{node_name}-{token:016x}")),
            node,
            node_feature: node_feature.then(|| NodeFeatureOutput {
                namespace: args.namespace.unwrap_or_else(|| "default".to_owned()),
                name: format!("{prefix}-{node_name}"),
                owner: match args.nodefeature_owner {
                    Some(ObjectOwner::Node) | None => Owner::Node,
                    Some(ObjectOwner::None) => Owner::Nobody,
                },
            }),
            node_name,
        });
        Ok(outputs)
    }
}

/// The folder is mounted where the host has it, as NVIDIA's manifests do: the host's root is read-only to a container.
fn host_or_mounted(host: &HostRoot) -> Result<LocalPath, ConfigError> {
    let mounted = LocalPath::new(FEATURE_FILE);
    let is_there = mounted.parent().is_some_and(|folder| folder.as_path().is_dir());
    if is_there { Ok(mounted) } else { Ok(host.resolved(&known_path(FEATURE_FILE)?)) }
}
