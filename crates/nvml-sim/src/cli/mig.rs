//! `nvml-sim mig`: modes, instances and profiles for people. It knows words and tables; the rules are the engine's.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::arguments::Output;
use super::show::columns;
use crate::code::Code;
use crate::control::ControlError;
use crate::mig::{self, ComputeInstanceProfile, GpuInstanceProfile};
use crate::node::Gpu;
use crate::snapshot::{GpuView, Snapshot};
use crate::state::StateFolder;

/// What to do with MIG.
#[derive(Debug, Subcommand)]
pub enum MigCommand {
    /// List GPU instances, compute instances and MIG devices.
    List {
        /// Only this GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: Option<String>,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// List the profiles of a GPU, with their places and how many more can be made.
    Profiles {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Switch MIG of a GPU on or off. Before Hopper it stays pending until `nvml-sim reset`.
    Mode {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// The mode.
        mode: Mode,
    },
    /// Make GPU instances, each with one compute instance that takes it all; all of them or none.
    Create {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// Make compute instances in this GPU instance.
        #[arg(long, value_name = "ID")]
        gi: Option<u32>,
        /// Make no compute instances in the GPU instances.
        #[arg(long, conflicts_with = "gi")]
        no_compute: bool,
        /// What: a profile such as 3g.40gb or its id; with --gi one such as 1c or its id. With @START at that place.
        #[arg(required = true, value_name = "PROFILE[@START]")]
        profiles: Vec<String>,
    },
    /// End all instances of a GPU, one GPU instance with what is in it, or one compute instance.
    Destroy {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// The GPU instance.
        #[arg(long, value_name = "ID")]
        gi: Option<u32>,
        /// The compute instance.
        #[arg(long, value_name = "ID", requires = "gi")]
        ci: Option<u32>,
    },
}

/// A MIG mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// On.
    On,
    /// Off.
    Off,
}

/// Carries out `nvml-sim mig`.
pub fn run(folder: &StateFolder, command: MigCommand, out: &mut impl Write) -> Result<()> {
    match command {
        MigCommand::List { gpu, output } => list(folder, gpu.as_deref(), output, out)?,
        MigCommand::Profiles { gpu, output } => profiles(folder, &gpu, output, out)?,
        MigCommand::Mode { gpu, mode } => set_mode(folder, &gpu, mode, out)?,
        MigCommand::Create { gpu, gi: None, no_compute, profiles } => {
            create(folder, &gpu, no_compute, &profiles, out)?;
        }
        MigCommand::Create { gpu, gi: Some(gi), profiles, .. } => {
            create_compute(folder, &gpu, gi, &profiles, out)?;
        }
        MigCommand::Destroy { gpu, gi, ci } => {
            let ended = folder.change_mig(&gpu, |mig, gpu| {
                let there = mig.gpus.get(&gpu.uuid).map(|mig| mig.instances.clone()).unwrap_or_default();
                let mut ended = 0;
                for (id, made) in there.iter().filter(|(id, _)| gi.is_none_or(|gi| gi == **id)) {
                    for compute in made.compute.keys().filter(|id| ci.is_none_or(|ci| ci == **id)) {
                        mig.destroy_compute(gpu, *id, *compute)?;
                        ended += 1;
                    }
                    if ci.is_none() {
                        mig.destroy(gpu, *id)?;
                        ended += 1;
                    }
                }
                if ended == 0 && gi.is_some() { Err(Code::NOT_FOUND) } else { Ok(ended) }
            })?;
            writeln!(out, "ended {ended}")?;
        }
    }
    Ok(())
}

fn set_mode(folder: &StateFolder, gpu: &str, mode: Mode, out: &mut impl Write) -> Result<()> {
    let index = folder.gpu(gpu)?.index;
    let status = folder.set_mig_mode(gpu, mode == Mode::On)?;
    let word = if mode == Mode::On { "on" } else { "off" };
    match status {
        Ok(()) => writeln!(out, "GPU {index}: MIG is {word}")?,
        Err(code @ Code::IN_USE) => writeln!(
            out,
            "GPU {index}: MIG {word} is pending ({code}); end the instances and processes on it, then \
             `nvml-sim reset --gpu {index}` makes it current"
        )?,
        Err(code) => writeln!(
            out,
            "GPU {index}: MIG {word} is pending ({code}); `nvml-sim reset --gpu {index}` makes it current"
        )?,
    }
    Ok(())
}

fn create(
    folder: &StateFolder,
    gpu: &str,
    no_compute: bool,
    words: &[String],
    out: &mut impl Write,
) -> Result<()> {
    let (_, declared) = find(folder, gpu)?;
    let table = &declared.model.mig;
    let mut wanted: Vec<_> = words.iter().map(|word| mig::wanted(table, word)).collect::<Result<_, _>>()?;
    if no_compute {
        wanted.iter_mut().for_each(|(_, wanted)| wanted.compute = Some(Vec::new()));
    }
    let made = folder.change_mig(gpu, |mig, gpu| {
        wanted.iter().map(|(_, wanted)| mig.create_wanted(gpu, wanted)).collect::<Result<Vec<u32>, Code>>()
    })?;
    for (id, (profile, _)) in made.iter().zip(&wanted) {
        writeln!(out, "GPU {}: GPU instance {id} of {}", declared.index, profile.name)?;
    }
    Ok(())
}

fn create_compute(
    folder: &StateFolder,
    gpu: &str,
    gi: u32,
    words: &[String],
    out: &mut impl Write,
) -> Result<()> {
    let (snapshot, declared) = find(folder, gpu)?;
    let view = GpuView { snapshot: &snapshot, gpu: &declared };
    let instance = view.gpu_instances().find(|instance| instance.id == gi);
    let refused = |code| ControlError::Mig { gpu: declared.index, code };
    let instance = instance.ok_or_else(|| refused(Code::NOT_FOUND))?;
    let table = &declared.model.mig;
    let wanted = words.iter().map(|word| mig::compute_wanted(table, instance.profile, word));
    let wanted: Vec<_> = wanted.collect::<Result<_, _>>()?;
    let made = folder.change_mig(gpu, |mig, gpu| {
        let mut one = |(profile, start): &(&ComputeInstanceProfile, Option<u32>)| {
            mig.create_compute(gpu, gi, profile.id, start.map(|start| (start, profile.slices)))
        };
        wanted.iter().map(&mut one).collect::<Result<Vec<u32>, Code>>()
    })?;
    for (id, (profile, _)) in made.iter().zip(&wanted) {
        let name = profile.device_name(instance.profile);
        writeln!(out, "GPU {}: compute instance {id} of {name} in GPU instance {gi}", declared.index)?;
    }
    Ok(())
}

fn find(folder: &StateFolder, gpu: &str) -> Result<(Snapshot, Gpu)> {
    let declared = folder.gpu(gpu)?;
    Ok((Snapshot { node: Arc::new(folder.node()?), state: folder.state()? }, declared))
}

fn list(folder: &StateFolder, only: Option<&str>, output: Output, out: &mut impl Write) -> Result<()> {
    let (node, state) = (folder.node()?, folder.state()?);
    let gpus = match only {
        Some(gpu) => vec![find(folder, gpu)?.1],
        None => node.gpus.iter().filter(|gpu| gpu.model.is_mig_capable()).cloned().collect(),
    };
    let snapshot = Snapshot { node: Arc::new(node), state };
    let views = gpus.iter().map(|gpu| GpuView { snapshot: &snapshot, gpu });
    if output == Output::Json {
        let whole: Vec<Value> = views.map(gpu_json).collect();
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        return Ok(writeln!(out)?);
    }
    let mut rows = vec![["GPU", "MIG", "GI", "PLACE", "CI", "DEVICE", "PROFILE", "UUID"].map(str::to_owned)];
    for view in views {
        let index = view.gpu.index.to_string();
        let before = rows.len();
        for instance in view.gpu_instances() {
            let place = format!("{}:{}", instance.made.start, instance.profile.size);
            let row = |ci: String, device: String, profile: String, uuid: String| {
                [index.clone(), mode(view), instance.id.to_string(), place.clone(), ci, device, profile, uuid]
            };
            let none = || "-".to_owned();
            let empty = instance.made.compute.is_empty();
            rows.extend(empty.then(|| row(none(), none(), instance.profile.name.clone(), none())));
            rows.extend(instance.compute_instances().map(|made| {
                row(
                    made.id.to_string(),
                    made.made.index.to_string(),
                    made.profile_name(),
                    made.made.uuid.clone(),
                )
            }));
        }
        if rows.len() == before {
            let [gi, place, ci, device, profile, uuid] = ["-"; 6].map(str::to_owned);
            rows.push([index, mode(view), gi, place, ci, device, profile, uuid]);
        }
    }
    Ok(columns(&rows, out)?)
}

/// The mode in words, the pending one where it is another.
fn mode(view: GpuView<'_>) -> String {
    match view.mig_mode() {
        Ok((true, true)) => "on",
        Ok((false, false)) => "off",
        Ok((true, false)) => "on, off pending",
        Ok((false, true)) => "off, on pending",
        Err(_) => "unable",
    }
    .to_owned()
}

fn gpu_json(view: GpuView<'_>) -> Value {
    let instances: Vec<Value> = view
        .gpu_instances()
        .map(|instance| {
            let compute: Vec<Value> = instance
                .compute_instances()
                .map(|made| {
                    json!({
                        "id": made.id,
                        "profile": made.profile_name(),
                        "profileId": made.profile.id,
                        "start": made.made.start,
                        "size": made.profile.slices,
                        "device": made.made.index,
                        "uuid": made.made.uuid,
                    })
                })
                .collect();
            json!({
                "id": instance.id,
                "profile": instance.profile.name,
                "profileId": instance.profile.id,
                "start": instance.made.start,
                "size": instance.profile.size,
                "computeInstances": compute,
            })
        })
        .collect();
    let mode = view.mig_mode().ok();
    json!({
        "gpu": view.gpu.index,
        "uuid": view.gpu.uuid,
        "current": mode.map(|(current, _)| current),
        "pending": mode.map(|(_, pending)| pending),
        "gpuInstances": instances,
    })
}

fn profiles(folder: &StateFolder, gpu: &str, output: Output, out: &mut impl Write) -> Result<()> {
    let (snapshot, declared) = find(folder, gpu)?;
    let view = GpuView { snapshot: &snapshot, gpu: &declared };
    let table = view.mig_table().map_err(|code| ControlError::Mig { gpu: declared.index, code })?;
    let left =
        |profile: &GpuInstanceProfile| view.mig().ok().map(|(table, mig)| mig.remaining(table, profile));
    if output == Output::Json {
        let whole: Vec<Value> = table
            .gpu_instances
            .iter()
            .map(|profile| {
                let compute: Vec<_> = table.compute_of(profile).collect();
                json!({ "profile": profile, "remaining": left(profile), "computeInstances": compute })
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        return Ok(writeln!(out)?);
    }
    let mut rows = vec![["PROFILE", "ID", "LEFT", "MEMORY", "SM", "PLACES", "COMPUTE"].map(str::to_owned)];
    rows.extend(table.gpu_instances.iter().map(|profile| {
        let starts: Vec<String> = profile.starts.iter().map(u32::to_string).collect();
        let named =
            |compute: &ComputeInstanceProfile| format!("{} ({})", compute.device_name(profile), compute.id);
        let compute: Vec<String> = table.compute_of(profile).map(named).collect();
        [
            profile.name.clone(),
            profile.id.to_string(),
            left(profile).map_or(format!("-/{}", profile.count), |left| format!("{left}/{}", profile.count)),
            profile.memory.to_string(),
            profile.sms.to_string(),
            format!("{{{}}}:{}", starts.join(","), profile.size),
            compute.join(", "),
        ]
    }));
    Ok(columns(&rows, out)?)
}
