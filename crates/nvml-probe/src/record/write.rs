//! A recording as the text of a node file. It knows YAML's forms, and decides nothing.

use std::fmt::Write;

use serde_json::Value;

use nvml_sim::Bytes;

use super::{Gpu, Process, Recording};

/// Keys that people read in hexadecimal.
const HEXADECIMAL: &[&str] = &["pci-device", "pci-subsystem", "pci-class"];

/// The text.
pub fn text(recording: &Recording) -> String {
    let mut text = String::from(
        "# Recorded by `nvml-probe record`. What NVML does not tell is as the GPU presets have it.\n",
    );
    // Writing to a String does not fail.
    let _ = node(recording, &mut text);
    text
}

fn node(recording: &Recording, out: &mut String) -> std::fmt::Result {
    for note in &recording.notes {
        writeln!(out, "# {note}.")?;
    }
    writeln!(out, "driver:\n  version: {}", recording.driver)?;
    if let Some(nvml) = &recording.nvml {
        writeln!(out, "  nvml: {nvml}")?;
    }
    writeln!(out, "  cuda: {}", quoted(&recording.cuda))?;
    if let Some(machine) = &recording.machine {
        writeln!(out, "machine: {}", quoted(machine))?;
    }
    writeln!(out, "seed: recorded")?;
    if !recording.cpus.is_empty() {
        writeln!(out, "cpus:")?;
        for (numa, cpus) in &recording.cpus {
            writeln!(out, "  {numa}: {}", quoted(cpus))?;
        }
    }
    if !recording.sockets.is_empty() {
        writeln!(out, "sockets: {:?}", recording.sockets)?;
    }
    if !recording.nvswitches.is_empty() {
        writeln!(out, "nvswitches: {:?}", recording.nvswitches)?;
        if let Some(device) = recording.nvswitch_device {
            writeln!(out, "nvswitch-device: 0x{device:04X}")?;
        }
    }
    if let Some(fabric) = &recording.fabric {
        writeln!(out, "fabric: {{cluster-uuid: {}, clique: {}}}", quoted(&fabric.cluster), fabric.clique)?;
    }
    writeln!(out, "gpus:{}", if recording.gpus.is_empty() { " []" } else { "" })?;
    recording.gpus.iter().try_for_each(|one| gpu(one, out))?;
    if !recording.processes.is_empty() {
        writeln!(out, "processes:")?;
    }
    recording.processes.iter().try_for_each(|one| process(one, out))
}

fn gpu(gpu: &Gpu, out: &mut String) -> std::fmt::Result {
    writeln!(out, "  - model: {}\n    pci: {}", gpu.model, quoted(&gpu.pci))?;
    if let Some(numa) = gpu.numa {
        writeln!(out, "    numa: {numa}")?;
    }
    if let Some(numa) = gpu.memory_numa {
        writeln!(out, "    memory-numa: {numa}")?;
    }
    if let Some([socket, bridge, group, switch]) = gpu.pcie {
        writeln!(out, "    pcie: {socket}/{bridge}/{group}/{switch}")?;
    }
    if let Some(minor) = gpu.minor {
        writeln!(out, "    minor: {minor}")?;
    }
    if let Some(uuid) = &gpu.uuid {
        writeln!(out, "    uuid: {uuid}")?;
    }
    if let Some(serial) = &gpu.serial {
        writeln!(out, "    serial: {}", quoted(serial))?;
    }
    if let Some(peers) = &gpu.peers {
        writeln!(out, "    nvlink-peers: {peers:?}")?;
    }
    if let Some(instances) = &gpu.mig_instances {
        writeln!(out, "    mig-instances: [{}]", instances.join(", "))?;
    }
    if gpu.overrides.is_empty() {
        return Ok(());
    }
    writeln!(out, "    overrides:")?;
    for (key, value) in &gpu.overrides {
        match value.as_u64() {
            Some(number) if HEXADECIMAL.contains(&key.as_str()) => {
                writeln!(out, "      {key}: 0x{number:04X}")?
            }
            // JSON is YAML.
            _ => writeln!(out, "      {key}: {value}")?,
        }
    }
    Ok(())
}

fn process(process: &Process, out: &mut String) -> std::fmt::Result {
    let Process { gpu, instance, pid, name, kind, memory_bytes, uses } = process;
    write!(out, "  - {{gpu: {gpu}")?;
    if let Some((gpu_instance, compute_instance)) = instance {
        write!(out, ", gi: {gpu_instance}, ci: {compute_instance}")?;
    }
    write!(out, ", pid: {pid}")?;
    if let Some(name) = name {
        write!(out, ", name: {}", quoted(name))?;
    }
    write!(out, ", kind: {kind}, memory: {}", Bytes(*memory_bytes))?;
    for (key, percent) in uses {
        write!(out, ", {key}: {percent}%")?;
    }
    writeln!(out, "}}")
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
