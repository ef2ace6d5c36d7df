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
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let error = error.without_snippet();
        let said = error.to_string();
        let said = in_plain_words(said.lines().next().unwrap_or("not valid YAML"));
        let location = error.location().map(|place| (place.line() as usize, place.column() as usize));
        let path = whole(&path, &said);
        let (place, value) = match location.filter(|(line, _)| *line > 0) {
            Some((line, column)) => {
                let separator = if path.is_empty() { "" } else { ": " };
                let value = text.lines().nth(line - 1).map(|line| line.trim().to_owned());
                (format!(":{line}:{column}{separator}{path}"), value)
            }
            None => (String::new(), None),
        };
        YamlError { file: file.to_owned(), place, value, problem: said }
    })
}

/// The path with what the deserializer leaves unknown: `.` is the document, and a final `?` a key that could not
/// be taken, since it stands twice.
fn whole(path: &str, said: &str) -> String {
    let Some(parent) = path.strip_suffix('?') else { return path.trim_matches('.').to_owned() };
    match said.strip_prefix("duplicate mapping key: ") {
        Some(key) => format!("{parent}{key}"),
        None => parent.trim_end_matches('.').to_owned(),
    }
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
