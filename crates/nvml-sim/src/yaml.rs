//! Strict reading of YAML: an error names the file, the place, the value and what would be right. It knows no
//! schema: each caller's type is one, with `deny_unknown_fields`.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// YAML that does not say what it should.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}{place}: {problem}{}", file.display(), value.as_ref().map(|v| format!(" (at `{v}`)")).unwrap_or_default())]
pub struct YamlError {
    /// The file, or the preset's name.
    pub file: PathBuf,
    /// `:line:column: path.to.key`, as far as known.
    pub place: String,
    /// The line's text where the problem is, when it is one.
    pub value: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl YamlError {
    /// A problem that was found after parsing, at a path such as `gpus[3].pci`.
    pub fn at(file: &Path, path: impl Into<String>, problem: impl Into<String>) -> Self {
        YamlError {
            file: file.to_owned(),
            place: format!(": {}", path.into()),
            value: None,
            problem: problem.into(),
        }
    }
}

/// Reads one document into `T`. Unknown keys are errors by `T`'s own attributes, duplicate keys always.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let location = error.location().map(|place| (place.line() as usize, place.column() as usize));
        let (place, value) = match location.filter(|(line, _)| *line > 0) {
            Some((line, column)) => {
                let path = path_of(text, line);
                let separator = if path.is_empty() { "" } else { ": " };
                let value = text.lines().nth(line - 1).map(|line| line.trim().to_owned());
                (format!(":{line}:{column}{separator}{path}"), value)
            }
            None => (String::new(), None),
        };
        let problem = in_plain_words(error.to_string().lines().next().unwrap_or("not valid YAML"));
        YamlError { file: file.to_owned(), place, value, problem }
    })
}

/// What the parser says, without the place (which stands in front already) and its advice to programmers.
fn in_plain_words(said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(problem, _)| problem);
    let said = said.split_once(", set DuplicateKeyPolicy").map_or(said, |(problem, _)| problem);
    match said {
        "invalid u32" | "invalid u64" | "invalid usize" => "not a whole number from 0 up".to_owned(),
        "unexpected end of input" => "the file is empty; `nvml-sim presets --node t4` prints one".to_owned(),
        other => other.to_owned(),
    }
}

/// The path of block-style keys and sequence items that leads to a line, such as `gpus[1].pci`.
fn path_of(text: &str, line: usize) -> String {
    // One entry for each open mapping key or sequence: its indentation, and its key or item number.
    let mut open: Vec<(usize, Step)> = Vec::new();
    for content in text.lines().take(line) {
        let trimmed = content.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let mut indent = content.len() - trimmed.len();
        let mut rest = trimmed;
        while let Some(item) = rest.strip_prefix("- ") {
            open.retain(|(at, _)| *at <= indent);
            match open.last_mut() {
                Some((at, Step::Item(number))) if *at == indent => *number += 1,
                _ => open.push((indent, Step::Item(0))),
            }
            let skipped = rest.len() - item.trim_start().len();
            indent += skipped;
            rest = item.trim_start();
        }
        // Keys inside `{…}` are not followed: the path ends at what holds them.
        if let Some((key, _)) = rest.split_once(':').filter(|_| !rest.starts_with(['{', '['])) {
            open.retain(|(at, _)| *at < indent);
            open.push((indent, Step::Key(key.trim().to_owned())));
        }
    }
    let mut path = String::new();
    for (_, step) in open {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(&key),
            Step::Key(key) => path.push_str(&format!(".{key}")),
            Step::Item(number) => path.push_str(&format!("[{number}]")),
        }
    }
    path
}

enum Step {
    Key(String),
    Item(usize),
}
