//! A library that is initialised, and the handles that it gave. It asks one getter at a time; which, others decide.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use crate::call::{About, Call};
use crate::code::Code;
use crate::ffi::{Behind, Library, OpenLibraryError, WORDS};
use crate::table::{self, Argument, Getter};

/// The symbol by which a simulated library tells that it is one.
const SIMULATED: &str = "nvmlSimulatedByGantry";

/// Why a library cannot be asked.
#[derive(Debug, Error)]
pub enum SessionError {
    /// It cannot be loaded.
    #[error(transparent)]
    Open(#[from] OpenLibraryError),
    /// It is no NVML library.
    #[error("{} has no function {symbol}: it is not an NVML library", library.display())]
    NotNvml {
        /// The library.
        library: PathBuf,
        /// What it lacks.
        symbol: &'static str,
    },
    /// It does not initialise.
    #[error("{} does not initialise: nvmlInit_v2 gives {code}", library.display())]
    Init {
        /// The library.
        library: PathBuf,
        /// Its answer.
        code: Code,
    },
}

/// An initialised library.
#[derive(Debug)]
pub struct Session {
    /// The library.
    pub library: Library,
    /// Handles by number, and what they are called here.
    names: BTreeMap<u64, String>,
    /// Whether it is to be shut down at the end.
    is_up: bool,
}

impl Session {
    /// Loads and initialises a library.
    pub fn begin(path: &Path) -> Result<Session, SessionError> {
        let session = Session { library: Library::open(path)?, names: BTreeMap::new(), is_up: true };
        let symbol = "nvmlInit_v2";
        let init = session.library.function(symbol);
        let init = init.ok_or_else(|| SessionError::NotNvml { library: path.to_owned(), symbol })?;
        match Code(init.call(&[0; WORDS])) {
            Code::SUCCESS => Ok(session),
            code => Err(SessionError::Init { library: path.to_owned(), code }),
        }
    }

    /// Shuts the library down now. Its functions can still be called.
    pub fn end(&mut self) -> Code {
        self.is_up = false;
        self.library
            .function("nvmlShutdown")
            .map_or(Code::FUNCTION_NOT_FOUND, |shutdown| Code(shutdown.call(&[0; WORDS])))
    }

    /// Whether the library says that it is a simulation.
    pub fn is_simulated(&self) -> bool {
        self.library.has(SIMULATED)
    }

    /// Calls a handle by a name from now on.
    pub fn name(&mut self, handle: u64, name: String) {
        self.names.insert(handle, name);
    }

    /// What a handle is called.
    pub fn name_of(&self, handle: u64) -> Value {
        match self.names.get(&handle) {
            Some(name) => json!(name),
            None if handle == 0 => Value::Null,
            None => json!("unknown handle"),
        }
    }

    /// Asks a getter once, with the newest version of its structs that the library knows. Nothing where the call cannot be
    /// laid out, or the library lacks the function.
    pub fn ask(&self, getter: &Getter, about: &About, choices: &[u32]) -> Option<(Code, Call)> {
        let function = self.library.function(getter.name)?;
        let versions_of = |argument: &Argument| match argument {
            Argument::Versioned(_, versions) => versions.len(),
            _ => 1,
        };
        let versions = getter.arguments.iter().map(versions_of).max().unwrap_or(1);
        let mut last = None;
        for version in 0..versions {
            let mut call = Call::prepare(function, getter, about, choices, version, Behind::Wall)?;
            let code = call.make();
            last = Some((code, call));
            if code != Code::ARGUMENT_VERSION_MISMATCH {
                break;
            }
        }
        last
    }

    /// The answer of a getter of this name that succeeds.
    pub fn value(&self, name: &str, about: &About, choices: &[u32]) -> Option<Value> {
        let (code, call) = self.ask(table::find(name)?, about, choices)?;
        (code == Code::SUCCESS).then(|| call.answer(&|handle| self.name_of(handle)))
    }

    /// The handle that a getter of this name gives, if it succeeds.
    pub fn handle(&self, name: &str, about: &About, choices: &[u32]) -> Option<u64> {
        let (code, call) = self.ask(table::find(name)?, about, choices)?;
        if code == Code::SUCCESS { call.handle() } else { None }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_up {
            self.end();
        }
    }
}
