//! Which of several names for one thing counts: a flag before the environment, and of two of the same kind ours before
//! NVIDIA's. The one place that knows where a value came from; and what a value that cannot work is refused with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde::de::{DeserializeOwned, IntoDeserializer};
use thiserror::Error;

/// A path, and by which name it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As it was given.
    pub path: PathBuf,
    /// What an error calls it: `--cdi-dir`, or `GANTRY_CDI_DIR (--cdi-dir)` where the environment had it.
    pub name: String,
}

impl Given {
    /// A path that a config file gives under this key.
    pub fn of_file(key: &str, path: Option<String>) -> Option<Given> {
        Some(Given { path: path?.into(), name: format!("the config file's {key}") })
    }
}

/// A path of the command line or the environment, with the strength of its source: for [`strongest`].
pub fn given(
    matches: &ArgMatches,
    command: &Command,
    id: &str,
    path: Option<PathBuf>,
) -> Option<(ValueSource, Given)> {
    let (path, source) = (path?, matches.value_source(id)?);
    let arg = command.get_arguments().find(|arg| arg.get_id() == id)?;
    let flag = format!("--{}", arg.get_long().unwrap_or(id));
    let name = match (source, arg.get_env()) {
        (ValueSource::EnvVariable, Some(variable)) => format!("{} ({flag})", variable.display()),
        _ => flag,
    };
    Some((source, Given { path, name }))
}

/// Of the strongest source, the first; with its source.
pub fn strongest_source<T>(group: Vec<Option<(ValueSource, T)>>) -> Option<(ValueSource, T)> {
    let stronger = |best: (ValueSource, T), next: (ValueSource, T)| if next.0 > best.0 { next } else { best };
    group.into_iter().flatten().reduce(stronger)
}

/// Of the strongest source, the first.
pub fn strongest<T>(group: Vec<Option<(ValueSource, T)>>) -> Option<T> {
    strongest_source(group).map(|(_, value)| value)
}

/// Whether the program of a command line, its first word, goes by this name.
pub fn is_called(words: &[OsString], name: &str) -> bool {
    words.first().and_then(|program| Path::new(program).file_name()).is_some_and(|found| found == name)
}

/// A variable that is set to nothing says nothing: charts set those that nobody gave a value.
pub fn without_empty_variable(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    if value.is_some_and(|value| value.is_empty()) { arg.env(Resettable::Reset) } else { arg }
}

/// A word of a config file, as a flag. The error lists the words that there are.
///
/// # Errors
/// When it is none of them.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, serde::de::value::Error> {
    T::deserialize(text.into_deserializer())
}

/// A setting that cannot work.
#[derive(Debug, Error)]
#[error("{name} {value:?}: {hint}")]
pub struct ConfigError {
    name: String,
    value: String,
    hint: String,
}

impl ConfigError {
    /// The setting, what it says, and what would be right.
    pub fn new(name: &str, value: impl Into<String>, hint: impl ToString) -> Self {
        Self { name: name.to_owned(), value: value.into(), hint: hint.to_string() }
    }

    /// The same of a path.
    pub fn of(given: &Given, hint: impl ToString) -> Self {
        Self::new(&given.name, given.path.display().to_string(), hint)
    }
}

/// The path, if it is absolute.
///
/// # Errors
/// When it is not.
pub fn absolute(given: Given) -> Result<PathBuf, ConfigError> {
    absolute_flag(&given.name, given.path)
}

/// The path of this flag, if it is absolute.
///
/// # Errors
/// When it is not.
pub fn absolute_flag(name: &str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    let hint = "an absolute path is needed, such as /var/lib/kubelet";
    Err(ConfigError::new(name, path.display().to_string(), hint))
}

/// Refuses a duration that is too short or too long.
///
/// # Errors
/// When it is.
pub fn between(flag: &str, value: Duration, least: Duration, most: Duration) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(flag, format!("{value:?}"), format!("it must be between {least:?} and {most:?}")))
}
