//! Lists of CPUs as Linux writes them (`0-7,64-71`), and as the words of a mask. It knows no GPU.

use serde::Deserialize;
use thiserror::Error;

/// CPUs by number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CpuList {
    text: String,
    cpus: Vec<u32>,
}

/// Text that is not a list of CPUs.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a list of CPUs; write numbers and ranges below 4096, such as 0-7,64-71")]
pub struct ParseCpuListError(String);

const CPUS_MAX: u32 = 4096;

impl CpuList {
    /// The list as text, as in sysfs' `local_cpulist`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a CPU is in the list.
    pub fn contains(&self, cpu: u32) -> bool {
        self.cpus.contains(&cpu)
    }

    /// The mask in `length` 64-bit words, lowest CPU first. CPUs beyond it are left out, as NVML does.
    pub fn mask(&self, length: usize) -> Vec<u64> {
        let mut words = vec![0_u64; length];
        for cpu in &self.cpus {
            if let Some(word) = words.get_mut((cpu / 64) as usize) {
                *word |= 1 << (cpu % 64);
            }
        }
        words
    }
}

impl TryFrom<String> for CpuList {
    type Error = ParseCpuListError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                (Ok(first), Ok(last)) if first <= last && last < CPUS_MAX => cpus.extend(first..=last),
                _ => return Err(ParseCpuListError(text)),
            }
        }
        Ok(CpuList { text, cpus })
    }
}
