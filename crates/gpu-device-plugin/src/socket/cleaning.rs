//! Removes sockets that a killed instance of ours left behind, and never another one.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::SocketNames;

/// How old a draft has to be before it counts as left behind: its instance may be about to listen. Process ids tell
/// nothing here, since they are those of another container.
const DRAFT_AGE: Duration = Duration::from_secs(60);

/// Removes the dead sockets of earlier instances in `dir`; gives what it removed.
///
/// Dead is a socket of ours, of any resource, that refuses a connection: nobody listens, and nobody can begin to,
/// since a live instance gives its socket the name after it listens. Before that it has a draft's name, which only age
/// makes a dead one. Waits for nobody.
///
/// # Errors
/// When the folder cannot be read. A socket that cannot be removed is left and logged.
pub fn remove_dead(dir: &Path, names: &SocketNames) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_candidate = SocketNames::is_ours(name.as_bytes()) && name.as_bytes() != names.own().as_bytes();
        if !is_candidate || !entry.file_type()?.is_socket() {
            continue;
        }
        if SocketNames::is_draft(name.as_bytes()) && !is_old(&entry) || !is_dead(&entry.path()) {
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

fn is_old(entry: &std::fs::DirEntry) -> bool {
    let made = entry.metadata().and_then(|found| found.modified());
    made.is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age >= DRAFT_AGE))
}

/// A listener whose queue is full is alive: that it would have to be waited for says so.
fn is_dead(path: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let refused = SocketAddrUnix::new(path).and_then(|address| {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)
    });
    refused == Err(Errno::CONNREFUSED)
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

        let full = at("gantry-nvidia.com_gpu-5-0000000000000005.sock");
        let _queue = full_queue(&full);
        drop(UnixListener::bind(at("gantry-nvidia.com_gpu-6-0000000000000006.new.sock")).unwrap());
        let old = at("gantry-nvidia.com_gpu-7-0000000000000007.new.sock");
        drop(UnixListener::bind(&old).unwrap());
        age(&old);

        let mut removed = remove_dead(dir.path(), &names).unwrap();
        removed.sort();
        assert_eq!(removed, [dead, old]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5);
    }

    /// A socket that listens and whose queue takes no more.
    fn full_queue(path: &Path) -> (rustix::fd::OwnedFd, Vec<rustix::fd::OwnedFd>) {
        let open =
            || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        let address = SocketAddrUnix::new(path).unwrap();
        let listener = open();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let mut clients = Vec::new();
        loop {
            let client = open();
            match connect(&client, &address) {
                Ok(()) => clients.push(client),
                Err(error) => {
                    assert_eq!(error, Errno::AGAIN);
                    return (listener, clients);
                }
            }
        }
    }

    /// Makes a file look as if made an hour ago.
    fn age(path: &Path) {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let then = Timespec { tv_sec: i64::try_from(now).unwrap() - 3600, tv_nsec: 0 };
        let times = Timestamps { last_access: then, last_modification: then };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}
