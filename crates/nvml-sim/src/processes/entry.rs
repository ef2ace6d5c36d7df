//! A process as people write it, in a node file or as words of the command line. It knows which values can be, not what
//! runs already.

use schemars::JsonSchema;
use serde::Deserialize;

use super::start::ProcessError;
use super::{Percent, ProcessKind};
use crate::bytes::Bytes;

/// The longest name, as long as a path can be.
const NAME_BYTES: usize = 4095;
/// The highest pid of a Linux kernel.
const PID_MAX: u32 = 1 << 22;

/// A process.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessEntry {
    /// The GPU: index, UUID or PCI address.
    pub gpu: String,
    /// The id of its MIG GPU instance, on a GPU with `mig-instances`.
    #[serde(default)]
    pub gi: Option<u32>,
    /// The id of its MIG compute instance; where absent, the only one there.
    #[serde(default)]
    pub ci: Option<u32>,
    /// Its number; a free one where absent.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// How it uses the GPU.
    #[serde(default)]
    pub kind: ProcessKind,
    /// Frame buffer that it uses.
    #[serde(default)]
    pub memory: Bytes,
    /// Part of the time that its kernels run.
    #[serde(default)]
    pub sm: Percent,
    /// Part of the time that it reads or writes memory.
    #[serde(default)]
    pub memory_activity: Percent,
    /// Part of the encoders' time.
    #[serde(default)]
    pub encoder: Percent,
    /// Part of the decoders' time.
    #[serde(default)]
    pub decoder: Percent,
}

impl ProcessEntry {
    /// Checks what can be wrong whatever runs.
    pub fn check(&self) -> Result<(), ProcessError> {
        if let Some(pid) = self.pid.filter(|pid| *pid == 0 || *pid > PID_MAX) {
            return Err(ProcessError::Pid { pid, most: PID_MAX });
        }
        let is_name =
            |name: &str| !name.is_empty() && name.len() <= NAME_BYTES && !name.contains(char::is_control);
        match &self.name {
            Some(name) if !is_name(name) => Err(ProcessError::Name { name: name.clone(), most: NAME_BYTES }),
            _ => Ok(()),
        }
    }
}
