//! The kernel's log of a node, as far as its driver writes there: a line for each XID, in the form in which programs
//! read records from /dev/kmsg. It knows that form, not when an XID is reported.
//!
//! An event is first kept in the state and then written here. A link marks the time between: it says which lines may be
//! missing and where they belong, so that the next writer completes what a killed one began, each line once.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::events::{EventKind, EventRecord};
use crate::files::remove_if_there;
use crate::node::Node;
use crate::overrides::RecoveryAction;
use crate::recovery::XID_CHANGED;

/// The file, in the state folder.
pub const FILE: &str = "kmsg";
/// The mark beside it. A link, since a link is there with all its text or not at all.
const MARK: &str = "kmsg.behind";

/// Priority of an error of the kernel (assumed).
const PRIORITY: u32 = 3;

/// Lines that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Those of the events after this one.
    pub after: u64,
    /// Where the first of them belongs, in bytes.
    offset: u64,
}

/// Begins an empty log.
pub fn create(dir: &Path) -> io::Result<()> {
    remove_if_there(&dir.join(MARK))?;
    fs::write(dir.join(FILE), b"")
}

/// Marks the lines of the events after `after` as missing, before those events are kept.
pub fn mark(dir: &Path, after: u64) -> io::Result<()> {
    let offset = match fs::metadata(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        log => log?.len(),
    };
    symlink(format!("{after}@{offset}"), dir.join(MARK))
}

/// What is marked.
pub fn behind(dir: &Path) -> io::Result<Option<Behind>> {
    let text = match fs::read_link(dir.join(MARK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        link => link?,
    };
    let numbers = text.to_str().and_then(|text| text.split_once('@'));
    let mark = numbers.and_then(|(after, offset)| {
        Some(Behind { after: after.parse().ok()?, offset: offset.parse().ok()? })
    });
    let strange =
        || io::Error::new(io::ErrorKind::InvalidData, format!("{MARK} leads to {}", text.display()));
    mark.ok_or_else(strange).map(Some)
}

/// Writes the lines of the events that were marked, as far as they are not there yet, and takes the mark away.
pub fn complete<'a>(
    dir: &Path,
    behind: Behind,
    node: &Node,
    events: impl IntoIterator<Item = &'a EventRecord>,
) -> io::Result<()> {
    let lines: String = events.into_iter().filter_map(|event| record(node, event)).collect();
    if !lines.is_empty() {
        let mut file = File::options().create(true).read(true).append(true).open(dir.join(FILE))?;
        file.seek(SeekFrom::Start(behind.offset))?;
        let mut there = Vec::new();
        file.read_to_end(&mut there)?;
        file.write_all(missing(&lines, &String::from_utf8_lossy(&there)).as_bytes())?;
    }
    remove_if_there(&dir.join(MARK))
}

/// What has to be written so that all lines are there.
fn missing(lines: &str, there: &str) -> String {
    if let Some(rest) = lines.strip_prefix(there) {
        return rest.to_owned();
    }
    // Someone else wrote into the log as well.
    let rest = lines.split_inclusive('\n').filter(|line| !there.contains(line));
    let end = if there.ends_with('\n') { "" } else { "\n" };
    let rest: String = rest.collect();
    if rest.is_empty() { rest } else { format!("{end}{rest}") }
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,-;TEXT`, and the text as the driver writes it.
fn record(node: &Node, event: &EventRecord) -> Option<String> {
    let gpu = node.find(&event.gpu)?;
    let pci = gpu.pci;
    let instance = event.gpu_instance.map(|id| format!(" GPU-I:{id:02}")).unwrap_or_default();
    let said = match event.kind {
        EventKind::Xid => {
            let xid = event.data;
            let said = if xid == 79 { ", GPU has fallen off the bus." } else { "" };
            format!("{xid}, pid='<unknown>', name=<unknown>{said}")
        }
        EventKind::MigConfig => return None,
        EventKind::RecoveryAction => {
            let (from, to) = (event.before.unwrap_or(0), event.data);
            let text = |action| RecoveryAction::from_number(action).map_or("", RecoveryAction::text);
            let (was, is) = (text(from), text(to));
            format!("{XID_CHANGED}, GPU recovery action changed from {from:#x} ({was}) to {to:#x} ({is})")
        }
    };
    Some(format!(
        "{PRIORITY},{},{},-;NVRM: Xid (PCI:{:04x}:{:02x}:{:02x}{instance}): {said}\n",
        event.sequence, event.time_us, pci.domain, pci.bus, pci.device
    ))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn line_that_is_there_in_part_is_completed_and_a_whole_one_is_not_repeated() {
        let lines = "1 first\n2 second\n";
        for cut in 0..=lines.len() {
            let (there, rest) = lines.split_at(cut);
            assert_eq!(missing(lines, there), rest);
        }
        assert_eq!(missing(lines, "1 first\nfrom someone\n"), "2 second\n");
        assert_eq!(missing(lines, "1 first\nfrom some"), "\n2 second\n");
        assert_eq!(missing(lines, "1 first\n2 second\nfrom some"), "");
    }
}
