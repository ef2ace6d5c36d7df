//! Tells when a file may have changed: inotify on its folder, and a look now and then for what inotify cannot see, such
//! as the far end of a link. It opens nothing but the folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::{Beat, beat};
use inotify::{EventStream, WatchMask};
use node_host::FileIdentity;
use tokio_stream::StreamExt;

use crate::{FOLDER_GONE, folder_events};

/// How often the file is looked at beside inotify.
const LOOK: Duration = Duration::from_secs(10);

/// Looks out for changes of one file.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    folder: PathBuf,
    /// The folder that inotify is bound to, and its events.
    bound: Option<(FileIdentity, EventStream<Vec<u8>>)>,
    look: Beat,
    /// What a link leads to, as it was last seen.
    seen: Option<FileIdentity>,
}

impl FileWatch {
    /// A watch on the file at this path. Must be made inside a runtime.
    pub fn new(path: PathBuf) -> Self {
        Self::with(path, LOOK)
    }

    fn with(path: PathBuf, look: Duration) -> Self {
        let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let seen = target(&path);
        let mut watch = Self { path, folder, bound: None, look: beat(look), seen };
        watch.bind();
        watch
    }

    /// Waits until it is worth reading the file again: it changed, or it may have, since the folder is another one than
    /// before or nothing would tell of a change in it.
    pub async fn changed(&mut self) {
        loop {
            let is_told = match &mut self.bound {
                Some((_, events)) => {
                    tokio::select! {
                        event = events.next() => {
                            // A folder that is made again may have the number of the one before.
                            let is_bound = matches!(&event, Some(Ok(event)) if !event.mask.intersects(FOLDER_GONE));
                            if !is_bound {
                                self.bound = None;
                            }
                            true
                        }
                        _ = self.look.tick() => false,
                    }
                }
                None => {
                    self.look.tick().await;
                    true
                }
            };
            let is_bound_anew = self.bind();
            let now = target(&self.path);
            let is_news = std::mem::replace(&mut self.seen, now) != now;
            if is_told || is_bound_anew || is_news {
                return;
            }
        }
    }

    /// Binds inotify to the folder that is there now, and gives whether it was not bound to that one.
    fn bind(&mut self) -> bool {
        let now = target(&self.folder);
        let is_bound =
            self.bound.as_ref().is_some_and(|(folder, _)| Some(folder.place()) == now.map(|now| now.place()));
        if !is_bound {
            self.bound =
                now.and_then(|now| Some((now, folder_events(&self.folder, WatchMask::CLOSE_WRITE).ok()?)));
        }
        !is_bound
    }
}

/// The file at the end of the links.
fn target(path: &Path) -> Option<FileIdentity> {
    std::fs::metadata(path).ok().map(|found| FileIdentity::from(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn file_in_a_folder_that_comes_goes_and_comes_again_is_told_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("leases");
        let mut watch = FileWatch::with(folder.join("any"), Duration::from_millis(2));
        // Nothing would tell of a change there, so there may be one.
        watch.changed().await;
        for _ in 0..2 {
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("other"), "").unwrap();
            while watch.bound.is_none() {
                watch.changed().await;
            }
            std::fs::write(folder.join("other"), "again").unwrap();
            watch.changed().await;
            std::fs::remove_dir_all(&folder).unwrap();
            while watch.bound.is_some() {
                watch.changed().await;
            }
        }
    }

    #[tokio::test]
    async fn folder_that_is_another_one_than_before_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let [folder, next, link] = ["folder", "next", "link"].map(|name| dir.path().join(name));
        std::fs::create_dir(&folder).unwrap();
        std::fs::create_dir(&next).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let mut watch = FileWatch::with(link.join("any"), Duration::from_millis(2));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&next, &link).unwrap();
        watch.changed().await;
        std::fs::write(next.join("other"), "").unwrap();
        watch.changed().await;
    }
}
