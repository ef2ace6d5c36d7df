//! What a container can do with GPUs, found out by trying.
//!
//! Runs inside test pods. Trusts no list and no environment: it opens devices, makes the nodes of others
//! itself and opens those, and lets the dynamic loader look for the driver's libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, major, makedev, minor, mknodat};
use serde::{Deserialize, Serialize};

/// Set for the child whose loader is watched.
const LOADED_BY: &str = "GPU_PROBE_PRELOADED";

/// A device number as `major:minor`.
pub type Number = String;

/// The control nodes that every pod with a GPU has.
pub const CONTROL_NODES: [&str; 4] = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"];

/// The folder of /dev that has the capabilities of MIG instances.
const CAPABILITIES: &str = "nvidia-caps";

/// What was found. Opening gives `ok` or the error's text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// `NVIDIA_VISIBLE_DEVICES`.
    pub visible: Option<String>,
    /// Every character device in /dev whose name begins with `nvidia`, and in /dev/nvidia-caps: its number.
    pub nodes: BTreeMap<String, Number>,
    /// The same: what opening it gave.
    pub opened: BTreeMap<String, String>,
    /// Each number that was asked for: what opening a node made for it here gave.
    pub made: BTreeMap<Number, String>,
    /// Each library that was asked for: the file that the loader took, if it found one.
    pub libraries: BTreeMap<String, Option<PathBuf>>,
}

/// Finds out. `numbers` are device numbers to try, `libraries` names to let the loader look for.
///
/// # Errors
/// When something other than a refusal stands in the way.
pub fn report(numbers: &[Number], libraries: &[String]) -> Result<Report> {
    let mut report = Report { visible: env::var("NVIDIA_VISIBLE_DEVICES").ok(), ..Report::default() };
    try_nodes("", &mut report)?;
    if Path::new("/dev").join(CAPABILITIES).is_dir() {
        try_nodes(CAPABILITIES, &mut report)?;
    }
    for number in numbers {
        report.made.insert(number.clone(), make_and_open(number)?);
    }
    report.libraries = load(libraries)?;
    Ok(report)
}

/// Opens every NVIDIA device in this folder of /dev.
fn try_nodes(folder: &str, report: &mut Report) -> Result<()> {
    let path = Path::new("/dev").join(folder);
    let context = || format!("read {}", path.display());
    for entry in fs::read_dir(&path).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = Path::new(folder).join(entry.file_name()).to_string_lossy().into_owned();
        let metadata = entry.metadata().with_context(|| format!("stat /dev/{name}"))?;
        if name.starts_with("nvidia") && metadata.file_type().is_char_device() {
            let number = metadata.rdev();
            report.nodes.insert(name.clone(), format!("{}:{}", major(number), minor(number)));
            report.opened.insert(name, open(&entry.path()));
        }
    }
    Ok(())
}

/// In the child whose loader is watched: prints the files that are mapped. False in any other process.
///
/// # Errors
/// When they cannot be read.
pub fn list_mapped_files_if_asked(out: &mut impl io::Write) -> Result<bool> {
    if env::var_os(LOADED_BY).is_none() {
        return Ok(false);
    }
    for file in mapped_files()? {
        writeln!(out, "{}", file.display()).context("write to standard output")?;
    }
    Ok(true)
}

fn open(path: &Path) -> String {
    match File::options().read(true).write(true).open(path) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What a curious program does that knows a device's number.
fn make_and_open(number: &str) -> Result<String> {
    let parsed =
        number.split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let Some((major, minor)) = parsed else { bail!("{number:?}: a device number is MAJOR:MINOR") };
    let path = PathBuf::from(format!("/dev/made-{major}-{minor}"));
    if let Err(error) =
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(major, minor))
    {
        return Ok(format!("mknod: {}", io::Error::from(error)));
    }
    let opened = open(&path);
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    Ok(opened)
}

/// Starts this program again with the libraries as its loader's first task, and looks at what was mapped. The
/// loader searches for a preloaded name without a slash just as for a library that a program was linked with.
fn load(libraries: &[String]) -> Result<BTreeMap<String, Option<PathBuf>>> {
    if libraries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let this = env::current_exe().context("find this program")?;
    let output = Command::new(this)
        .env(LOADED_BY, "yes")
        .env("LD_PRELOAD", libraries.join(":"))
        .output()
        .context("start this program again")?;
    if !output.status.success() {
        bail!("with the libraries loaded: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let mapped: BTreeSet<PathBuf> =
        String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect();
    let found = |library: &String| {
        // The loader maps the name that it found, links resolved by the kernel: libcuda.so.1 shows as
        // libcuda.so.580.95.05 where one is a link to the other.
        let stem = library.split(".so").next().unwrap_or(library);
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.split(".so").next() == Some(stem)
        };
        mapped.iter().find(is_it).cloned()
    };
    Ok(libraries.iter().map(|library| (library.clone(), found(library))).collect())
}

fn mapped_files() -> Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps").context("read /proc/self/maps")?;
    Ok(maps
        .lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)))
        .map(PathBuf::from)
        .collect())
}
