//! Watches for the kubelet: its socket coming, going, being replaced, and the folder that holds it.
//!
//! inotify tells within microseconds. A poll finds what it cannot: a folder that is not there yet, one that was
//! mounted over ours, an inotify that the system refuses us. Where the folder is itself a mount, as in a container, the
//! path leads to the same folder for as long as the mount stands, also when the host deleted it (its link count is 0
//! then) or moved it away (which inotify alone tells): both are [`Sighting::FolderReplaced`]. It looks at files only and
//! connects to nothing.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, EventStream, WatchMask};
use tokio_stream::StreamExt;

use daemon::{Beat, beat};
use file_watch::{FOLDER_GONE, folder_events};
use node_host::FileIdentity;

/// How often the files are looked at.
#[derive(Clone, Copy, Debug)]
struct Periods {
    /// Where inotify works and the kubelet's socket is there: a folder with a file in it is not deleted unnoticed. Each
    /// look wakes an idle node.
    beside_inotify: Duration,
    /// Where inotify works and there is no socket.
    for_socket: Duration,
    /// While there is no folder to watch.
    for_folder: Duration,
    /// Where inotify does not: its limits are per user, and other programs may have used them up.
    alone: Duration,
}

const PERIODS: Periods = Periods {
    beside_inotify: Duration::from_secs(10),
    for_socket: Duration::from_secs(2),
    for_folder: Duration::from_secs(1),
    alone: Duration::from_millis(250),
};

/// What stands at the kubelet's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The folder is not there.
    NoFolder,
    /// The folder that we hold was deleted or moved away. Inside a container the path leads to it for ever.
    FolderReplaced,
    /// The system does not let us look: rights, a loop of links, a dead disk.
    Unreadable(Unreadable),
    /// No file of that name: the kubelet is not up yet.
    Absent,
    /// A file that is no socket.
    NotASocket,
    /// A socket.
    Socket(FileIdentity),
}

/// What could not be looked at, and what the system said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Whether it is the folder, as opposed to the socket in it.
    pub is_folder: bool,
    code: Option<i32>,
}

impl Unreadable {
    fn new(is_folder: bool, error: &io::Error) -> Self {
        Self { is_folder, code: error.raw_os_error() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code).fmt(f),
            None => f.write_str("the system does not say why"),
        }
    }
}

/// Looks out for the kubelet's socket.
#[derive(Debug)]
pub struct KubeletWatch {
    socket: PathBuf,
    folder: PathBuf,
    /// The folder that inotify is bound to, and its events.
    bound: Option<Bound>,
    /// A folder that was moved away while the path went on leading to it.
    cut_off: Option<Place>,
    periods: Periods,
    poll: Beat,
    /// Whether it was told that inotify is not to be had.
    is_told: bool,
    /// Makes the watch on a folder.
    inotify: fn(&Path) -> io::Result<EventStream<Vec<u8>>>,
}

/// Device and inode of a folder.
type Place = (u64, u64);

#[derive(Debug)]
struct Bound {
    place: Place,
    events: EventStream<Vec<u8>>,
}

impl KubeletWatch {
    /// A watch on the socket at this path. Must be made inside a runtime.
    pub fn new(socket: PathBuf) -> Self {
        Self::with(socket, PERIODS, watch_folder)
    }

    fn with(
        socket: PathBuf,
        periods: Periods,
        inotify: fn(&Path) -> io::Result<EventStream<Vec<u8>>>,
    ) -> Self {
        let folder = socket.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let poll = beat(periods.beside_inotify);
        let mut watch =
            Self { socket, folder, bound: None, cut_off: None, periods, poll, is_told: false, inotify };
        watch.bind();
        watch
    }

    /// The kubelet's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder that holds it, and ours.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is there now.
    pub fn look(&self) -> Sighting {
        let folder = match std::fs::metadata(&self.folder) {
            Ok(folder) => folder,
            Err(error) if is_absence(&error) => return Sighting::NoFolder,
            Err(error) => return Sighting::Unreadable(Unreadable::new(true, &error)),
        };
        if folder.nlink() == 0 || self.cut_off == Some((folder.dev(), folder.ino())) {
            return Sighting::FolderReplaced;
        }
        match std::fs::symlink_metadata(&self.socket) {
            Ok(found) if found.file_type().is_socket() => Sighting::Socket(FileIdentity::from(&found)),
            Ok(_) => Sighting::NotASocket,
            Err(error) if is_absence(&error) => Sighting::Absent,
            Err(error) => Sighting::Unreadable(Unreadable::new(false, &error)),
        }
    }

    /// Waits until it is worth looking again. Gives whether something may have happened in the folder: not when a look
    /// is merely due and inotify, which would have told, works. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> bool {
        let is_told = match &mut self.bound {
            Some(bound) => {
                tokio::select! {
                    event = bound.events.next() => {
                        match event {
                            Some(Ok(event)) => self.take(event.mask),
                            // The queue is broken.
                            _ => self.bound = None,
                        }
                        true
                    }
                    _ = self.poll.tick() => false,
                }
            }
            None => {
                self.poll.tick().await;
                true
            }
        };
        self.bind();
        is_told
    }

    /// Once the folder itself is concerned the watch on it is worth nothing, whatever now has its inode.
    fn take(&mut self, event: EventMask) {
        if !event.intersects(FOLDER_GONE) {
            return;
        }
        let bound = self.bound.take().map(|bound| bound.place);
        if event.contains(EventMask::MOVE_SELF) && bound == place(&self.folder) {
            self.cut_off = bound;
        }
    }

    /// Binds inotify to the folder that is there now, if it is not the one it is bound to.
    fn bind(&mut self) {
        let Some(place) = place(&self.folder) else {
            self.bound = None;
            return self.set_period(self.periods.for_folder);
        };
        if self.bound.as_ref().is_some_and(|bound| bound.place == place) {
            return self.set_period(self.beside_inotify());
        }
        self.bound = None;
        match (self.inotify)(&self.folder) {
            Ok(events) => {
                self.bound = Some(Bound { place, events });
                self.is_told = false;
                self.set_period(self.beside_inotify());
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::warn!(folder = %self.folder.display(), %error, "inotify is not to be had; polling instead");
                }
                self.set_period(self.periods.alone);
            }
        }
    }

    fn beside_inotify(&self) -> Duration {
        if self.socket.symlink_metadata().is_ok() {
            self.periods.beside_inotify
        } else {
            self.periods.for_socket
        }
    }

    fn set_period(&mut self, period: Duration) {
        if self.poll.period() != period {
            self.poll = beat(period);
        }
    }
}

fn place(folder: &Path) -> Option<Place> {
    let folder = std::fs::metadata(folder).ok()?;
    Some((folder.dev(), folder.ino()))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn watch_folder(folder: &Path) -> io::Result<EventStream<Vec<u8>>> {
    folder_events(folder, WatchMask::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    async fn next(watch: &mut KubeletWatch, expected: impl Fn(Sighting) -> bool) -> Sighting {
        let wait = async {
            while !expected(watch.look()) {
                watch.changed().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(in_time.is_ok(), "last sighting: {:?}", watch.look());
        watch.look()
    }

    fn is_socket(sighting: Sighting) -> bool {
        matches!(sighting, Sighting::Socket(_))
    }

    #[tokio::test]
    async fn socket_that_comes_is_replaced_and_goes_is_seen_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubelet.sock");
        let mut watch = KubeletWatch::new(path.clone());
        assert_eq!(watch.look(), Sighting::Absent);

        let _first = UnixListener::bind(&path).unwrap();
        let first = next(&mut watch, is_socket).await;
        let _second = UnixListener::bind(dir.path().join("next.sock")).unwrap();
        std::fs::rename(dir.path().join("next.sock"), &path).unwrap();
        next(&mut watch, |now| is_socket(now) && now != first).await;
        std::fs::remove_file(&path).unwrap();
        next(&mut watch, |now| now == Sighting::Absent).await;
        std::fs::write(&path, "").unwrap();
        next(&mut watch, |now| now == Sighting::NotASocket).await;
    }

    #[tokio::test]
    async fn folder_that_is_moved_away_and_made_again_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("device-plugins");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("kubelet.sock");
        let mut watch = KubeletWatch::new(path.clone());
        std::fs::rename(&folder, dir.path().join("old")).unwrap();
        next(&mut watch, |now| now == Sighting::NoFolder).await;
        std::fs::create_dir(&folder).unwrap();
        let _kubelet = UnixListener::bind(&path).unwrap();
        next(&mut watch, is_socket).await;
        std::fs::remove_file(&path).unwrap();
        next(&mut watch, |now| now == Sighting::Absent).await;
    }

    #[tokio::test]
    async fn deleted_folder_that_is_still_reached_is_seen_as_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("device-plugins");
        std::fs::create_dir(&folder).unwrap();
        // A descriptor reaches a deleted folder, as a bind mount does.
        let held = std::fs::File::open(&folder).unwrap();
        let reached = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held)));
        let mut watch = KubeletWatch::new(reached.join("kubelet.sock"));
        assert_eq!(watch.look(), Sighting::Absent);
        std::fs::remove_dir(&folder).unwrap();
        next(&mut watch, |now| now == Sighting::FolderReplaced).await;
    }

    /// A poll that never comes, so that only inotify can tell.
    const NEVER: Periods = Periods {
        beside_inotify: Duration::from_secs(3600),
        for_socket: Duration::from_secs(3600),
        ..PERIODS
    };

    #[tokio::test]
    async fn moved_folder_that_is_still_reached_is_seen_as_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("device-plugins");
        std::fs::create_dir(&folder).unwrap();
        let held = std::fs::File::open(&folder).unwrap();
        let reached = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held)));
        let mut watch = KubeletWatch::new(reached.join("kubelet.sock"));
        std::fs::rename(&folder, dir.path().join("old")).unwrap();
        next(&mut watch, |now| now == Sighting::FolderReplaced).await;
    }

    #[tokio::test]
    async fn folder_that_is_made_again_with_the_same_inode_is_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("device-plugins");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("kubelet.sock");
        let mut watch = KubeletWatch::with(path.clone(), NEVER, watch_folder);
        let before = place(&folder);
        std::fs::remove_dir(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        // File systems that give inodes anew at once are common, and not all.
        println!("same inode: {}", before == place(&folder));
        // The first folder's end, in one event or several.
        while watch.bound.as_ref().is_some_and(|bound| Some(bound.place) == before) {
            if tokio::time::timeout(Duration::from_secs(1), watch.changed()).await.is_err() {
                break;
            }
        }
        let _kubelet = UnixListener::bind(&path).unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
        assert!(told.is_ok(), "nothing tells of the new folder's socket: {watch:?}");
        assert!(is_socket(watch.look()));
    }

    #[tokio::test]
    async fn without_inotify_the_socket_is_found_by_looking() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubelet.sock");
        let none = |_: &Path| Err(io::Error::from_raw_os_error(24));
        let mut watch = KubeletWatch::with(path.clone(), PERIODS, none);
        let _first = UnixListener::bind(&path).unwrap();
        let first = next(&mut watch, is_socket).await;
        std::fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        next(&mut watch, |now| is_socket(now) && now != first).await;
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_absent() {
        let dir = tempfile::tempdir().unwrap();
        let circle = dir.path().join("circle");
        std::os::unix::fs::symlink("circle", &circle).unwrap();
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = executor.enter();
        let Sighting::Unreadable(folder) = KubeletWatch::new(circle.join("kubelet.sock")).look() else {
            panic!("taken for something else")
        };
        assert!(folder.is_folder && folder.to_string().contains("symbolic links"), "{folder}");
        let long = KubeletWatch::new(dir.path().join("k".repeat(300))).look();
        assert!(matches!(long, Sighting::Unreadable(Unreadable { is_folder: false, .. })), "{long:?}");
    }
}
