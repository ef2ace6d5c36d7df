//! The programs of others: fetched once, in the versions that this package pins, and kept below `.cache/e2e`.
//! It knows where they come from, not what they do.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "it fails and speaks as a test does"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A folder with programs of NVIDIA's, to be run instead of those that are built here.
const PEERS: &str = "PEERS";

/// How long a program of others may take to come to what a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The workspace's root.
pub fn workspace() -> PathBuf {
    package().parent().expect("a package lies in its workspace").to_owned()
}

/// This package.
pub fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end, and fails with what it said unless it ended well.
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{errors}", output.status);
    output
}

/// Go in the folder of a module, without what this machine's user may have set.
pub fn go(module: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(args).env("GOFLAGS", "-mod=readonly").env("GOWORK", "off").current_dir(module);
    command
}

/// The folder of a module of others, as one of our modules pins it.
pub fn module_of(ours: &str, path: &str) -> PathBuf {
    let ours = module(ours);
    finish(&mut go(&ours, &["mod", "download", path]));
    let told = finish(&mut go(&ours, &["list", "-m", "-f", "{{.Dir}}", path]));
    PathBuf::from(String::from_utf8_lossy(&told.stdout).trim())
}

/// A Go module of ours, whose `go.mod` and `go.sum` pin those of others: `go-walk`, or one below `peers`.
fn module(name: &str) -> PathBuf {
    let own = package().join(name);
    if own.is_dir() { own } else { package().join("peers").join(name) }
}

/// A program of NVIDIA's: from the folder that `PEERS` names if it is there, else built from its module.
pub fn peer(module: &str, name: &str) -> PathBuf {
    let given = std::env::var_os(PEERS).map(|folder| workspace().join(folder).join(name));
    given.filter(|program| program.is_file()).unwrap_or_else(|| built(module).join(name))
}

/// The folder of a Go module's programs, built anew when its sources or versions are others.
pub fn built(name: &str) -> PathBuf {
    let sources = module(name);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let wanted: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    let has_code = files.iter().any(|file| file.extension().is_some_and(|extension| extension == "go"));
    let (folder, _lock) = cache(name);
    let mark = folder.join("built");
    if fs::read(&mark).is_ok_and(|built| built == wanted) {
        return folder;
    }
    println!("building {name}, which takes a minute or two the first time");
    let mut build = go(&sources, &["build", "-o"]);
    finish(build.arg(format!("{}/", folder.display())).arg(if has_code { "." } else { "tool" }));
    fs::write(mark, wanted).unwrap();
    folder
}

/// The Python of a virtual environment with the packages of `python/requirements.txt`. It is whole when the mark is
/// there, which says what is in it: a run that was ended in the middle leaves none.
pub fn python() -> PathBuf {
    let (home, _lock) = cache("python");
    let python = home.join("bin/python3");
    let requirements = package().join("python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let mark = home.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    finish(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements),
    );
    fs::write(mark, wanted).unwrap();
    python
}

/// A folder of the cache, held by one test at a time: tests of one run start together.
pub fn cache(name: &str) -> (PathBuf, File) {
    let folder = workspace().join(".cache/e2e").join(name);
    fs::create_dir_all(&folder).expect("make a folder in .cache");
    let lock = File::create(folder.with_extension("lock")).expect("make a lock file");
    lock.lock().expect("lock a file");
    (folder, lock)
}
