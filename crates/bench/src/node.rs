//! A simulated node to measure on: driver state, host root, and the folders of the daemons.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::stats::Millis;

/// One node; its folders go with it.
pub struct Node {
    dir: TempDir,
}

impl Node {
    /// Lays a node down on which each NVML call takes `latency`.
    pub fn new(preset: &str, latency: Duration) -> Result<Node> {
        let dir = tempfile::Builder::new()
            .prefix("gantry-bench-")
            .tempdir()
            .context("cannot create a temporary folder")?;
        let node = Node { dir };
        node.simulate(&["init".as_ref(), "--preset".as_ref(), preset.as_ref(), node.state().as_os_str()])?;
        let root = node.driver_root();
        node.simulate(&["--dir".as_ref(), node.state().as_os_str(), "root".as_ref(), root.as_os_str()])?;
        if !latency.is_zero() {
            let setting = OsString::from(format!("latency={}ms", Millis(latency)));
            node.simulate(&["--dir".as_ref(), node.state().as_os_str(), "set".as_ref(), &setting])?;
        }
        fs::create_dir_all(node.call_log())?;
        Ok(node)
    }

    fn simulate(&self, args: &[&std::ffi::OsStr]) -> Result<()> {
        let program = std::env::current_exe()
            .context("cannot tell where this program lies")?
            .with_file_name("nvml-sim");
        let output = Command::new(&program).args(args).output().with_context(|| {
            format!(
                "cannot run {}: build it with `cargo build --release --workspace --bins`",
                program.display()
            )
        })?;
        ensure!(
            output.status.success(),
            "{}: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("driver")
    }

    /// The host root, which is the driver root as well.
    pub fn driver_root(&self) -> PathBuf {
        self.path("root")
    }

    /// Where the kubelet's socket lies.
    pub fn plugin_dir(&self) -> PathBuf {
        self.path("kubelet/device-plugins")
    }

    /// Where the simulated driver records calls, if the folder is there.
    fn call_log(&self) -> PathBuf {
        self.state().join("calls")
    }

    /// The file for a program's own words.
    pub fn log(&self, program: &str) -> Result<File> {
        let path = self.path(&format!("{program}.log"));
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// What any program needs to see the simulated driver.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let libraries = self.driver_root().join("usr/lib/x86_64-linux-gnu");
        vec![
            ("NVML_SIM_DIR", self.state().into()),
            ("LD_LIBRARY_PATH", libraries.into()),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ]
    }

    /// Flags that root our plugin in this node.
    pub fn gantry_flags(&self) -> Vec<OsString> {
        let flag = |name: &str, value: &Path| {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flag
        };
        vec![
            flag("host-root", &self.driver_root()),
            flag("driver-root", &self.driver_root()),
            flag("kubelet-dir", &self.path("kubelet")),
            flag("run-dir", &self.path("run")),
            flag("cdi-dir", &self.path("cdi")),
            "--cdi-proof=assume".into(),
            "--admin-address=127.0.0.1:0".into(),
        ]
    }

    /// Counts the NVML calls that programs make on this node.
    pub fn call_counter(&self) -> CallCounter {
        CallCounter(self.call_log())
    }
}

/// Counts the NVML calls of all programs on one node.
#[derive(Clone)]
pub struct CallCounter(PathBuf);

impl CallCounter {
    /// Calls so far.
    pub fn count(&self) -> Result<u64> {
        let mut calls = 0;
        for entry in fs::read_dir(&self.0).context("no record of NVML calls")? {
            let path = entry?.path();
            let record = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            calls += record.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        Ok(calls)
    }
}
