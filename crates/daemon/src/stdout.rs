//! Standard output, as the subcommands use it.

use std::io::{self, Write};

/// Writes `text`. A reader that closes early, as `head` does, is no failure.
///
/// # Errors
/// When it cannot be written.
pub fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
