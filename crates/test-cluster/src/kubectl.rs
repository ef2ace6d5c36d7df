//! kubectl as a value: which cluster, which network.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

/// kubectl for one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// The process whose network it runs in; the caller's own when absent.
    network_of: Option<u32>,
}

/// A kubectl call that ended with an error.
#[derive(Debug)]
pub struct CommandFailed {
    /// The arguments, as one would type them.
    pub command: String,
    /// What kubectl said.
    pub said: String,
}

impl Kubectl {
    /// kubectl for any cluster, by its kubeconfig.
    pub fn for_kubeconfig(program: PathBuf, kubeconfig: &Path) -> Self {
        Self { program, kubeconfig: kubeconfig.to_path_buf(), network_of: None }
    }

    pub(crate) fn in_network_of(self, pid: u32) -> Self {
        Self { network_of: Some(pid), ..self }
    }

    /// A command to complete. It sees the host's files.
    pub fn command(&self) -> Command {
        let mut command = match self.network_of {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--target={pid}")).args(["--net", "--"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// Runs and returns what it printed.
    ///
    /// # Errors
    /// [`CommandFailed`] when kubectl refuses; another error when it cannot be started.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with_input(args, "")
    }

    /// The same with something on its standard input, such as a manifest for `apply -f -`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take()
            && !input.is_empty()
        {
            stdin.write_all(input.as_bytes()).context("write to kubectl")?;
        }
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(CommandFailed { command: args.join(" "), said }.into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs with `--output=json` and parses what it printed.
    ///
    /// # Errors
    /// As [`Self::run`], or when the answer is no JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.run(&[args, &["--output=json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {}: parse its JSON", args.join(" ")))
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.run_with_input(&["apply", "--filename=-"], manifests)
    }
}

impl fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kubectl {}: {}", self.command, self.said)
    }
}

impl std::error::Error for CommandFailed {}
