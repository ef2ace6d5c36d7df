//! A simulated node for one test, as somebody without Gantry uses it: by the `nvml-sim` program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use integration_tests::fetch::{finish, package};

/// A node; its folder goes with it.
pub struct Node {
    dir: TempDir,
}

impl Node {
    /// A node of a preset.
    pub fn preset(preset: &str) -> Node {
        Node::made(&["--preset", preset])
    }

    /// The text of a preset, to make another of.
    pub fn preset_text(preset: &str) -> String {
        let output = finish(Command::new(program()).args(["presets", "--node", preset]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A node of a node file's text.
    pub fn yaml(text: &str) -> Node {
        let file = NamedTempFile::new().expect("make a temporary file");
        fs::write(&file, text).expect("write a temporary file");
        Node::made(&["--file", &file.path().to_string_lossy()])
    }

    fn made(of: &[&str]) -> Node {
        let node = Node { dir: tempfile::tempdir().expect("make a temporary folder") };
        fs::create_dir_all(node.root().join("var/lib")).expect("make a host root");
        finish(Command::new(program()).arg("init").args(of).arg(node.state()));
        node
    }

    /// The state folder. It lies in the host root, so that the root can be bound elsewhere.
    pub fn state(&self) -> PathBuf {
        self.root().join("var/lib/nvml-sim")
    }

    /// The host root, once it is laid.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A folder for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `nvml-sim` on the node, such as `lose --gpu 3`; what it says.
    pub fn tell(&self, args: &[&str]) -> String {
        let output = finish(Command::new(program()).arg("--dir").arg(self.state()).args(args));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Lays the host root.
    pub fn lay_root(&self) {
        self.tell(&["root", &self.root().to_string_lossy()]);
    }

    /// A program that sees the node.
    pub fn command(&self, of: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program());
        command.arg("--dir").arg(self.state()).args(["run", "--"]).arg(of.as_ref());
        command
    }

    /// A program that finds the host root at the machine's own paths; none where this user may not mount. The root has
    /// to be laid.
    pub fn private(&self, of: &Path) -> Option<Command> {
        if !rustix::process::geteuid().is_root() {
            eprintln!(
                "LEFT OUT: {} needs root, to see the host root at the machine's own paths",
                of.display()
            );
            return None;
        }
        let mut command = Command::new(program());
        command.arg("--dir").arg(self.state()).args(["run", "--private", "--root"]).arg(self.root());
        // Not every kernel has the list of modules that some programs read.
        command.args(["--", "/bin/sh"]).arg(package().join("tests/truth/with-modules.sh"));
        command.arg(self.root().join("proc/modules")).arg(of);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", package().join("tests/truth/programs").display()));
        command.env("NVML_SIM", program());
        Some(command)
    }

    /// The node as `nvml-sim show` tells it.
    pub fn shown(&self) -> Value {
        serde_json::from_str(&self.tell(&["show", "--output=json"])).expect("JSON of nvml-sim show")
    }
}

fn program() -> PathBuf {
    sim_node::find("nvml-sim").unwrap_or_else(|error| panic!("{error}"))
}
