//! Tells when a file may have changed: inotify on its folder, and a look now and then for what inotify cannot see, such
//! as the far end of a link. It opens nothing but the folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::beat;
use inotify::{EventStream, WatchMask};
use node_host::FileIdentity;
use tokio::time::Interval;
use tokio_stream::StreamExt;

use crate::folder_events;

/// How often the file is looked at beside inotify.
const LOOK: Duration = Duration::from_secs(10);

/// Looks out for changes of one file.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    folder: PathBuf,
    /// The folder that inotify is bound to, and its events.
    bound: Option<(FileIdentity, EventStream<Vec<u8>>)>,
    look: Interval,
    /// What a link leads to, as it was last seen.
    seen: Option<FileIdentity>,
}

impl FileWatch {
    /// A watch on the file at this path. Must be made inside a runtime.
    pub fn new(path: PathBuf) -> Self {
        let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let seen = target(&path);
        let mut watch = Self { path, folder, bound: None, look: beat(LOOK), seen };
        watch.bind();
        watch
    }

    /// Waits until it is worth reading the file again.
    pub async fn changed(&mut self) {
        loop {
            let is_told = match &mut self.bound {
                Some((_, events)) => {
                    tokio::select! {
                        event = events.next() => {
                            if !matches!(event, Some(Ok(_))) {
                                self.bound = None;
                            }
                            true
                        }
                        _ = self.look.tick() => false,
                    }
                }
                None => {
                    self.look.tick().await;
                    false
                }
            };
            self.bind();
            let now = target(&self.path);
            let is_news = std::mem::replace(&mut self.seen, now) != now;
            if is_told || is_news {
                return;
            }
        }
    }

    /// Binds inotify to the folder that is there now, if it is not the one it is bound to.
    fn bind(&mut self) {
        let now = target(&self.folder);
        let is_bound =
            self.bound.as_ref().is_some_and(|(folder, _)| Some(folder.place()) == now.map(|now| now.place()));
        if !is_bound {
            self.bound =
                now.and_then(|now| Some((now, folder_events(&self.folder, WatchMask::CLOSE_WRITE).ok()?)));
        }
    }
}

/// The file at the end of the links.
fn target(path: &Path) -> Option<FileIdentity> {
    std::fs::metadata(path).ok().map(|found| FileIdentity::from(&found))
}
