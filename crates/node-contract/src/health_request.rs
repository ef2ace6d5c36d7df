//! What people ask of the device plugin about its GPUs' health: a file for each request in
//! `device-plugin/health-requests` of the run folder. The plugin takes them in the order of their names.
//!
//! A request is removed after what it changed was kept, and its id is kept with it: so each is done once, whatever dies
//! in between.

use std::io;

use gpu_health::{Subject, Word};
use jiff::Timestamp;
use node_host::LocalPath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::requests::{self, FILE_MODE, InvalidRequest, MAX_WHO, MAX_WHY, Named};
use crate::strict::{self, ReadError, WriteError};

/// Version of the file's form. Version 1 is not frozen before the first release.
const SCHEMA_VERSION: u32 = 1;

/// The folder below the run folder (`/run/gantry`). Only root may enter it.
pub const REQUESTS_PATH: &str = "device-plugin/health-requests";

/// The most requests that may wait.
pub const MAX_REQUESTS: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthVerb {
    /// To take it out of service.
    Fence,
    /// To end a fence and accept what is known so far.
    Clear,
}

/// One request of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRequest {
    schema_version: u32,
    id: String,
    /// What is asked for.
    pub verb: HealthVerb,
    /// Of which GPU or GPU instance.
    pub subject: Subject,
    who: String,
    why: String,
    asked_at: Timestamp,
}

/// A request that could not be made.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// The folder could not be made or read.
    #[error("cannot use the folder {path}")]
    Folder {
        /// The folder.
        path: LocalPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There are too many already.
    #[error("{waiting} requests wait in {path}, and no more are taken: does the device plugin run?")]
    Full {
        /// The folder.
        path: LocalPath,
        /// How many.
        waiting: usize,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl HealthRequest {
    /// A request of this moment.
    ///
    /// # Errors
    /// When a text is empty, too long, or has control characters.
    pub fn new(
        verb: HealthVerb,
        subject: Subject,
        who: &str,
        why: &str,
    ) -> Result<HealthRequest, InvalidRequest> {
        let asked_at = Timestamp::now();
        let id = requests::new_id(asked_at);
        let (who, why) = (who.trim().to_owned(), why.trim().to_owned());
        let request = HealthRequest { schema_version: SCHEMA_VERSION, id, verb, subject, who, why, asked_at };
        request.check()?;
        Ok(request)
    }

    /// Its name, unique on the node.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The person's word.
    pub fn word(&self) -> Word {
        let unix_ms = u64::try_from(self.asked_at.as_millisecond()).unwrap_or(0);
        Word { who: self.who.clone(), why: self.why.clone(), unix_ms }
    }

    /// Puts it into `folder`, which is made if it is missing. Gives the file, which is gone once the request was taken.
    pub fn submit(&self, folder: &LocalPath) -> Result<LocalPath, SubmitError> {
        let wrong = |source| SubmitError::Folder { path: folder.clone(), source };
        requests::make_folder(folder).map_err(wrong)?;
        let waiting = names(folder).map_err(wrong)?.len();
        if waiting >= MAX_REQUESTS {
            return Err(SubmitError::Full { path: folder.clone(), waiting });
        }
        let path = requests::path_of(folder, &self.id);
        strict::write(&path, self, FILE_MODE)?;
        Ok(path)
    }

    /// The files that wait in `folder`, oldest request first, at most [`MAX_REQUESTS`] of them. None where there is no
    /// such folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn waiting(folder: &LocalPath) -> io::Result<Vec<LocalPath>> {
        let names = names(folder)?.into_iter().take(MAX_REQUESTS);
        Ok(names.map(|name| folder.join(name)).collect())
    }

    /// Reads the file at `path`. Strict, and its name must be its id.
    pub fn read(path: &LocalPath) -> Result<HealthRequest, ReadError> {
        requests::read(path, SCHEMA_VERSION)
    }
}

impl Named for HealthRequest {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), InvalidRequest> {
        requests::check_line("who", &self.who, MAX_WHO)?;
        requests::check_line("why", &self.why, MAX_WHY)
    }
}

/// Names of the requests in `folder`, oldest first. Where somebody else fills it, the first ones may be missed.
fn names(folder: &LocalPath) -> io::Result<Vec<String>> {
    let mut names = requests::names(folder, 16 * MAX_REQUESTS)?;
    names.retain(|name| requests::id_in(name).is_some());
    Ok(names)
}
