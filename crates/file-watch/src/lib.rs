//! Tells when a file or a folder may have changed: inotify, and a look now and then beside it.
//!
//! It knows nothing of what files say, and reads none.

mod file;
mod folder_events;

pub use file::FileWatch;
pub use folder_events::{FOLDER_GONE, folder_events};
