//! Removes sockets that a killed instance of ours left behind, and never another one.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::SocketNames;

/// Removes the dead sockets of earlier instances in `dir`; gives what it removed.
///
/// Dead is a socket under our prefix that refuses a connection: nobody listens, and nobody can begin to,
/// since a live instance gives its socket the name after it listens.
///
/// # Errors
/// When the folder cannot be read. A socket that cannot be removed is left and logged.
pub fn remove_dead(dir: &Path, names: &SocketNames) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_candidate = names.is_ours(name.as_bytes()) && name.as_bytes() != names.own().as_bytes();
        if !is_candidate || !entry.file_type()?.is_socket() || !is_dead(&entry.path()) {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            Ok(()) => removed.push(entry.path()),
            Err(error) => {
                tracing::warn!(path = %entry.path().display(), %error, "dead socket could not be removed")
            }
        }
    }
    Ok(removed)
}

fn is_dead(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_dead_sockets_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let names = SocketNames::new(&"nvidia.com/gpu".parse().unwrap(), 1, 1);
        let dead = at("gantry-nvidia.com_gpu-2-0000000000000002.sock");
        drop(UnixListener::bind(&dead).unwrap());
        let _live = UnixListener::bind(at("gantry-nvidia.com_gpu-3-0000000000000003.sock")).unwrap();
        drop(UnixListener::bind(at("nvidia-gpu.sock")).unwrap());
        std::fs::write(at("gantry-nvidia.com_gpu-4-0000000000000004.sock"), "a file").unwrap();

        assert_eq!(remove_dead(dir.path(), &names).unwrap(), [dead]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
