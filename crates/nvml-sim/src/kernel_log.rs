//! The kernel's log of a node, as far as its driver writes there: a line for each XID, in the form in which programs
//! read records from /dev/kmsg. It knows that form, not when an XID is reported.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::events::EventRecord;
use crate::node::Node;

/// The file, in the state folder.
pub const FILE: &str = "kmsg";

/// Priority of an error of the kernel (assumed).
const PRIORITY: u32 = 3;

/// Appends the records of events.
pub fn append(dir: &Path, node: &Node, events: &[EventRecord]) -> io::Result<()> {
    let text: String = events.iter().filter_map(|event| record(node, event)).collect();
    if text.is_empty() {
        return Ok(());
    }
    File::options().create(true).append(true).open(dir.join(FILE))?.write_all(text.as_bytes())
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,-;TEXT`, and the text as the driver writes it.
fn record(node: &Node, event: &EventRecord) -> Option<String> {
    let gpu = node.find(&event.gpu)?;
    let (pci, xid) = (gpu.pci, event.data);
    let instance = event.gpu_instance.map(|id| format!(" GPU-I:{id:02}")).unwrap_or_default();
    let said = if xid == 79 { ", GPU has fallen off the bus." } else { "" };
    Some(format!(
        "{PRIORITY},{},{},-;NVRM: Xid (PCI:{:04x}:{:02x}:{:02x}{instance}): {xid}, pid='<unknown>', name=<unknown>{said}\n",
        event.sequence, event.time_us, pci.domain, pci.bus, pci.device
    ))
}
