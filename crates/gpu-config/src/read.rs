//! From text to a config: reads what is written, finds what nobody knows, and lets `check` judge the rest.

use serde::Deserialize as _;
use serde_ignored::Path;

use crate::check;
use crate::config::Config;
use crate::file::File;
use crate::finding::{self, Finding, InvalidConfig};
use crate::keys;

/// How strictly a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What has no effect is an error.
    Strict,
    /// It means what it means to NVIDIA's device plugin, and what has no effect there is a warning.
    Compat,
}

/// A config that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The config.
    pub config: Config,
    /// What a person should know of it.
    pub warnings: Vec<Finding>,
}

/// Reads a config; `file` is for messages.
///
/// # Errors
/// With everything that is wrong at once, but for text that cannot be read as a config at all: there the first.
pub fn read(file: &str, text: &str, mode: Mode) -> Result<Checked, InvalidConfig> {
    let invalid = |findings| InvalidConfig { file: file.to_owned(), findings };
    let (written, unknown, untold) = parse(text).map_err(|finding| invalid(vec![finding]))?;
    let (config, judged) = check::check(written, mode);
    let mut errors = judged.errors;
    let mut warnings = judged.warnings;
    match mode {
        Mode::Strict => errors.extend(unknown),
        Mode::Compat => warnings.extend(unknown),
    }
    finding::bounded(&mut errors, if mode == Mode::Strict { untold } else { 0 });
    finding::bounded(&mut warnings, if mode == Mode::Compat { untold } else { 0 });
    for finding in errors.iter_mut().chain(&mut warnings) {
        finding.line = finding.line.or_else(|| line_of(text, &finding.path));
    }
    if errors.is_empty() { Ok(Checked { config, warnings }) } else { Err(invalid(errors)) }
}

/// The file, keys that nobody knows, and how many more of those there are.
fn parse(text: &str) -> Result<(File, Vec<Finding>, usize), Finding> {
    // A file without content is one without settings: `/dev/null` stands for that in NVIDIA's fallback.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok((File::default(), Vec::new(), 0));
    }
    let (mut unknown, mut untold) = (Vec::new(), 0);
    let mut place = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(yaml, &mut track);
        let mut note = |path: Path<'_>| match finding::has_room(&unknown) {
            true => unknown.push(unknown_key(&path)),
            false => untold += 1,
        };
        let file = Option::<File>::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
        file.inspect_err(|_| place = track.path().to_string())
    });
    match read {
        Ok(file) => Ok((file.unwrap_or_default(), unknown, untold)),
        Err(error) => {
            let error = error.without_snippet();
            let said = error.to_string();
            let said = said.lines().next().unwrap_or("not YAML");
            let line = error.location().map(|place| place.line() as usize).filter(|line| *line > 0);
            let value = line.and_then(|line| text.lines().nth(line - 1)).map(|line| line.trim().to_owned());
            Err(Finding {
                path: place.trim_matches(['.', '?']).to_owned(),
                line,
                value,
                problem: plain(said),
            })
        }
    }
}

/// What the parser says, without the place (which stands in front already) and its advice to programmers.
fn plain(said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(problem, _)| problem);
    said.split_once(", set DuplicateKeyPolicy").map_or(said, |(problem, _)| problem).to_owned()
}

fn unknown_key(path: &Path<'_>) -> Finding {
    let (at, general) = (shown(path, true), shown(path, false));
    let (parent, key) = general.rsplit_once('.').unwrap_or(("", &general));
    Finding::at(at, keys::advice(parent, key))
}

/// A path in words: with the indexes of lists, or `[]` for each.
fn shown(path: &Path<'_>, indexes: bool) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } if indexes => format!("{}[{index}]", shown(parent, indexes)),
        Path::Seq { parent, .. } => format!("{}[]", shown(parent, indexes)),
        Path::Map { parent, key } => match shown(parent, indexes) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            shown(parent, indexes)
        }
    }
}

/// The line of a path, where its last key stands in one line only.
fn line_of(text: &str, path: &str) -> Option<usize> {
    let key = path.rsplit('.').next()?.split('[').next().filter(|key| !key.is_empty())?;
    let is_key = |line: &&str| {
        let line = line.trim_start_matches([' ', '-', '{', '"', '\'']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| is_key(line));
    let (index, _) = lines.next()?;
    lines.next().is_none().then_some(index + 1)
}
