//! Reading a file of which parts cannot be read, as after an update that was taken back: each part costs only itself.

use node_host::LocalPath;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ReadError, load, typed};

/// Parts that are mended in one file. One with more of them is none of ours.
const MOST_PARTS: usize = 256;

/// A file, and what in it this version cannot read.
#[derive(Debug)]
pub struct Mended<T> {
    /// The file, with something on the safe side in place of each part that cannot be read.
    pub file: T,
    /// Those parts: where they are, what stands there, and what would be right.
    pub unread: Vec<ReadError>,
}

/// Reads a value of schema `known`. `mend` puts something on the safe side where a place in the document (keys and positions)
/// cannot be read, or says None: then the file cannot be read at all.
pub(crate) fn read_mended<T: DeserializeOwned>(
    path: &LocalPath,
    known: u32,
    mend: impl Fn(&mut Value, &[&str]) -> Option<()>,
) -> Result<Mended<T>, ReadError> {
    let mut document = load(path, known)?;
    let mut unread = Vec::new();
    loop {
        let (place, error) = match typed(path, &document) {
            Ok(file) => return Ok(Mended { file, unread }),
            Err(wrong) => wrong,
        };
        let steps = place.steps();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        if unread.len() == MOST_PARTS || mend(&mut document, &steps).is_none() {
            return Err(error);
        }
        unread.push(error);
    }
}

/// Leaves out what stands in `collection` under a key or at a position.
pub(crate) fn remove(collection: &mut Value, at: &str) -> Option<()> {
    match collection {
        Value::Object(map) => map.remove(at).map(drop),
        Value::Array(list) => {
            let at = at.parse().ok().filter(|at| *at < list.len())?;
            list.remove(at);
            Some(())
        }
        _ => None,
    }
}
