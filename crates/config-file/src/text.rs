//! The text of a config file, bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

/// Far more than any config; what is larger is another file.
const MAX_BYTES: u64 = 1 << 20;

/// Text that cannot be had.
#[derive(Debug, Error)]
pub enum NoText {
    /// The system refuses.
    #[error("cannot read {name}")]
    Io {
        /// The file.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is too long.
    #[error("{name} is larger than {MAX_BYTES} bytes: that is no config")]
    TooLarge {
        /// The file.
        name: String,
    },
    /// It is no text.
    #[error("{name} is not UTF-8 text (at byte {at}): that is no config")]
    NotText {
        /// The file.
        name: String,
        /// Where it is not.
        at: usize,
    },
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read, or cannot be a config.
pub fn of_file(path: &Path) -> Result<String, NoText> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => of(&name, file),
        Err(source) => Err(NoText::Io { name, source }),
    }
}

/// The text of anything; `name` is for messages.
///
/// # Errors
/// As of [`of_file`].
pub fn of(name: &str, source: impl Read) -> Result<String, NoText> {
    let mut bytes = Vec::new();
    let name = name.to_owned();
    if let Err(source) = source.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return Err(NoText::Io { name, source });
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(NoText::TooLarge { name });
    }
    String::from_utf8(bytes).map_err(|error| NoText::NotText { name, at: error.utf8_error().valid_up_to() })
}
