//! `nvml-sim watch`: the node as it changes. On a terminal the whole picture, again and again; else a line for each change.
//! It compares states as documents and so shows every section of them, whatever it means.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::arguments::Output;
use super::show;
use crate::latency::Delay;
use crate::node::Node;
use crate::state::{State, StateFolder, Watch};

/// Moves the cursor to the top left and removes what is on the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// What changes with every commit, and says nothing by itself.
const SILENT: &[&str] = &["/generation"];
/// The bases of counters move with other changes, and say nothing that the change itself does not.
const SILENT_PART: &str = "/counters/";

/// A part of the state that became another.
#[derive(Debug, PartialEq)]
struct Change {
    /// Where, as a JSON pointer.
    path: String,
    before: Value,
    after: Value,
}

/// Shows the node until the reader goes away.
pub fn run(folder: &StateFolder, interval: Delay, output: Output, out: &mut impl Write) -> Result<()> {
    let watched = if output == Output::Table && io::stdout().is_terminal() {
        redraw(folder, interval, out)
    } else {
        tell(folder, output, out)
    };
    watched.or_else(|error| if is_broken_pipe(&error) { Ok(()) } else { Err(error) })
}

fn redraw(folder: &StateFolder, interval: Delay, out: &mut impl Write) -> Result<()> {
    let watch = Watch::new(folder.dir());
    loop {
        let mut picture = CLEAR.as_bytes().to_vec();
        show::table(folder, false, &mut picture)?;
        // In one piece, so that the screen does not flicker.
        out.write_all(&picture)?;
        out.flush()?;
        watch.wait(Some(Instant::now() + interval.0));
    }
}

fn tell(folder: &StateFolder, output: Output, out: &mut impl Write) -> Result<()> {
    let watch = Watch::new(folder.dir());
    let mut before = folder.state()?;
    writeln!(out, "{}", beginning(&before, output))?;
    loop {
        out.flush()?;
        watch.wait(before.wakes_at());
        let after = folder.state()?;
        if *after == *before {
            continue;
        }
        let changes = changes(&before, &after)?;
        let node = folder.node()?;
        match output {
            Output::Json => writeln!(out, "{}", line_json(&after, &changes))?,
            Output::Table => {
                for change in &changes {
                    writeln!(out, "{}  {}", show::time(after.clock.now_us()), words(change, &node))?;
                }
            }
        }
        before = after;
    }
}

/// The first line says from where on the reader sees everything.
fn beginning(state: &State, output: Output) -> String {
    match output {
        Output::Json => line_json(state, &[]).to_string(),
        Output::Table => {
            format!("{}  watching from generation {}", show::time(state.clock.now_us()), state.generation)
        }
    }
}

fn line_json(state: &State, changes: &[Change]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|change| json!({ "path": change.path, "before": change.before, "after": change.after }))
        .collect();
    json!({
        "generation": state.generation,
        "time": show::time(state.clock.now_us()),
        "changes": changes,
    })
}

fn changes(before: &State, after: &State) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    compare("", &serde_json::to_value(before)?, &serde_json::to_value(after)?, &mut changes);
    changes.retain(|change| !SILENT.contains(&change.path.as_str()) && !change.path.starts_with(SILENT_PART));
    Ok(changes)
}

/// Maps are compared key by key. Of lists, which grow at the end, what is new and what is gone; all else as a whole.
fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => compare_maps(path, old, new, changes),
        (Value::Null, Value::Object(new)) => compare_maps(path, &Map::new(), new, changes),
        (Value::Object(old), Value::Null) => compare_maps(path, old, &Map::new(), changes),
        (Value::Array(old), Value::Array(new)) => compare_lists(path, old, new, changes),
        (Value::Null, Value::Array(new)) => compare_lists(path, &[], new, changes),
        (Value::Array(old), Value::Null) => compare_lists(path, old, &[], changes),
        _ if before == after => {}
        _ => changes.push(Change { path: path.to_owned(), before: before.clone(), after: after.clone() }),
    }
}

fn compare_maps(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, changes: &mut Vec<Change>) {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone) {
        let at = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        compare(&at, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), changes);
    }
}

fn compare_lists(path: &str, old: &[Value], new: &[Value], changes: &mut Vec<Change>) {
    for (index, value) in old.iter().enumerate().filter(|(_, value)| !new.contains(value)) {
        let path = format!("{path}/{index}");
        changes.push(Change { path, before: value.clone(), after: Value::Null });
    }
    for (index, value) in new.iter().enumerate().filter(|(_, value)| !old.contains(value)) {
        let path = format!("{path}/{index}");
        changes.push(Change { path, before: Value::Null, after: value.clone() });
    }
}

/// For people: GPUs by their index, and neither slashes nor braces where words do.
fn words(change: &Change, node: &Node) -> String {
    let mut path: Vec<String> = change.path.split('/').skip(1).map(|part| part.replace("~1", "/")).collect();
    for part in &mut path {
        if let Some(gpu) = node.find(part).filter(|gpu| gpu.uuid == **part) {
            *part = format!("GPU {}", gpu.index);
        }
    }
    let mut value = match (&change.before, &change.after) {
        (Value::Null, after) => after.to_string(),
        (before, Value::Null) => format!("{before} is gone"),
        (before, after) => format!("{before} -> {after}"),
    };
    for gpu in &node.gpus {
        value = value.replace(&gpu.uuid, &format!("GPU {}", gpu.index));
    }
    format!("{}: {value}", path.join(" "))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
