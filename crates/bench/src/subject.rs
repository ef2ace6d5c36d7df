//! The programs that are measured: our device plugin, and those of others in `--peers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::node::Node;
use crate::process::Process;

/// Where NVIDIA's plugin keeps its socket, whatever its flags say.
const FIXED_PLUGIN_DIR: &str = "/var/lib/kubelet/device-plugins";

/// One program.
pub struct Subject {
    /// As printed.
    pub name: String,
    binary: PathBuf,
    face: Face,
}

#[derive(Clone, Copy)]
enum Face {
    Gantry,
    Nvidia,
}

impl Subject {
    /// Our own plugin, built beside this program.
    pub fn gantry() -> Result<Subject> {
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let binary = program.with_file_name("gpu-device-plugin");
        ensure!(
            binary.is_file(),
            "{} is missing: run `cargo build --release --workspace --bins`",
            binary.display()
        );
        Ok(Subject { name: "gantry".to_owned(), binary, face: Face::Gantry })
    }

    /// The known programs of a folder; an error when it holds none.
    pub fn peers(folder: &Path) -> Result<Vec<Subject>> {
        let binary = folder.join("nvidia-device-plugin");
        ensure!(
            binary.is_file(),
            "{}: no nvidia-device-plugin in it, the one peer that is known",
            folder.display()
        );
        ensure!(
            rustix::process::geteuid().is_root(),
            "peers need root: their plugin folder is fixed, so they get a private mount of it"
        );
        Ok(vec![Subject { name: "nvidia-device-plugin".to_owned(), binary, face: Face::Nvidia }])
    }

    /// Starts it on a node. Its own words go to the node's log folder.
    pub fn start(&self, node: &Node) -> Result<Process> {
        let log = node.log(&self.name)?;
        let mut command = match self.face {
            Face::Gantry => self.gantry_command(node),
            Face::Nvidia => self.nvidia_command(node),
        };
        command
            .env_clear()
            .envs(node.environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Process::start(&mut command)
    }

    fn gantry_command(&self, node: &Node) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(node.gantry_flags());
        command
    }

    fn nvidia_command(&self, node: &Node) -> Command {
        // A tmpfs over /var/lib makes room for the fixed folder without touching the host's.
        let script = format!(
            "mount -t tmpfs none /var/lib && mkdir -p {FIXED_PLUGIN_DIR} && mount --bind \"$1\" {FIXED_PLUGIN_DIR} && shift && exec \"$@\""
        );
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", &script, "sh"]);
        command.arg(node.plugin_dir()).arg(&self.binary);
        command.args([
            "--device-discovery-strategy=nvml",
            "--device-list-strategy=envvar",
            "--fail-on-init-error=true",
        ]);
        command.arg(format!("--driver-root-ctr-path={}", node.driver_root().display()));
        command
    }
}
