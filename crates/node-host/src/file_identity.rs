//! Whether a path still leads to the same file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Tells a file from another one at the same path. The inode alone does not: it is used again at once.
/// The time of the last change of content is set when a socket is made and stays, whereas a change of mode
/// or label moves the status time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    made: (i64, i64),
}

impl FileIdentity {
    /// The file at `path`; a link is not followed.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::symlink_metadata(path)?))
    }

    /// Its place on the disk, which a change of content leaves as it is.
    pub fn place(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl From<&std::fs::Metadata> for FileIdentity {
    fn from(found: &std::fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), made: (found.mtime(), found.mtime_nsec()) }
    }
}
