//! `cargo xtask gen`: writes generated code anew, or with `--check` only says whether it is stale.
//! The generators live with the crates that own the code, so that xtask links none of them.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One generator: its package and the example that runs it.
const GENERATORS: [(&str, &str); 1] = [("kubelet-api", "protocols")];

/// Runs every generator; with `check` none writes, and stale code is an error.
///
/// # Errors
/// A generator that cannot be built or run, or that fails; its own message is on the standard error output.
pub fn run(check: bool) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for (package, example) in GENERATORS {
        let mut command = Command::new(&cargo);
        command.args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--example",
            example,
            "--",
            "generate",
        ]);
        if check {
            command.arg("--check");
        }
        let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
        ensure!(status.success(), "the generator of {package} failed: {status}");
    }
    Ok(())
}
