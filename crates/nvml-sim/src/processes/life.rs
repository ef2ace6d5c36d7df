//! Whether a process of the machine still lives, however it ended: it holds a lock on a file of the state folder, which
//! the kernel takes from it at its end. A pid would not do: it means nothing in another pid namespace, and is given again.
//!
//! The lock is flock's, which goes with the open file: through exec, and to children that inherit it. It knows files and
//! locks, no GPU.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::FdFlags;

use crate::state::StateFolderError;

/// In the state folder.
const FOLDER: &str = "lives";

/// The files of a state folder by which processes are known to live.
#[derive(Debug)]
pub struct Lives {
    dir: PathBuf,
}

impl Lives {
    /// Those of a state folder.
    pub fn of(state_dir: &Path) -> Lives {
        Lives { dir: state_dir.join(FOLDER) }
    }

    /// Begins one: its name, and the file that whoever lives it has to hold open. Only under the folder's lock, so that
    /// nobody tidies it away before a process is tied to it.
    pub(crate) fn begin(&self, pid: u32) -> Result<(String, File), StateFolderError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| StateFolderError::Io { action, path, source }
        };
        fs::create_dir_all(&self.dir).map_err(failed("create", &self.dir))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{pid}.{:x}", now.as_nanos());
        let path = self.dir.join(&name);
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed("lock", &path)(error.into()))?;
        Ok((name, file))
    }

    /// Whether nobody lives it any more. Who may not look takes it for going on.
    pub fn is_over(&self, name: &str) -> bool {
        let file = match File::open(self.dir.join(name)) {
            Ok(file) => file,
            Err(error) => return error.kind() == io::ErrorKind::NotFound,
        };
        // Shared, so that two who look at once do not take each other for the one who lives. To close the file gives it up.
        flock(&file, FlockOperation::NonBlockingLockShared).is_ok()
    }

    /// Removes the files of lives that no process is tied to. Only under the folder's lock.
    pub(crate) fn tidy<'a>(&self, tied: impl Iterator<Item = &'a str>) {
        let tied: Vec<&str> = tied.collect();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|name| tied.contains(&name)) {
                // One that stays costs nothing but its name.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Lets a program that takes this one's place hold the file on.
pub fn keep_through_exec(file: &File) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(file, FdFlags::empty())?)
}
