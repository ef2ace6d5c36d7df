//! The plugin's own socket: a name that no other instance has, dead ones cleaned, peers checked.
//!
//! It knows files and credentials, and no message of the kubelet: accepted connections go out through a channel, so
//! that the socket can be bound anew (the kubelet removes every socket when it starts) under a server that
//! keeps running.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gpu_model::ResourceName;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use node_host::FileIdentity;

mod cleaning;
mod connection;
pub mod peer;
mod seldom;

pub use cleaning::remove_dead;
pub use connection::{Connection, Origin};

use seldom::Seldom;

/// Longest path that a socket address holds, in bytes: `sun_path` less its terminating zero.
const MAX_SOCKET_PATH: usize = 107;

/// Most connections at once, on all our sockets together. The kubelet has one; a second instance's check and a person
/// looking take another.
const MAX_CONNECTIONS: usize = 64;

/// Beginning of the name of every socket of ours, whatever its resource: dead ones of a resource that is offered no more
/// are cleaned, too.
const OURS: &str = "gantry-";

/// Longest part of a socket's name that tells the resource, so that a path in the kubelet's folder fits.
const MAX_STEM: usize = 32;

/// End of the name that a socket has until it listens.
const DRAFT: &str = ".new.sock";

/// What a name is padded to when only its length matters: pid and token at their longest.
const LONGEST_INSTANCE: &str = "4194304-0123456789abcdef";

/// The folder is too deep for a socket address.
#[derive(Debug, Error)]
#[error(
    "{path:?} has {length} bytes, and a socket path has at most {MAX_SOCKET_PATH}: use a shorter plugin folder"
)]
pub struct PathTooLong {
    path: PathBuf,
    length: usize,
}

/// The socket could not be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {path:?}")]
pub struct BindError {
    path: PathBuf,
    source: io::Error,
}

/// File names of our sockets for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketNames {
    prefix: String,
    pid: u32,
    token: u64,
}

impl SocketNames {
    /// Names of this instance. The token tells instances apart that share a pid across containers.
    pub fn new(resource: &ResourceName, pid: u32, token: u64) -> Self {
        Self { prefix: format!("{OURS}{}-", stem(resource)), pid, token }
    }

    /// Gives the next socket another name. A kubelet that still counts a socket's earlier registration as live refuses
    /// the same one, and forgets the earlier one over it.
    pub fn renew(&mut self) {
        self.token = self.token.wrapping_add(1);
    }

    /// The same, past all names that the registrations of one period of serving may give.
    pub fn renew_far(&mut self) {
        self.token = self.token.wrapping_add(1 << 32);
    }

    /// The file name of this instance's socket.
    pub fn own(&self) -> String {
        format!("{}{}-{:016x}.sock", self.prefix, self.pid, self.token)
    }

    /// The name under which the socket stands until it listens.
    pub fn draft(&self) -> String {
        format!("{}{}-{:016x}{DRAFT}", self.prefix, self.pid, self.token)
    }

    /// Whether a file of this name is a socket that does not listen yet.
    fn is_draft(name: &[u8]) -> bool {
        name.ends_with(DRAFT.as_bytes())
    }

    /// Whether a file of this name is a socket of some instance of ours.
    pub fn is_ours(name: &[u8]) -> bool {
        name.starts_with(OURS.as_bytes()) && name.ends_with(b".sock")
    }

    /// Whether any instance's socket in `dir` fits into a socket address.
    ///
    /// # Errors
    /// When it does not, with the path and the bound.
    pub fn check_length(&self, dir: &Path) -> Result<(), PathTooLong> {
        let path = dir.join(format!("{}{LONGEST_INSTANCE}{DRAFT}", self.prefix));
        let length = path.as_os_str().as_bytes().len();
        if length > MAX_SOCKET_PATH { Err(PathTooLong { path, length }) } else { Ok(()) }
    }
}

/// What stands for a resource in a file name: the whole, or what fits of it and a number for the rest.
fn stem(resource: &ResourceName) -> String {
    let whole = resource.as_str().replace('/', "_");
    if whole.len() <= MAX_STEM {
        return whole;
    }
    let number = BuildHasherDefault::<DefaultHasher>::default().hash_one(&whole);
    // A resource's name is ASCII.
    let begin: String = whole.chars().take(MAX_STEM - 9).collect();
    format!("{begin}-{:08x}", number & u64::from(u32::MAX))
}

/// Where accepted connections go, and how many there may be. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Acceptor {
    accepted: mpsc::Sender<io::Result<Connection>>,
    places: Arc<Semaphore>,
    connections: Arc<AtomicU64>,
}

impl Acceptor {
    /// Sends each connection of a trusted peer to `accepted`.
    pub fn new(accepted: mpsc::Sender<io::Result<Connection>>) -> Self {
        Self {
            accepted,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            connections: Arc::new(AtomicU64::new(0)),
        }
    }
}

/// A socket of ours that is bound and accepts. Dropping it stops accepting and removes the file, unless
/// somebody put another one in its place.
#[derive(Debug)]
pub struct OwnSocket {
    path: PathBuf,
    identity: FileIdentity,
    accepting: JoinHandle<()>,
}

impl OwnSocket {
    /// Binds this instance's socket in `dir` and accepts connections of trusted peers, marked with `number`.
    ///
    /// The file gets its name once it listens, so that no other instance takes it for a dead one.
    ///
    /// # Errors
    /// When the folder does not allow it.
    pub fn bind(dir: &Path, names: &SocketNames, number: u64, acceptor: Acceptor) -> Result<Self, BindError> {
        let path = dir.join(names.own());
        let bound = bind(dir, names, &path).map_err(|source| BindError { path: path.clone(), source })?;
        let accepting = tokio::spawn(accept(bound.0, number, acceptor));
        Ok(Self { path, identity: bound.1, accepting })
    }

    /// Waits until it accepts no more, which it never should: its task ended or panicked, and says how.
    pub async fn deaf(&mut self) -> String {
        match (&mut self.accepting).await {
            Ok(()) => "the server takes no connections any more".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still the one that we bound.
    pub fn is_in_place(&self) -> bool {
        FileIdentity::of(&self.path).is_ok_and(|now| now == self.identity)
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        self.accepting.abort();
        if self.is_in_place()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "own socket could not be removed");
        }
    }
}

fn bind(dir: &Path, names: &SocketNames, path: &Path) -> io::Result<(UnixListener, FileIdentity)> {
    let draft = dir.join(names.draft());
    remove_if_there(&draft)?;
    let listener = UnixListener::bind(&draft)?;
    std::fs::rename(&draft, path)?;
    Ok((listener, FileIdentity::of(path)?))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn accept(listener: UnixListener, socket: u64, acceptor: Acceptor) {
    let (mut refusals, mut failures) = (Seldom::default(), Seldom::default());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if let Some(kept_back) = failures.due(Instant::now()) {
                    tracing::warn!(%error, kept_back, "no connection could be accepted");
                }
                // Out of file descriptors, most likely: accepting at once again would spin.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        match admit(stream, socket, &acceptor) {
            Ok(connection) => {
                if acceptor.accepted.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                if let Some(kept_back) = refusals.due(Instant::now()) {
                    tracing::warn!(reason, kept_back, "connection refused");
                }
            }
        }
    }
}

/// Takes in a connection, or says why it is closed at once.
fn admit(stream: UnixStream, socket: u64, acceptor: &Acceptor) -> Result<Connection, String> {
    peer::check(&stream).map_err(|refused| refused.to_string())?;
    let place = Arc::clone(&acceptor.places)
        .try_acquire_owned()
        .map_err(|_| format!("{MAX_CONNECTIONS} connections are open, which is the most"))?;
    let connection = acceptor.connections.fetch_add(1, Ordering::Relaxed);
    Ok(Connection::new(stream, Origin { socket, connection }, place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdStream;

    use super::*;

    fn names(pid: u32) -> SocketNames {
        SocketNames::new(&"nvidia.com/gpu".parse().unwrap(), pid, 7)
    }

    #[test]
    fn name_tells_resource_and_instance_and_is_a_base_name() {
        assert_eq!(names(12).own(), "gantry-nvidia.com_gpu-12-0000000000000007.sock");
        assert!(SocketNames::is_ours(names(99).own().as_bytes()));
        for other in ["kubelet.sock", "nvidia-gpu.sock", "gantry-nvidia.com_gpu-1-0.txt"] {
            assert!(!SocketNames::is_ours(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn long_resource_is_cut_and_still_told_from_its_like() {
        let own = |resource: &str| SocketNames::new(&resource.parse().unwrap(), 4_194_304, u64::MAX);
        let (one, two) = (
            own("gpus.example.com/a-name-that-is-very-long-1"),
            own("gpus.example.com/a-name-that-is-very-long-2"),
        );
        assert_ne!(one.own(), two.own());
        assert!(one.check_length(Path::new("/var/lib/kubelet/device-plugins")).is_ok());
        assert_eq!(own("nvidia.com/mig-1c.3g.40gb").own().split('-').nth(2), Some("1c.3g.40gb"));
    }

    #[test]
    fn name_that_is_renewed_differs_and_is_still_ours() {
        let mut renewed = names(12);
        renewed.renew();
        assert_ne!(renewed.own(), names(12).own());
        assert!(SocketNames::is_ours(renewed.own().as_bytes()));
    }

    #[test]
    fn folder_that_makes_the_path_too_long_is_refused_with_the_bound() {
        assert!(names(1).check_length(Path::new("/var/lib/kubelet/device-plugins")).is_ok());
        let error = names(1).check_length(&Path::new("/").join("x".repeat(60))).unwrap_err().to_string();
        assert!(error.contains("107"), "{error}");
    }

    #[tokio::test]
    async fn socket_accepts_its_owner_and_is_removed_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, mut accepted) = mpsc::channel(1);
        let socket = OwnSocket::bind(dir.path(), &names(1), 5, Acceptor::new(sender)).unwrap();
        let _client = StdStream::connect(socket.path()).unwrap();
        assert_eq!(accepted.recv().await.unwrap().unwrap().origin(), Origin { socket: 5, connection: 0 });
        drop(socket);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn socket_that_somebody_replaced_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, _accepted) = mpsc::channel(1);
        let socket = OwnSocket::bind(dir.path(), &names(1), 5, Acceptor::new(sender)).unwrap();
        std::fs::remove_file(socket.path()).unwrap();
        assert!(!socket.is_in_place());
        std::fs::write(socket.path(), "not ours").unwrap();
        let path = socket.path().to_owned();
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_are_closed_until_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, mut accepted) = mpsc::channel(1);
        let socket = OwnSocket::bind(dir.path(), &names(1), 5, Acceptor::new(sender)).unwrap();
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let client = UnixStream::connect(socket.path()).await.unwrap();
            held.push((client, accepted.recv().await.unwrap().unwrap()));
        }
        let refused = UnixStream::connect(socket.path()).await.unwrap();
        refused.readable().await.unwrap();
        assert_eq!(refused.try_read(&mut [0]).unwrap(), 0, "it is closed");

        held.pop();
        let _client = UnixStream::connect(socket.path()).await.unwrap();
        assert!(accepted.recv().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn socket_whose_connections_nobody_takes_any_more_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, accepted) = mpsc::channel(1);
        let mut socket = OwnSocket::bind(dir.path(), &names(1), 5, Acceptor::new(sender)).unwrap();
        drop(accepted);
        let _client = UnixStream::connect(socket.path()).await.unwrap();
        let how = tokio::time::timeout(std::time::Duration::from_secs(30), socket.deaf()).await.unwrap();
        assert!(how.contains("takes no connections"), "{how}");
    }
}
