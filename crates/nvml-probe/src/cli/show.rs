//! What people see. It knows forms, not where answers come from.

use std::io::{Result, Write};

use serde_json::Value;

use crate::bench::Figures;
use crate::call::code_of;
use crate::compare::Difference;
use crate::fuzz::Failure;
use crate::walk::{Answers, Walk};

/// All answers of a walk, below what they are of.
pub fn walk(walk: &Walk, only: Option<&str>, out: &mut impl Write) -> Result<()> {
    let walk = only_of(walk.clone(), only);
    section(if walk.simulated { "Node (simulated)" } else { "Node" }, &walk.system, out)?;
    for (index, gpu) in walk.gpus.iter().enumerate() {
        section(&format!("GPU {index}"), &gpu.answers, out)?;
        for (mig, answers) in &gpu.mig_devices {
            section(&format!("GPU {index} MIG device {mig}"), answers, out)?;
        }
        for (id, instance) in &gpu.gpu_instances {
            section(&format!("GPU {index} GPU instance {id}"), &instance.answers, out)?;
            for (compute, answers) in &instance.compute_instances {
                section(&format!("GPU {index} GPU instance {id} compute instance {compute}"), answers, out)?;
            }
        }
    }
    for trespass in &walk.trespasses {
        writeln!(out, "{trespass} wrote outside of the memory that it was given")?;
    }
    Ok(())
}

fn section(title: &str, answers: &Answers, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{title}")?;
    let width = answers.keys().map(String::len).max().unwrap_or(0);
    for (call, answer) in answers {
        match code_of(answer) {
            Some(code) => writeln!(out, "  {call:width$}  {code}")?,
            None => writeln!(out, "  {call:width$}  {answer}")?,
        }
    }
    Ok(())
}

/// A walk with only the functions whose name has a text.
pub fn only(walk: Walk, text: Option<&str>) -> Walk {
    only_of(walk, text)
}

fn only_of(mut walk: Walk, text: Option<&str>) -> Walk {
    let Some(text) = text.map(str::to_lowercase) else { return walk };
    let keep = |answers: &mut Answers| answers.retain(|call, _| call.to_lowercase().contains(&text));
    keep(&mut walk.system);
    for gpu in &mut walk.gpus {
        keep(&mut gpu.answers);
        gpu.mig_devices.values_mut().for_each(keep);
        for instance in gpu.gpu_instances.values_mut() {
            keep(&mut instance.answers);
            instance.compute_instances.values_mut().for_each(keep);
        }
    }
    walk
}

/// The figures of a measurement.
pub fn figures(figures: &Figures, out: &mut impl Write) -> Result<()> {
    writeln!(out, "first initialisation  {} us", figures.init_us)?;
    let (all, own) = (figures.pss_kib, figures.pss_anonymous_kib);
    writeln!(out, "memory                {all} KiB, {own} of them anonymous")?;
    for (name, rate) in &figures.calls_per_second {
        writeln!(out, "{name:36}  {rate} calls/s")?;
    }
    writeln!(out, "all in turn, {} threads  {} calls/s", figures.threads, figures.mixed_calls_per_second)
}

/// As much of a long answer as shows what it is.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What differs between two walks.
pub fn differences(differences: &[Difference], out: &mut impl Write) -> Result<()> {
    let say = |answer: &Option<Value>| match answer {
        None => "nothing".to_owned(),
        Some(answer) => code_of(answer).map_or_else(|| beginning(&answer.to_string()), str::to_owned),
    };
    for Difference { of, call, one, other } in differences {
        writeln!(out, "{of}: {call}: {} and {}", say(one), say(other))?;
    }
    Ok(())
}

/// A sequence that went wrong.
pub fn failure(failure: &Failure, out: &mut impl Write) -> Result<()> {
    writeln!(out, "seed {}: {}", failure.seed, failure.problem)?;
    writeln!(out, "the sequence, for `nvml-probe fuzz-case`: {}", failure.case)
}
