//! The suite's report for people. It knows forms, not what was found how.

use std::collections::BTreeMap;
use std::io::{Result, Write};

use serde_json::Value;

use super::show;
use crate::call::code_of;
use crate::misuse::Misuse;
use crate::suite::{Otherwise, Report};

/// How many problems of one rule are told; all are in the JSON.
const TOLD: usize = 10;

/// The report.
pub fn report(report: &Report, out: &mut impl Write) -> Result<()> {
    let driver = report.driver.as_deref().unwrap_or("unknown");
    let simulated = if report.simulated { ", simulated" } else { "" };
    writeln!(out, "driver {driver}{simulated}")?;
    for (name, indexes) in grouped(report.gpus.iter().enumerate().map(|(index, name)| (name.clone(), index)))
    {
        writeln!(out, "{}: {name}", gpus(&indexes))?;
    }
    writeln!(out)?;
    for check in &report.checks {
        let state = match (check.problems.is_empty(), check.seen) {
            (false, _) => "FAILED",
            (true, 0) => "-",
            (true, _) => "ok",
        };
        writeln!(out, "{state:7} {:11} {} ({} seen)", check.name, check.demands, check.seen)?;
        problems(&check.problems, out)?;
    }
    let wrong: Vec<String> =
        report.misuse.iter().filter(|misuse| !misuse.is_right()).map(wrong_code).collect();
    let state = if wrong.is_empty() { "ok" } else { "FAILED" };
    let demands = "wrong calls get the code that is documented, and end no process";
    writeln!(out, "{state:7} {:11} {demands} ({} seen)", "misuse", report.misuse.len())?;
    problems(&wrong, out)?;
    if let Some(figures) = &report.figures {
        writeln!(out)?;
        show::figures(figures, out)?;
    }
    writeln!(out)?;
    let near = report.nearness.iter().enumerate().map(|(index, near)| {
        let but = if near.differs.is_empty() {
            String::new()
        } else {
            format!(", but for {}", near.differs.join(", "))
        };
        (format!("preset {}{but}", near.preset), index)
    });
    for (near, indexes) in grouped(near) {
        writeln!(out, "{}: {near}", gpus(&indexes))?;
    }
    if let Some(reason) = &report.not_simulated {
        writeln!(out, "the simulator cannot make this node again: {reason}")?;
    }
    report.simulator.as_ref().map_or(Ok(()), |otherwise| simulator(otherwise, out))
}

fn wrong_code(misuse: &Misuse) -> String {
    let Misuse { call, code, allowed } = misuse;
    match allowed.as_slice() {
        [] => format!("{call}: {code}"),
        allowed => format!("{call}: {code}, not {}", allowed.join(" or ")),
    }
}

fn problems(problems: &[String], out: &mut impl Write) -> Result<()> {
    for problem in problems.iter().take(TOLD) {
        writeln!(out, "          {problem}")?;
    }
    match problems.len().saturating_sub(TOLD) {
        0 => Ok(()),
        more => writeln!(out, "          and {more} more, see --output json"),
    }
}

/// What the simulator answers otherwise; what several GPUs have in common is told once.
fn simulator(otherwise: &Otherwise, out: &mut impl Write) -> Result<()> {
    let Otherwise { shape, misuse } = otherwise;
    if shape.is_empty() && misuse.is_empty() {
        return writeln!(out, "the simulator answers in the same shape");
    }
    writeln!(out, "the simulator answers otherwise (here / there):")?;
    let say = |answer: &Option<Value>| match answer {
        None => "nothing".to_owned(),
        Some(answer) => code_of(answer).unwrap_or("an answer").to_owned(),
    };
    let line =
        |of: &str, call: &str, here: &str, there: &str| (format!("{call}: {here} / {there}"), of.to_owned());
    let lines = shape.iter().map(|difference| {
        line(&difference.of, &difference.call, &say(&difference.one), &say(&difference.other))
    });
    for (line, of) in grouped(lines) {
        writeln!(out, "  {}: {line}", of.join(", "))?;
    }
    for (call, [here, there]) in misuse {
        writeln!(out, "  {call}: {here} / {there}")?;
    }
    Ok(())
}

/// Things by what they have in common, in the order of their first.
fn grouped<T: Clone>(items: impl Iterator<Item = (String, T)>) -> Vec<(String, Vec<T>)> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<(String, Vec<T>)> = Vec::new();
    for (key, item) in items {
        let at = *places.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, of)) => of.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

fn gpus(indexes: &[usize]) -> String {
    let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
    format!("GPU {}", indexes.join(", "))
}
