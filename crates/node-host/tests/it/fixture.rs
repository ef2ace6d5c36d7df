//! Hosts made of temporary folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use node_host::{DriverRoot, HostPath, HostRoot, LocalPath};
use tempfile::TempDir;

pub const VERSION: &str = "580.95.05";

/// A temporary folder that is a host's root.
pub struct Host {
    folder: TempDir,
}

impl Host {
    pub fn empty() -> Host {
        Host { folder: tempfile::tempdir().unwrap() }
    }

    /// A host with a driver whose libraries stand in `folder`.
    pub fn with_driver(folder: &str) -> Host {
        let host = Host::empty();
        for stem in ["libnvidia-ml", "libcuda"] {
            host.library(folder, stem, VERSION, &["1"]);
        }
        // Internal libraries bear their SONAME as their name.
        host.library(folder, "libnvidia-glcore", VERSION, &[]);
        host.library(&format!("{folder}/vdpau"), "libvdpau_nvidia", VERSION, &["1"]);
        host.library(folder, "libnvidia-egl-wayland", "1.1.19", &["1"]);
        host.link("libnvidia-glcore.so.580.95.05", &format!("{folder}/libnvidia-glcore.so"));
        host.file("usr/bin/nvidia-smi", "#!/bin/sh\n");
        // What is not the driver's.
        host.library(folder, "libc", "6", &[]);
        host.library(folder, "libnvidia-container", "1.17.8", &["1"]);
        host.library(folder, "libnvidia-ptxjitcompiler", "470.57.02", &["1"]);
        host.file("usr/bin/nvidia-container-cli", "");
        host
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub fn file(&self, inside: &str, content: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn dir(&self, inside: &str) {
        fs::create_dir_all(self.path(inside)).unwrap();
    }

    pub fn link(&self, target: impl AsRef<Path>, inside: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// `<stem>.so.<version>` with a link for each SONAME number.
    pub fn library(&self, folder: &str, stem: &str, version: &str, sonames: &[&str]) {
        let file = format!("{stem}.so.{version}");
        self.file(&format!("{folder}/{file}"), &file);
        for number in sonames {
            self.link(&file, &format!("{folder}/{stem}.so.{number}"));
        }
    }

    /// As [`Host::library`], with a plain file under each name, as where each is mounted into a container.
    pub fn plain_library(&self, folder: &str, stem: &str, version: &str, names: &[&str]) {
        for name in names {
            self.file(&format!("{folder}/{stem}{name}"), stem);
        }
        self.file(&format!("{folder}/{stem}.so.{version}"), stem);
    }

    pub fn root(&self) -> HostRoot {
        HostRoot::new(self.folder.path())
    }

    pub fn local(&self, inside: &str) -> LocalPath {
        LocalPath::new(self.path(inside))
    }

    /// A driver installed on the host itself.
    pub fn driver(&self) -> DriverRoot {
        DriverRoot::below(&self.root(), LocalPath::new(self.folder.path())).unwrap()
    }

    /// A driver installed in a folder of the host.
    pub fn driver_in(&self, inside: &str) -> DriverRoot {
        DriverRoot::below(&self.root(), self.local(inside)).unwrap()
    }
}

/// This test binary, run again for one test, which then plays another process. It is killed when dropped.
pub struct Part(Child);

impl Part {
    /// Runs the test `test` with the variable `name` set to `value`.
    pub fn start(test: &str, name: &str, value: PathBuf) -> Part {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Part(child)
    }

    /// Waits for what the other process does.
    pub fn wait_until(&mut self, is_done: impl Fn() -> bool) {
        while !is_done() {
            assert!(self.0.try_wait().unwrap().is_none(), "the other process ended by itself");
            std::thread::yield_now();
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn host_path(text: &str) -> HostPath {
    text.parse().unwrap()
}
