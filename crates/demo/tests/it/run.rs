//! One run of the demo in a temporary folder of its own, and what it leaves there.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

/// A running demo.
pub struct Run {
    temp: TempDir,
    child: Child,
    output: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Run {
    /// Starts it. Its temporary files have a folder of their own, whose name is short: sockets are made below it.
    pub fn start(args: &[&str]) -> Run {
        let temp = tempfile::Builder::new().prefix("d").tempdir_in("/tmp").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(args)
            .env("TMPDIR", temp.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let heard = output.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Run { temp, child, output, reader: Some(reader) }
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it has printed these words.
    pub fn until_it_says(&self, words: &str) {
        sim_node::eventually(&format!("the demo says {words:?}"), PATIENCE, || {
            let output = self.output();
            if output.contains(words) { Ok(()) } else { Err(output) }
        })
        .unwrap();
    }

    /// Ctrl-c.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Kills the device plugin, as the show names it.
    pub fn kill_plugin(&self) {
        let output = self.output();
        let (_, after) = output.split_once("gpu-device-plugin, pid ").unwrap();
        let (pid, _) = after.split_once(':').unwrap();
        kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }

    /// Waits for its end, and asserts that neither a file nor a process is left.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = sim_node::eventually("the demo ends", PATIENCE, || {
            self.child.try_wait().unwrap().ok_or_else(|| self.output())
        })
        .unwrap();
        self.reader.take().unwrap().join().unwrap();
        let output = self.output();
        let files: Vec<_> = fs::read_dir(self.temp.path()).unwrap().collect();
        assert!(files.is_empty(), "{files:?} left by\n{output}");
        // Workers end with their daemon, by the kernel's hand: that takes a moment.
        sim_node::eventually("all its processes are gone", PATIENCE, || {
            let left = processes_of(self.temp.path());
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .unwrap();
        (status, output)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes whose command line or environment names the folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let needle = dir.as_os_str().as_bytes();
    let names = |path: &Path| {
        fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| names(&process.join("cmdline")) || names(&process.join("environ")))
        .map(|process| process.display().to_string())
        .collect()
}
