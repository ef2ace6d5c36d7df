//! Watches for the kubelet: its socket coming, going, being replaced, and the folder that holds it.
//!
//! inotify tells within microseconds, also when the folder itself goes. A poll finds what inotify cannot: a folder
//! mounted over ours, one that is not there yet, an inotify that the system refuses us. It looks at files only and
//! connects to nothing.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventStream, Inotify, WatchMask};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::StreamExt;

use crate::file_identity::FileIdentity;

/// How often the files are looked at where inotify works: each look costs an idle node some 50 microseconds.
const POLL: Duration = Duration::from_secs(10);

/// How often while there is no folder to watch.
const POLL_FOR_FOLDER: Duration = Duration::from_secs(1);

/// How often where it does not: its limits are per user, and other programs may have used them up.
const POLL_ALONE: Duration = Duration::from_millis(250);

/// Room for the events of one read; a kubelet makes a handful at a time.
const EVENT_BUFFER: usize = 4096;

/// What stands at the kubelet's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The folder is not there.
    NoFolder,
    /// The folder that we hold was deleted. Inside a container the path leads to the dead folder for ever.
    FolderReplaced,
    /// No file of that name: the kubelet is not up yet.
    Absent,
    /// A file that is no socket.
    NotASocket,
    /// A socket.
    Socket(FileIdentity),
}

/// Looks out for the kubelet's socket.
#[derive(Debug)]
pub struct KubeletWatch {
    socket: PathBuf,
    folder: PathBuf,
    /// The folder that inotify is bound to, if it is bound.
    bound: Option<(u64, u64)>,
    events: Option<EventStream<Vec<u8>>>,
    poll: Interval,
}

impl KubeletWatch {
    /// A watch on the socket at this path. Must be made inside a runtime.
    pub fn new(socket: PathBuf) -> Self {
        let folder = socket.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let mut watch = Self { socket, folder, bound: None, events: None, poll: interval(POLL) };
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
        match std::fs::metadata(&self.folder) {
            Err(_) => Sighting::NoFolder,
            Ok(folder) if folder.nlink() == 0 => Sighting::FolderReplaced,
            Ok(_) => match std::fs::symlink_metadata(&self.socket) {
                Err(_) => Sighting::Absent,
                Ok(found) if found.file_type().is_socket() => Sighting::Socket(FileIdentity::from(&found)),
                Ok(_) => Sighting::NotASocket,
            },
        }
    }

    /// Waits until it is worth looking again. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) {
        match &mut self.events {
            Some(events) => {
                tokio::select! {
                    event = events.next() => {
                        if !matches!(event, Some(Ok(_))) {
                            // The queue is broken.
                            self.unbind();
                        }
                        // The event may be that the folder went.
                        self.bind();
                    }
                    _ = self.poll.tick() => self.bind(),
                }
            }
            None => {
                self.poll.tick().await;
                self.bind();
            }
        }
    }

    /// Binds inotify to the folder that is there now, if it is not the one it is bound to.
    fn bind(&mut self) {
        let Ok(folder) = std::fs::metadata(&self.folder) else {
            self.unbind();
            return self.set_period(POLL_FOR_FOLDER);
        };
        let place = place(&folder);
        if self.bound == Some(place) && self.events.is_some() {
            return;
        }
        let had_events = self.events.is_some();
        self.unbind();
        match watch_folder(&self.folder) {
            Ok(events) => {
                self.events = Some(events);
                self.bound = Some(place);
            }
            Err(error) => {
                if had_events || self.poll.period() != POLL_ALONE {
                    tracing::warn!(folder = %self.folder.display(), %error, "inotify is not to be had; polling instead");
                }
                self.set_period(POLL_ALONE);
                return;
            }
        }
        self.set_period(POLL);
    }

    fn unbind(&mut self) {
        self.events = None;
        self.bound = None;
    }

    fn set_period(&mut self, period: Duration) {
        if self.poll.period() != period {
            self.poll = interval(period);
        }
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn place(folder: &Metadata) -> (u64, u64) {
    (folder.dev(), folder.ino())
}

fn watch_folder(folder: &Path) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    let names = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM;
    let folder_itself = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
    inotify.watches().add(folder, names | folder_itself)?;
    inotify.into_event_stream(vec![0; EVENT_BUFFER])
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
}
