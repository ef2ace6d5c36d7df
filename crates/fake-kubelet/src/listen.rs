//! Opens the sockets that the kubelet serves on, and clears the plugin folder as it does at its start.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt},
        net::UnixListener as StdListener,
    },
    path::Path,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::UnixListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Creates a folder as the kubelet does: mode 0750, parents included.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .map_err(|error| naming("create folder", dir, &error))
}

/// Removes every socket from the plugin folder. Plain files and folders stay.
pub(crate) fn wipe_sockets(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).map_err(|error| naming("read folder", dir, &error))? {
        let path = entry?.path();
        // Follows links, as the real one does: a link to a socket goes too. What cannot be looked at stays.
        if fs::metadata(&path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            match fs::remove_file(&path) {
                // Its owner, which ends at the same moment, was faster.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(naming("remove socket", &path, &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Listens on a new socket. Between its appearing and its accepting passes `gap`: in the real kubelet this is short but
/// not nothing, and whoever connects in it is refused.
pub(crate) async fn listen_at(path: &Path, gap: Duration) -> io::Result<UnixListener> {
    let open = || -> io::Result<_> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &address)?;
        Ok(socket)
    };
    let socket = open().map_err(|error| naming("bind", path, &error))?;
    if !gap.is_zero() {
        tokio::time::sleep(gap).await;
    }
    listen(&socket, BACKLOG)?;
    UnixListener::from_std(StdListener::from(socket))
}

fn naming(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
}
