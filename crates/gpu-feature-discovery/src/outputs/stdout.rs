//! Standard output: the labels, each time that they are others.

use std::io;
use std::sync::Arc;

use tokio::sync::watch::Receiver;

use super::in_form;
use crate::args::Format;
use crate::discovery::Shown;
use crate::labels::Labels;

/// Prints labels.
///
/// # Errors
/// When they cannot be written.
pub fn print(labels: &Labels, format: Format) -> io::Result<()> {
    daemon::stdout::write(in_form(labels, format).as_bytes())
}

/// Prints them for as long as anybody shows any.
///
/// # Errors
/// When they cannot be written.
pub async fn follow(mut shown: Receiver<Option<Arc<Shown>>>, format: Format) -> io::Result<()> {
    let mut last = None;
    loop {
        let newest = shown.borrow_and_update().clone();
        if let Some(newest) = newest
            && last.as_ref() != Some(&newest.labels)
        {
            print(&newest.labels, format)?;
            last = Some(newest.labels.clone());
        }
        if shown.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
