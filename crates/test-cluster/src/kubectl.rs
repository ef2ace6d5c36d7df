//! kubectl as a value: which cluster, which network.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

/// How long one request may take, for a command that waits for nothing.
const REQUEST: &str = "--request-timeout=30s";

/// How long a deletion waits for what it deletes to be gone.
const DELETION: &str = "--timeout=120s";

/// Its requests watch until then, and are cut off later.
const DELETION_REQUEST: &str = "--request-timeout=150s";

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

    /// A command to complete. It sees the host's files, and waits as long as its arguments say.
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

    /// Runs and returns what it printed. A request that gets no answer is given up after 30 s, unless `args`
    /// set another `--request-timeout`.
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
            .arg(REQUEST)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take()
            && !input.is_empty()
        {
            match stdin.write_all(input.as_bytes()) {
                // It ended before it read all; its exit code and what it said tell why.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                written => written.context("write to kubectl")?,
            }
        }
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(CommandFailed { command: args.join(" "), said }.into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Deletes, and waits until it is gone, up to two minutes. Nothing to delete is no error.
    ///
    /// # Errors
    /// As [`Self::run`], also when it is not gone by then.
    pub fn delete(&self, args: &[&str]) -> Result<()> {
        let how = ["--ignore-not-found", DELETION, DELETION_REQUEST];
        self.run(&[&["delete"], args, &how].concat()).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_has_a_limit_of_its_own_and_a_deletion_a_longer_one() {
        let kubectl = Kubectl::for_kubeconfig(PathBuf::from("/bin/echo"), Path::new("/none"));
        let got = kubectl.run(&["get", "nodes"]).unwrap();
        assert_eq!(got.trim(), "--kubeconfig /none --request-timeout=30s get nodes");
        // A failure tells the arguments after the first.
        let kubectl = Kubectl::for_kubeconfig(PathBuf::from("/bin/false"), Path::new("/none"));
        let told = kubectl.delete(&["pod", "x"]).unwrap_err().to_string();
        let expected = "kubectl delete pod x --ignore-not-found --timeout=120s --request-timeout=150s:";
        assert_eq!(told.trim(), expected);
    }

    #[test]
    fn command_that_ends_before_it_read_its_input_is_told_by_what_it_said() {
        // A shell refuses the option --kubeconfig at once, and reads nothing.
        let kubectl = Kubectl::for_kubeconfig(PathBuf::from("/bin/sh"), Path::new("/none"));
        let error = kubectl.run_with_input(&["apply"], &"x".repeat(1 << 20)).unwrap_err();
        let failed = error.downcast_ref::<CommandFailed>().unwrap();
        assert!(failed.said.contains("/bin/sh"), "{failed}");
    }
}
