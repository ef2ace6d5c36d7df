//! Which load of the driver a node runs: its number, and the version if that is another than declared. It knows what
//! becomes of a program of an earlier load, not what the program asks for.

use serde::{Deserialize, Serialize};

use crate::code::Code;

/// A load of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DriverLoad {
    /// How often the driver was loaded anew.
    pub number: u64,
    /// The version, where it is not the node file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a process knows of the driver.
#[derive(Clone, Debug, Default)]
pub struct KnownLoad {
    /// The load that it initialised on, while it is initialised.
    initialised: Option<u64>,
    /// The version of the library in it, once it has initialised: that of the driver then.
    library: Option<Option<String>>,
}

impl KnownLoad {
    /// The first of nested initialisations.
    pub fn begin(&mut self, now: &DriverLoad) {
        self.initialised = Some(now.number);
        self.library.get_or_insert_with(|| now.version.clone());
    }

    /// The last shutdown.
    pub fn end(&mut self) {
        self.initialised = None;
    }

    /// Whether the process can talk to the driver that is loaded now. Its library stays that of an earlier version until
    /// the process ends; of the same version it has to be initialised anew.
    pub fn check(&self, now: &DriverLoad) -> Result<(), Code> {
        if self.library.as_ref().is_some_and(|version| *version != now.version) {
            return Err(Code::LIB_RM_VERSION_MISMATCH);
        }
        match self.initialised {
            Some(number) if number != now.number => Err(Code::UNINITIALIZED),
            _ => Ok(()),
        }
    }
}
