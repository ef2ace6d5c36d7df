//! Who may speak to the plugin: root, which the kubelet is, and the user that the plugin runs as.

use std::io;

use thiserror::Error;
use tokio::net::UnixStream;

/// Why a connection is closed at once.
#[derive(Debug, Error)]
pub enum PeerRefused {
    /// Somebody else's process.
    #[error("a process of user {uid} (pid {pid}) connected; only user 0 and user {own} may")]
    OtherUser {
        /// Its effective user id when it connected.
        uid: u32,
        /// Its process id; 0 if the kernel does not say.
        pid: i32,
        /// Our own effective user id.
        own: u32,
    },
    /// The kernel does not tell who it is.
    #[error("the peer's credentials cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Checks the peer by `SO_PEERCRED`, which the kernel fills in and the peer cannot choose.
///
/// # Errors
/// When the peer is not to be trusted.
pub fn check(stream: &UnixStream) -> Result<(), PeerRefused> {
    let peer = stream.peer_cred().map_err(PeerRefused::Unreadable)?;
    let own = rustix::process::geteuid().as_raw();
    if is_trusted(peer.uid(), own) {
        return Ok(());
    }
    Err(PeerRefused::OtherUser { uid: peer.uid(), pid: peer.pid().unwrap_or(0), own })
}

fn is_trusted(uid: u32, own: u32) -> bool {
    uid == 0 || uid == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_user_are_trusted_and_nobody_else() {
        assert!(is_trusted(0, 1000) && is_trusted(1000, 1000) && is_trusted(0, 0));
        assert!(!is_trusted(1000, 0) && !is_trusted(1001, 1000) && !is_trusted(u32::MAX, 0));
    }
}
