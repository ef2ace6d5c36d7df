//! What is to be said of a config file: where, which value, and what would be right.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

/// Characters of a key, a value or a problem that are shown: a file may be made to fill a log.
const SHOWN: usize = 300;

/// Findings that are told of one file; nobody mends more at once.
const MOST: usize = 100;

/// One thing that is wrong, or that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The key, such as `sharing.timeSlicing.resources[0].replicas`; empty for the document.
    pub path: String,
    /// Line of the text, from 1, where it is known.
    pub line: Option<usize>,
    /// The value as it was written, where it is a short one.
    pub value: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Finding {
    pub(crate) fn at(path: impl Into<String>, problem: impl Into<String>) -> Finding {
        Finding { path: path.into(), line: None, value: None, problem: problem.into() }
    }

    pub(crate) fn of_value(
        path: impl Into<String>,
        value: impl fmt::Display,
        problem: impl Into<String>,
    ) -> Finding {
        Finding { value: Some(value.to_string()), ..Finding::at(path, problem) }
    }
}

/// Leaves as many as are told, and says how many more there are.
pub(crate) fn bounded(findings: &mut Vec<Finding>, untold: usize) {
    let more = findings.len().saturating_sub(MOST) + untold;
    findings.truncate(MOST);
    if more > 0 {
        findings.push(Finding::at("", format!("and {more} more")));
    }
}

/// Whether there is room for one more.
pub(crate) fn has_room(findings: &[Finding]) -> bool {
    findings.len() < MOST
}

/// The beginning of a text, as much of it as is shown.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.path.is_empty()) {
            (Some(line), true) => write!(f, "line {line}: ")?,
            (Some(line), false) => write!(f, "line {line}, {}: ", shown(&self.path))?,
            (None, false) => write!(f, "{}: ", shown(&self.path))?,
            (None, true) => {}
        }
        if let Some(value) = &self.value {
            write!(f, "`{}`: ", shown(value))?;
        }
        f.write_str(&shown(&self.problem))
    }
}

/// A config file that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file} is no valid config:{}", findings.iter().map(|finding| format!("\n  {finding}")).collect::<String>())]
pub struct InvalidConfig {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// What is wrong; never empty.
    pub findings: Vec<Finding>,
}
