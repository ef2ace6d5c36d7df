//! `nvml-sim show`: the node for people and for programs. It reads; it changes nothing.

mod tables;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::fault::{describe, describe_incident};
use super::process;
use crate::clock::Clock;
use crate::clocks::ClockKind;
use crate::events::{EventKind, EventRecord};
use crate::node::Gpu;
use crate::overrides::RecoveryAction;
use crate::snapshot::{GpuView, Snapshot};
use crate::state::StateFolder;

/// Events shown to people.
const EVENTS_SHOWN: usize = 5;

/// For people; with the names by which GPUs are known if asked.
pub fn table(folder: &StateFolder, names: bool, out: &mut impl Write) -> Result<()> {
    let snapshot = Snapshot { node: Arc::new(folder.node()?), state: folder.state()? };
    let Snapshot { node, state } = &snapshot;
    writeln!(out, "{}: {}", folder.dir().display(), node.machine)?;
    writeln!(
        out,
        "driver {} (load {}), CUDA {}.{}, generation {}, clock {}\n",
        node.driver_version,
        state.driver.number + 1,
        node.cuda_version / 1000,
        node.cuda_version % 1000 / 10,
        state.generation,
        clock(&state.clock)
    )?;
    tables::gpus(&snapshot, out)?;
    tables::mig_devices(&snapshot, out)?;
    if !state.processes.is_empty() {
        writeln!(out)?;
        process::table(state.processes.iter(), node, out)?;
    }
    if names {
        writeln!(out)?;
        tables::names(&snapshot, out)?;
    }
    if let Some(latency) = &state.latency {
        writeln!(out, "\nlatency: {} per call", latency.default)?;
        for (function, delay) in &latency.functions {
            writeln!(out, "  {function}: {delay}")?;
        }
        for (uuid, own) in &latency.gpus {
            let gpu = node.find(uuid).map_or_else(|| uuid.clone(), |gpu| gpu.index.to_string());
            if let Some(delay) = &own.default {
                writeln!(out, "  GPU {gpu}: {delay}")?;
            }
            for (function, delay) in &own.functions {
                writeln!(out, "  GPU {gpu}, {function}: {delay}")?;
            }
        }
    }
    if !state.faults.is_empty() || !state.incidents.is_empty() {
        writeln!(out, "\nfaults:")?;
        for fault in &state.faults {
            writeln!(out, "  {}", describe(fault, node))?;
        }
        for incident in &state.incidents {
            writeln!(out, "  {}", describe_incident(incident, node))?;
        }
    }
    if !state.events.records.is_empty() {
        writeln!(out, "\nlast events:")?;
        for event in state.events.records.iter().rev().take(EVENTS_SHOWN).rev() {
            let gpu = node.find(&event.gpu).map_or("?".to_owned(), |gpu| gpu.index.to_string());
            let (number, time) = (event.sequence, time(event.time_us));
            writeln!(out, "  {number:>4}  {time}  GPU {gpu}  {}", event_text(event))?;
        }
    }
    Ok(())
}

/// For programs.
pub fn json(folder: &StateFolder, out: &mut impl Write) -> Result<()> {
    let snapshot = Snapshot { node: Arc::new(folder.node()?), state: folder.state()? };
    let Snapshot { node, state } = &snapshot;
    let gpus: Vec<_> = node.gpus.iter().map(|gpu| gpu_json(gpu, &snapshot)).collect();
    let whole = json!({
        "machine": node.machine,
        "driverVersion": node.driver_version,
        "nvmlVersion": node.nvml_version,
        "cudaVersion": node.cuda_version,
        "gpus": gpus,
        "state": &**state,
    });
    serde_json::to_writer_pretty(&mut *out, &whole)?;
    writeln!(out)?;
    Ok(())
}

fn gpu_json(gpu: &Gpu, snapshot: &Snapshot) -> Value {
    let Snapshot { node, state } = snapshot;
    json!({
        "index": gpu.index,
        "uuid": gpu.uuid,
        "serial": gpu.serial,
        "minor": gpu.minor,
        "pci": gpu.pci,
        "numa": gpu.numa,
        "cpus": gpu.numa.and_then(|numa| node.cpus.get(&numa)).map(|list| list.as_str()),
        "links": gpu.links.len(),
        "draining": state.drains.draining.contains(&gpu.uuid),
        "removed": state.drains.is_removed(&gpu.uuid),
        "lost": state.lost.contains(&gpu.uuid),
        "readings": snapshot.view(gpu).ok().map(readings_json),
        "model": gpu.model,
        "modes": state.modes.get(&gpu.uuid),
        "set": state.overrides.get(&gpu.uuid),
    })
}

/// Readings of a GPU that answers; units are in the names.
fn readings_json(view: GpuView<'_>) -> Value {
    let (gpu, memory) = view.utilization();
    json!({
        "temperatureCelsius": view.temperature(),
        "performanceState": view.performance_state(),
        "powerMilliwatts": view.power_average_milliwatts(),
        "powerLimitMilliwatts": view.power_limit_milliwatts(),
        "energyMillijoules": view.energy_millijoules(),
        "memoryUsedBytes": view.memory_used().0,
        "utilizationGpuPercent": gpu,
        "utilizationMemoryPercent": memory,
        "clockSmMhz": view.clock_mhz(ClockKind::Sm),
        "clockMemoryMhz": view.clock_mhz(ClockKind::Memory),
    })
}

/// The clock in words.
pub fn clock(clock: &Clock) -> String {
    let how = match clock {
        Clock::Real => "real".to_owned(),
        Clock::Ahead(by) => format!("ahead by {:?}", Duration::from_micros(*by)),
        Clock::Frozen(_) => "frozen".to_owned(),
    };
    format!("{how}, {}", time(clock.now_us()))
}

/// A time in the form of RFC 3339, UTC.
pub fn time(us: u64) -> String {
    let shown = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    shown.map_or_else(|| format!("{us} us"), |time| format!("{time:.3}"))
}

fn event_text(event: &EventRecord) -> String {
    match event.kind {
        EventKind::Xid => format!("XID {}", event.data),
        EventKind::MigConfig => "MIG mode or instances".to_owned(),
        EventKind::RecoveryAction => {
            let action = RecoveryAction::from_number(event.data);
            format!("recovery action: {}", action.map_or("unknown", RecoveryAction::text))
        }
    }
}

/// Rows in aligned columns.
pub fn columns<const N: usize>(rows: &[[String; N]], out: &mut impl Write) -> std::io::Result<()> {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
