//! Generates the refusals: every function of nvml-sim's `symbols.txt` that `src/exports` does not implement. Also gives the
//! library the name and the needs of the real one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a real libnvidia-ml.so names in DT_NEEDED, and libgcc_s for unwinding. All are named by file, since a newer
/// glibc has no development link for those that it has merged into libc, and even where unused,
/// so that a container without one of them fails here as it would on a GPU machine.
const NEEDED: &[&str] =
    &["libpthread.so.0", "libm.so.6", "libdl.so.2", "librt.so.1", "libgcc_s.so.1", "libc.so.6"];

/// Every function of NVML. It lies with the simulator, which checks the names that people write.
const SYMBOLS: &str = "../nvml-sim/symbols.txt";

fn main() -> io::Result<()> {
    for file in [SYMBOLS, "src/exports", "build.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    for argument in ["-Wl,-soname,libnvidia-ml.so.1", "-Wl,-z,nodelete", "-Wl,--no-as-needed"] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    for library in NEEDED {
        println!("cargo::rustc-cdylib-link-arg=-l:{library}");
    }

    let known: BTreeSet<String> = fs::read_to_string(SYMBOLS)?
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(str::to_owned)
        .collect();
    let implemented = implemented(Path::new("src/exports"))?;
    if let Some(unknown) = implemented.iter().find(|name| !known.contains(*name)) {
        return Err(io::Error::other(format!("{unknown} is implemented but missing from {SYMBOLS}")));
    }
    let mut code = String::new();
    for name in known.difference(&implemented) {
        let _ = writeln!(code, "refuse!({name}{});", first_parameter(name));
    }
    let list = |names: &mut dyn Iterator<Item = &String>| {
        names.map(|name| format!("\"{name}\", ")).collect::<String>()
    };
    let _ =
        writeln!(code, "/// Functions of NVML.\npub const KNOWN: &[&str] = &[{}];", list(&mut known.iter()));
    let _ = writeln!(
        code,
        "/// Functions that refuse.\npub const REFUSED: &[&str] = &[{}];",
        list(&mut known.difference(&implemented))
    );
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("no OUT_DIR"))?;
    fs::write(out.join("refusals.rs"), code)
}

/// What a function takes first, as far as a refusal looks at it.
fn first_parameter(name: &str) -> &'static str {
    match name {
        name if name.starts_with("nvmlDevice") => " of a GPU",
        name if name.starts_with("nvmlGpuInstance") => " of a GPU instance",
        _ => "",
    }
}

/// The functions that the sources define: lines with `fn nvml…(`.
fn implemented(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        for line in fs::read_to_string(entry?.path())?.lines() {
            let defined = line.split_once("fn nvml").and_then(|(_, rest)| rest.split_once('('));
            names.extend(defined.map(|(name, _)| format!("nvml{name}")));
        }
    }
    Ok(names)
}
