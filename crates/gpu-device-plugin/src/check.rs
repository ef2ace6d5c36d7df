//! The subcommand `check`: whether a config file can be used, and what is wrong with it.

use std::io;
use std::iter;
use std::path::Path;
use std::process::ExitCode;

use config_file::text;
use daemon::stdout;
use gpu_config::{Finding, Mode};
use serde_json::{Value, json};

use crate::args::Output;

/// Stands for the standard input.
const STDIN: &str = "-";
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
    let text = if file == Path::new(STDIN) { text::of(&name, io::stdin()) } else { text::of_file(file) }?;
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
