//! The simulated NVIDIA driver: presets, the state folder that stands for the kernel driver, and the
//! engine behind `libnvidia-ml.so.1`.
//!
//! It knows NVML's behaviour but none of its C types: those belong to `nvml-sim-abi`. It uses nothing of
//! the code that it tests, so that both cannot share a mistake.

mod affinity;
mod board;
mod bytes;
pub mod cli;
mod clock;
mod clocks;
mod code;
mod control;
mod counters;
mod cpu_list;
mod damage;
mod desktop;
mod drain;
mod driver_load;
mod ecc;
mod events;
mod fabric;
mod fans;
mod faults;
mod fields;
mod files;
pub mod freeze;
mod functions;
pub mod garbage;
mod gpm;
mod identity;
mod incidents;
pub mod install;
mod kernel_log;
mod latency;
mod library;
mod links;
mod load;
mod loss;
mod mig;
mod model;
mod modes;
mod node;
mod node_file;
mod overrides;
mod pci;
mod performance;
mod power_profiles;
pub mod presets;
mod private_root;
mod processes;
mod recovery;
pub mod root;
mod samples;
mod schema;
mod settings;
mod snapshot;
mod state;
mod switches;
mod telemetry;
mod throttle;
mod topology;
mod trim;
mod yaml;

pub use affinity::AffinityScope;
pub use board::{InforomObject, RackPlace};
pub use bytes::Bytes;
pub use clock::Clock;
pub use clocks::ClockKind;
pub use code::Code;
pub use control::{ControlError, XID_OFF_THE_BUS};
pub use counters::{Counters, Drive, Pace, Quantity, Totals};
pub use damage::{
    Cause, Counted, Counter, CounterSpan, Damage, ErrorKind, LinkError, MemoryLocation, ParseCounterError,
    Place, RemappedRows, Repair, RetiredPage, RowHistogram, SramErrors, SramPart, SramStatus, UniqueError,
};
pub use desktop::{ClockOffset, ClockOffsets, POWER_MIZER_MODES};
pub use drain::{Binding, BindingChange, DrainError, Drains, PciDevice, PciPart};
pub use driver_load::DriverLoad;
pub use ecc::{Ecc, EccMode};
pub use events::{EventKind, EventLog, EventRecord, NO_INSTANCE, RegisteredEvents};
pub use fabric::{FabricHealth, FabricState, FabricView};
pub use fans::{FAN_RANGE, FanPolicy};
pub use faults::{CallSite, Chance, Declared, Effect, Fault, FaultEntry, FaultError, Occurrence, strike};
pub use faults::{Moment, ParseMomentError, ParseProbabilityError, Probability};
pub use fields::{FIELDS, Field, FieldValue};
pub use functions::{TakesNoGpuError, UnknownFunctionError};
pub use gpm::{GpmSample, GpmSpan, METRICS_END, MetricNames, names_of as gpm_names_of};
pub use incidents::{Befall, Containment, Incident, Recovery, Report};
pub use latency::{Delay, Distribution, GpuLatency, Latency, ParseDistributionError};
pub use library::{Call, Library, LibraryEvent, compute_instance_handle, gpu_instance_handle, mig_handle};
pub use links::LinksDown;
pub use load::{Activity, Load, LoadTime, ParseLoadError, Point, Recording, RecordingError};
pub use loss::Loss;
pub use mig::{
    ComputeInstance, ComputeInstanceProfile, ComputeInstanceView, DeviceView, Engines, GpuInstance,
    GpuInstanceProfile, GpuInstanceView, GpuMig, MigState, MigTable,
};
pub use model::{Architecture, Brand, ComputeCapability, Model};
pub use modes::{ComputeMode, Modes};
pub use node::{Fabric, Gpu, NoGpuError, Node, NodeError};
pub use overrides::{Overrides, RecoveryAction};
pub use pci::PciAddress;
pub use power_profiles::{PowerProfile, ProfileChange};
pub use private_root::PrivateRootError;
pub use processes::{
    ACCOUNTING_PROCESSES_MAX, Accounting, AccountingStats, EndedProcess, InUseError, InstancePlace,
    ParsePercentError, Percent, Process, ProcessEntry, ProcessError, ProcessKind, ProcessLoad, ProcessSample,
    Processes,
};
pub use samples::Sample;
pub use schema::node_file_schema;
pub use settings::{SETTINGS, Setting, SettingError};
pub use snapshot::{GpuView, Snapshot};
pub use state::{State, StateFolder, StateFolderError};
pub use switches::{GpuSwitches, NVLINK_BANDWIDTHS, NVLINK_SLEEP, Switches};
pub use telemetry::{Direction, ENGINE_SAMPLE_US, Engine};
pub use throttle::{ParseReasonsError, Reason, Reasons};
pub use topology::{CommonAncestor, Link};
pub use trim::{Branch, ParseBranchError, TrimError};
pub use yaml::YamlError;
