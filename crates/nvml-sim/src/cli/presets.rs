//! `nvml-sim presets`: what comes with the simulator, as tables, or one preset's text. It reads presets only.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::arguments::UsageError;
use super::show::columns;
use crate::model::{Model, ModelLayer};
use crate::node::{Gpu, Node, NodeError};
use crate::presets::{self, Preset};
use crate::schema::node_file_schema;
use crate::topology::Link;
use crate::yaml::{self, YamlError};

/// The preset of a name, or which there are.
pub fn find(kind: &'static str, presets: &'static [Preset], name: &str) -> Result<Preset, UsageError> {
    presets::find(presets, name).ok_or_else(|| UsageError::NoPreset {
        kind,
        name: name.to_owned(),
        known: presets::names(presets),
    })
}

/// Prints one preset, or lists all.
pub fn run(node: Option<&str>, gpu: Option<&str>, out: &mut impl Write) -> Result<()> {
    match (node, gpu) {
        (Some(name), _) => write!(out, "{}", find("node", presets::NODES, name)?.yaml)?,
        (None, Some(name)) => write!(out, "{}", find("GPU", presets::GPUS, name)?.yaml)?,
        (None, None) => {
            let mut rows = vec![["NODE", "GPUS", "NVLINK", "SOCKETS"].map(str::to_owned)];
            for preset in presets::NODES {
                rows.push(node_row(preset)?);
            }
            columns(&rows, out)?;
            writeln!(out)?;
            let titles = ["GPU", "MEMORY", "CC", "MIG", "NVLINK", "POWER", "NAME"];
            let mut rows = vec![titles.map(str::to_owned)];
            for preset in presets::GPUS {
                rows.push(gpu_row(preset)?);
            }
            columns(&rows, out)?;
        }
    }
    Ok(())
}

/// Prints the schema of node files.
pub fn schema(out: &mut impl Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, &node_file_schema())?;
    Ok(writeln!(out)?)
}

fn node_row(preset: &Preset) -> Result<[String; 4], NodeError> {
    let node = Node::parse(Path::new(preset.name), preset.yaml)?;
    let mut models: Vec<(&str, usize)> = Vec::new();
    for gpu in &node.gpus {
        match models.last_mut().filter(|(name, _)| *name == gpu.model.name) {
            Some((_, count)) => *count += 1,
            None => models.push((&gpu.model.name, 1)),
        }
    }
    let models: Vec<_> = models.iter().map(|(name, count)| format!("{count}x {name}")).collect();
    let sockets = node.gpus.iter().map(|gpu| gpu.pcie.socket() + 1).max().unwrap_or(0);
    Ok([preset.name.to_owned(), models.join(", "), node_links(&node), sockets.to_string()])
}

fn node_links(node: &Node) -> String {
    let links = || node.gpus.iter().flat_map(|gpu| &gpu.links);
    let is_mesh = |gpu: &Gpu| {
        let mut peers = gpu.links.clone();
        peers.dedup();
        peers.len() > 1
    };
    let words = match links().next() {
        None => "-",
        Some(Link::Fabric) => "through a fabric",
        Some(Link::Switch(_)) => return format!("through {} NVSwitches", node.nvswitches.len()),
        Some(Link::Gpu(_)) if node.gpus.iter().any(is_mesh) => "a mesh of GPUs",
        Some(Link::Gpu(_)) => "pairs of GPUs",
    };
    words.to_owned()
}

fn gpu_row(preset: &Preset) -> Result<[String; 7], NodeError> {
    let model = model(preset)?;
    let mig = match model.mig_devices_max {
        0 => "-".to_owned(),
        most => format!("up to {most}"),
    };
    let links = match model.nvlinks {
        0 => "-".to_owned(),
        links => format!("{links}x {}", link_version(model.nvlink_version)),
    };
    Ok([
        preset.name.to_owned(),
        model.memory.to_string(),
        model.compute_capability.to_string(),
        mig,
        links,
        format!("{} W", model.power_limit_watts),
        model.name,
    ])
}

fn model(preset: &Preset) -> Result<Model, NodeError> {
    let file = Path::new(preset.name);
    let layer: ModelLayer = yaml::parse(file, preset.yaml)?;
    layer.complete().map_err(|key| YamlError::at(file, key.replace('_', "-"), "the preset does not give it"))
}

/// NVLink's version as people call it, from NVML's number.
fn link_version(number: u32) -> &'static str {
    match number {
        1 => "1.0",
        2 => "2.0",
        3 => "2.2",
        4 => "3.0",
        5 => "3.1",
        6 => "4.0",
        _ => "5.0",
    }
}
