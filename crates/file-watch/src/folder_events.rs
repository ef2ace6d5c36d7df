//! What inotify tells of one folder: of names that come and go in it, and of the folder itself.

use std::io;
use std::path::Path;

use inotify::{EventMask, EventStream, Inotify, WatchMask};

/// Room for the events of one read: whoever is watched makes a handful at a time.
const EVENT_BUFFER: usize = 4096;

/// What tells that the watch on the folder is worth nothing any more, whatever is now at its path.
pub const FOLDER_GONE: EventMask =
    EventMask::DELETE_SELF.union(EventMask::MOVE_SELF).union(EventMask::UNMOUNT).union(EventMask::IGNORED);

/// The events of `folder`, and those of `more` on its files. Must be called inside a runtime.
///
/// # Errors
/// When it is no folder, or the system has no watch to give: its limits are per user.
pub fn folder_events(folder: &Path, more: WatchMask) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    let names = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM;
    let folder_itself = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
    inotify.watches().add(folder, names | folder_itself | more)?;
    inotify.into_event_stream(vec![0; EVENT_BUFFER])
}
