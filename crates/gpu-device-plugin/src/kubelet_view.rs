//! The kubelet's socket as every registration sees it: one task looks, and all are told. It opens no file itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::kubelet_socket::{KubeletWatch, Sighting};

/// What was seen last. The count tells two looks apart that saw the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    looks: u64,
    sighting: Sighting,
}

/// What all registrations know of the kubelet's socket.
#[derive(Clone, Debug)]
pub struct KubeletView {
    socket: Arc<PathBuf>,
    folder: Arc<PathBuf>,
    seen: watch::Receiver<Seen>,
}

impl KubeletView {
    /// A view of what `watch` sees, and the work of keeping it.
    pub fn of(mut watch: KubeletWatch) -> (Self, impl Future<Output = ()> + Send) {
        let first = Seen { looks: 0, sighting: watch.look() };
        let (sender, seen) = watch::channel(first);
        let view = Self {
            socket: Arc::new(watch.socket().to_owned()),
            folder: Arc::new(watch.folder().to_owned()),
            seen,
        };
        let keep = async move {
            loop {
                let is_told = watch.changed().await;
                let sighting = watch.look();
                sender.send_if_modified(|seen| {
                    let is_news = is_told || seen.sighting != sighting;
                    if is_news {
                        *seen = Seen { looks: seen.looks.wrapping_add(1), sighting };
                    }
                    is_news
                });
            }
        };
        (view, keep)
    }

    /// The kubelet's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder that holds it, and ours.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was seen last.
    pub fn look(&self) -> Sighting {
        self.seen.borrow().sighting
    }

    /// Waits until something may have changed in the folder. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The daemon is about to end.
            std::future::pending().await
        }
    }
}
