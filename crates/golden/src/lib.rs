//! Goldens: files that say what an output has to be, and one switch that writes them anew.
//!
//! For tests of any crate: it knows nothing of GPUs, nodes or daemons.

use std::path::Path;
use std::{env, fs};

/// The switch: with this variable set to `1` goldens are written, not compared.
const SWITCH: &str = "UPDATE_GOLDEN";

/// Compares `actual` with the file at `path`, or writes the file when `UPDATE_GOLDEN=1`.
///
/// # Panics
/// When they differ, with the first differing line; or the file cannot be read or written.
#[track_caller]
pub fn assert_golden(path: &Path, actual: &str) {
    let is_update = env::var_os(SWITCH).is_some_and(|value| value == "1");
    let done = if is_update { write(path, actual) } else { compare(path, actual) };
    assert!(done.is_ok(), "{}", done.err().unwrap_or_default());
}

fn write(path: &Path, actual: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, actual))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn compare(path: &Path, actual: &str) -> Result<(), String> {
    let name = path.display();
    let golden = fs::read_to_string(path)
        .map_err(|error| format!("{name} cannot be read: {error}; {SWITCH}=1 writes it"))?;
    match first_difference(&golden, actual) {
        None => Ok(()),
        Some(difference) => Err(format!(
            "{name} differs{difference}\n{SWITCH}=1 writes it anew; read the diff before you commit it"
        )),
    }
}

/// The first line that differs, with both sides; nothing when the texts are equal.
fn first_difference(golden: &str, actual: &str) -> Option<String> {
    let (mut left, mut right) = (golden.split('\n'), actual.split('\n'));
    for line in 1.. {
        let sides = (left.next(), right.next());
        if sides == (None, None) {
            break;
        }
        if sides.0 != sides.1 {
            let side = |text: Option<&str>| text.map_or("(ends)".to_owned(), |text| format!("{text:?}"));
            return Some(format!(
                " in line {line}\n  golden: {}\n  actual: {}",
                side(sides.0),
                side(sides.1)
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_that_differs_is_named_with_its_first_differing_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("goldens/list.txt");
        write(&path, "one\ntwo\n").unwrap();
        assert_eq!(compare(&path, "one\ntwo\n"), Ok(()));
        let error = compare(&path, "one\n2\n").unwrap_err();
        assert!(error.contains("differs in line 2\n  golden: \"two\"\n  actual: \"2\"\n"), "{error}");
        let error = compare(&path, "one\ntwo").unwrap_err();
        assert!(error.contains("differs in line 3\n  golden: \"\"\n  actual: (ends)\n"), "{error}");
    }

    #[test]
    fn golden_that_is_missing_says_how_to_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = compare(&dir.path().join("none"), "").unwrap_err();
        assert!(error.contains("UPDATE_GOLDEN=1 writes it"), "{error}");
    }
}
