//! The programs that are measured: our device plugin, and those of others in `--peers`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sim_node::{Process, SimNode};

use crate::discovery;
use crate::measure::{PATIENCE, alive};

/// Where NVIDIA's plugin keeps its socket, whatever its flags say.
const FIXED_PLUGIN_DIR: &str = "/var/lib/kubelet/device-plugins";

/// NVIDIA's device plugin, the one peer of ours that is known.
const NVIDIA: &str = "nvidia-device-plugin";

/// What stands over the figures of NVIDIA's programs.
const NVIDIAS: &str = "nvidia";

/// Said by a program's shell when all is prepared and the clock may start.
const AT_THE_GATE: &str = "bench: at the gate";

/// How often it is looked whether that was said.
const LOOK: Duration = Duration::from_millis(2);

/// One program.
#[derive(Clone, Debug)]
pub struct Subject {
    /// As printed.
    pub name: String,
    binary: PathBuf,
    face: Face,
    /// A config file, which all of them take by the same flag.
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Gantry,
    Nvidia,
}

/// Whether a program asks the driver again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// As it does by default.
    AsEver,
    /// As rarely as it can be told: what is counted then was asked for.
    Rare,
    /// As often as it can be told, with little patience: faults show at once.
    Often,
}

/// A folder of peers that cannot be used.
#[derive(Debug)]
pub enum PeersError {
    /// It cannot be read.
    Folder(PathBuf, io::Error),
    /// It holds no known peer.
    None(PathBuf),
    /// Not root.
    Rights,
}

impl std::fmt::Display for PeersError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PeersError::Folder(folder, error) => write!(f, "cannot read {}: {error}", folder.display()),
            PeersError::None(folder) => {
                write!(f, "{}: no {NVIDIA} in it, the one peer that is known", folder.display())
            }
            PeersError::Rights => f.write_str(
                "peers need root: their plugin folder is fixed, so they get a private mount of it",
            ),
        }
    }
}

impl std::error::Error for PeersError {}

impl Subject {
    /// Whether it is NVIDIA's.
    pub fn is_nvidias(&self) -> bool {
        self.face == Face::Nvidia
    }

    /// Our own plugin, built beside this program.
    pub fn gantry() -> Result<Subject> {
        Ok(Subject {
            name: "gantry".to_owned(),
            binary: sim_node::find("gpu-device-plugin")?,
            face: Face::Gantry,
            config: None,
        })
    }

    /// The same program with a config file.
    pub fn with_config(&self, file: PathBuf) -> Subject {
        Subject { config: Some(file), ..self.clone() }
    }

    /// The known programs of a folder; what else is in it is `told`.
    ///
    /// # Errors
    /// There is none, or they cannot be started by this user.
    pub fn peers(folder: &Path, told: &mut dyn FnMut(String)) -> Result<Vec<Subject>, PeersError> {
        let failed = |error| PeersError::Folder(folder.to_owned(), error);
        let mut peers = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() == NVIDIA {
                peers.push(Subject {
                    name: NVIDIAS.to_owned(),
                    binary: entry.path(),
                    face: Face::Nvidia,
                    config: None,
                });
            } else if entry.file_name() != discovery::PEER {
                told(format!("{} is not measured: only {NVIDIA} is known", entry.path().display()));
            }
        }
        if peers.is_empty() {
            return Err(PeersError::None(folder.to_owned()));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(PeersError::Rights);
        }
        Ok(peers)
    }

    /// Starts it on a node, and tells when: everything before the program itself is done by then.
    ///
    /// # Errors
    /// It cannot be started; its last words are in the text.
    pub async fn start(&self, node: &SimNode, probes: Probes) -> Result<(Process, Instant)> {
        let process = node.spawn_command(&self.name, self.command(node, probes))?;
        let deadline = Instant::now() + PATIENCE;
        while !process.log().contains(AT_THE_GATE) {
            alive(&process)?;
            ensure!(Instant::now() < deadline, "{} is not ready to start", self.name);
            tokio::time::sleep(LOOK).await;
        }
        let began = Instant::now();
        process.tell("go\n").with_context(|| format!("{} cannot be started", self.name))?;
        Ok((process, began))
    }

    /// A shell that prepares, waits at the gate and becomes the program.
    fn command(&self, node: &SimNode, probes: Probes) -> Command {
        let gate = format!("echo '{AT_THE_GATE}'; read _ && exec \"$@\"");
        let mut command = match self.face {
            Face::Gantry => {
                let mut command = node.command_at(Path::new("/bin/sh"));
                command.args(["-c", &gate, "sh"]).arg(&self.binary).args(node.plugin_flags());
                match probes {
                    Probes::AsEver => {}
                    Probes::Rare => {
                        command.arg("--probe-interval=1h");
                    }
                    Probes::Often => {
                        command.args(["--probe-interval=1s", "--nvml-call-timeout=1s"]);
                    }
                }
                command
            }
            Face::Nvidia => {
                // A tmpfs over /var/lib makes room for the fixed folder without touching the host's.
                let script = format!(
                    "mount -t tmpfs none /var/lib && mkdir -p {FIXED_PLUGIN_DIR} && \
                     mount --bind \"$1\" {FIXED_PLUGIN_DIR} && shift && {{ {gate}; }}"
                );
                let mut command = node.command_at(Path::new("/usr/bin/unshare"));
                command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", &script, "sh"]);
                command.arg(node.plugin_dir()).arg(&self.binary);
                command.args([
                    "--device-discovery-strategy=nvml",
                    "--device-list-strategy=envvar",
                    "--fail-on-init-error=true",
                ]);
                command.arg(format!("--driver-root-ctr-path={}", node.root().display()));
                command.env("LD_LIBRARY_PATH", node.root().join("usr/lib/x86_64-linux-gnu"));
                command
            }
        };
        if let Some(config) = &self.config {
            command.arg(format!("--config-file={}", config.display()));
        }
        command.stdin(Stdio::piped());
        command
    }
}
