//! What outlives the process, in files of the state folder: the labels of before, so that a driver that is away when the
//! program starts costs none; and which report of the device plugin counts no more, so that it does not for the next process.

use std::collections::BTreeMap;

use node_host::{LocalPath, atomic};

use crate::labels::{LabelKey, LabelValue, Labels};

/// Name of the file.
pub const FILE: &str = "labels.json";

/// Name of the file with the name of the report that counts no more.
pub const SILENCED: &str = "silenced-report";

/// Readable by people who want to know.
const MODE: u32 = 0o644;

/// The labels; nothing where there are none that can be read.
pub fn read(path: &LocalPath) -> Option<Labels> {
    let text = config_file::text::of_file(path.as_path()).ok()?;
    let kept: BTreeMap<String, String> = serde_json::from_str(&text).ok()?;
    let label = |(key, value): (&String, &String)| Some((LabelKey::new(key)?, LabelValue::text(value)));
    Some(kept.iter().filter_map(label).collect())
}

/// Writes them.
///
/// # Errors
/// When they cannot be written, in words.
pub fn write(path: &LocalPath, labels: &Labels) -> Result<(), String> {
    let text = crate::outputs::json(labels);
    atomic::write(path, text.as_bytes(), MODE).map_err(|error| daemon::error_chain(&error).to_string())
}

/// The name of the report that counts no more; nothing where none is kept.
pub fn silenced(path: &LocalPath) -> Option<String> {
    config_file::text::of_file(path.as_path()).ok()
}

/// Keeps it, unless it is kept already; without one none is kept any more.
///
/// # Errors
/// When it cannot be written or removed, in words.
pub fn silence(path: &LocalPath, report: Option<&str>) -> Result<(), String> {
    if silenced(path).as_deref() == report {
        return Ok(());
    }
    let Some(report) = report else {
        return std::fs::remove_file(path.as_path())
            .map_err(|error| format!("cannot remove {path}: {error}"));
    };
    atomic::make_folder_of(path)?;
    atomic::write(path, report.as_bytes(), MODE).map_err(|error| daemon::error_chain(&error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silenced_report_is_kept_until_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = LocalPath::new(dir.path().join("state").join(SILENCED));
        for report in [None, Some("one"), Some("two"), None] {
            silence(&path, report).unwrap();
            assert_eq!(silenced(&path).as_deref(), report);
        }
    }
}
