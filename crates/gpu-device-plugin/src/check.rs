//! The subcommand `check`: whether a config file can be used, and what is wrong with it.

use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::{fs, iter};

use anyhow::Context;
use gpu_config::{Finding, Mode};
use serde_json::{Value, json};

use crate::args::Output;
use crate::stdout;

/// Stands for the standard input.
const STDIN: &str = "-";
/// Far more than any config; what is larger is another file.
const MAX_BYTES: u64 = 1 << 20;
/// Exit code of a file that cannot be used, as of bad usage.
const INVALID: u8 = 2;

/// What was found in a file.
struct Verdict {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// Judges a config file, and tells on standard output.
pub fn check(file: &Path, mode: Mode, output: Output) -> ExitCode {
    match try_check(file, mode, output) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INVALID),
        Err(error) => daemon::fail(error.as_ref()),
    }
}

fn try_check(file: &Path, mode: Mode, output: Output) -> anyhow::Result<bool> {
    let name = file.display().to_string();
    let text = text_of(file).with_context(|| format!("cannot read {name}"))?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_BYTES,
        "{name} is larger than {MAX_BYTES} bytes: that is no config"
    );
    let verdict = match gpu_config::read(&name, &text, mode) {
        Ok(checked) => Verdict { errors: Vec::new(), warnings: checked.warnings },
        Err(invalid) => Verdict { errors: invalid.findings, warnings: Vec::new() },
    };
    let told = match output {
        Output::Table => words(&name, &verdict),
        Output::Json => serde_json::to_string_pretty(&document(&name, &verdict))? + "\n",
    };
    stdout::write(told.as_bytes())?;
    Ok(verdict.errors.is_empty())
}

fn text_of(file: &Path) -> io::Result<String> {
    let source: Box<dyn Read> =
        if file == Path::new(STDIN) { Box::new(io::stdin()) } else { Box::new(fs::File::open(file)?) };
    let mut text = String::new();
    source.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn words(name: &str, verdict: &Verdict) -> String {
    let line = |kind: &str, finding: &Finding| format!("{kind}: {finding}\n");
    let head = if verdict.errors.is_empty() { "is a valid config" } else { "is no valid config" };
    let errors = verdict.errors.iter().map(|finding| line("error", finding));
    let warnings = verdict.warnings.iter().map(|finding| line("warning", finding));
    iter::once(format!("{name} {head}\n")).chain(errors).chain(warnings).collect()
}

fn document(name: &str, verdict: &Verdict) -> Value {
    let one =
        |it: &Finding| json!({ "path": it.path, "line": it.line, "value": it.value, "problem": it.problem });
    let list = |findings: &[Finding]| findings.iter().map(one).collect::<Vec<_>>();
    json!({
        "file": name,
        "valid": verdict.errors.is_empty(),
        "errors": list(&verdict.errors),
        "warnings": list(&verdict.warnings),
    })
}
