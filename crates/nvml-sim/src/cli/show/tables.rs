//! The tables of `nvml-sim show`: GPUs, MIG devices, and what people call them by. It knows readings and words; a reading
//! that a GPU does not give is a dash.

use std::io::{self, Write};

use super::columns;
use crate::bytes::Bytes;
use crate::damage::{CounterSpan, ErrorKind};
use crate::events::{EventKind, EventRecord};
use crate::loss::Loss;
use crate::modes::Modes;
use crate::node::Gpu;
use crate::snapshot::{GpuView, Snapshot};
use crate::state::State;

const NONE: &str = "-";

/// How the GPUs are: what is read most, and what was done to each.
pub fn gpus(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    const HEAD: [&str; 11] =
        ["GPU", "NAME", "PCI", "TEMP", "PERF", "POWER", "MEMORY", "UTIL", "ECC", "MIG", "STATE"];
    let mut rows = vec![HEAD.map(str::to_owned)];
    for gpu in &snapshot.node.gpus {
        let [temperature, state, power, memory, utilization, ecc, mig] = match snapshot.view(gpu) {
            Ok(view) => readings(view),
            Err(_) => [NONE; 7].map(str::to_owned),
        };
        rows.push([
            gpu.index.to_string(),
            gpu.model.name.clone(),
            gpu.pci.to_string(),
            temperature,
            state,
            power,
            memory,
            utilization,
            ecc,
            mig,
            condition(gpu, &snapshot.state),
        ]);
    }
    columns(&rows, out)
}

fn readings(view: GpuView<'_>) -> [String; 7] {
    let mig = match view.mig_mode() {
        Ok((true, _)) => "on",
        Ok((false, _)) => "off",
        Err(_) => NONE,
    };
    let errors = view.ecc_errors(ErrorKind::Uncorrected, CounterSpan::Volatile, None);
    // As documented, utilisation is not told of a GPU with MIG on.
    let utilization =
        if view.is_mig_enabled() { NONE.to_owned() } else { format!("{}%", view.utilization().0) };
    [
        format!("{} C", view.temperature()),
        format!("P{}", view.performance_state()),
        format!("{} / {} W", view.power_average_milliwatts() / 1000, view.power_limit_milliwatts() / 1000),
        mebibytes(view.memory_used(), view.gpu.model.memory),
        utilization,
        // Uncorrectable errors since the driver was loaded; a dash where ECC is off.
        errors.map_or(NONE.to_owned(), |count| count.to_string()),
        mig.to_owned(),
    ]
}

fn mebibytes(used: Bytes, total: Bytes) -> String {
    format!("{} / {} MiB", used.0 >> 20, total.0 >> 20)
}

/// By what each GPU is known.
pub fn names(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let mut rows = vec![["GPU", "UUID", "SERIAL", "MINOR", "NUMA"].map(str::to_owned)];
    rows.extend(snapshot.node.gpus.iter().map(|gpu| {
        [
            gpu.index.to_string(),
            gpu.uuid.clone(),
            gpu.serial.clone(),
            gpu.minor.to_string(),
            gpu.numa.map_or(NONE.to_owned(), |numa| numa.to_string()),
        ]
    }));
    columns(&rows, out)
}

/// The MIG devices of GPUs that answer; nothing where there are none.
pub fn mig_devices(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let mut rows =
        vec![["GPU", "GI", "CI", "DEV", "PROFILE", "MEMORY", "SM", "CE DEC ENC JPG OFA"].map(str::to_owned)];
    let views = snapshot.node.gpus.iter().filter_map(|gpu| snapshot.view(gpu).ok());
    for device in views.flat_map(GpuView::mig_devices) {
        let (total, _, used) = crate::mig::DeviceView::Mig(device).memory();
        let engines = device.of.profile.engines;
        rows.push([
            device.of.gpu.gpu.index.to_string(),
            device.of.id.to_string(),
            device.id.to_string(),
            device.made.index.to_string(),
            device.profile_name(),
            mebibytes(used, total),
            device.profile.sms.to_string(),
            format!(
                "{:>2} {:>3} {:>3} {:>3} {:>3}",
                engines.copy, engines.decode, engines.encode, engines.jpeg, engines.ofa
            ),
        ]);
    }
    if rows.len() == 1 {
        return Ok(());
    }
    writeln!(out)?;
    columns(&rows, out)
}

/// What was done to a GPU.
fn condition(gpu: &Gpu, state: &State) -> String {
    let mut words = Vec::new();
    if state.drains.is_removed(&gpu.uuid) {
        words.push("removed".to_owned());
    } else if state.drains.draining.contains(&gpu.uuid) {
        words.push("draining".to_owned());
    }
    match state.lost.how(&gpu.uuid) {
        Some(Loss::Lost) => words.push("lost".to_owned()),
        Some(Loss::OffBus) => words.push("off the bus".to_owned()),
        None => {}
    }
    let is_xid = |event: &&EventRecord| event.gpu == gpu.uuid && event.kind == EventKind::Xid;
    if let Some(xid) = state.events.records.iter().rev().find(is_xid) {
        words.push(format!("XID {}", xid.data));
    }
    if let Some(action) = state.recovery.get(&gpu.uuid) {
        words.push(action.text().to_owned());
    }
    if let Some(down) = state.links.of(&gpu.uuid) {
        words.push(format!("{} NVLinks down", down.len()));
    }
    if state.overrides.contains_key(&gpu.uuid) {
        words.push("readings set".to_owned());
    }
    if state.modes.get(&gpu.uuid).is_some_and(|modes| *modes != Modes::initial()) {
        words.push("modes set".to_owned());
    }
    if let Some(mig) = state.mig.gpus.get(&gpu.uuid) {
        let instances = mig.instances.len();
        if mig.pending != mig.enabled {
            words.push(format!("MIG {} pending", if mig.pending { "on" } else { "off" }));
        }
        words.extend((instances > 0).then(|| format!("{instances} GPU instances")));
    }
    match state.processes.of(&gpu.uuid).count() {
        0 => {}
        1 => words.push("1 process".to_owned()),
        count => words.push(format!("{count} processes")),
    }
    if words.is_empty() { "ok".to_owned() } else { words.join(", ") }
}
