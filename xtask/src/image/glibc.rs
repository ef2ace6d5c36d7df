//! The parts of the build machine's glibc that go into an image: it is what the program was linked with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Libraries that a real libnvidia-ml.so.1 needs. On a glibc before 2.34 they hold code, later they are
/// empty, but the loader wants them all the same.
const FOR_NVML: [&str; 5] = ["libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6", "libgcc_s.so.1"];

/// The dynamic loader that programs of this architecture name.
pub fn loader() -> Result<&'static Path> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(Path::new("/lib64/ld-linux-x86-64.so.2")),
        "aarch64" => Ok(Path::new("/lib/ld-linux-aarch64.so.1")),
        other => bail!("images are built for x86_64 and aarch64, not for {other}"),
    }
}

/// Every library that `program` loads and those that NVML needs, by their paths on this machine. The same
/// paths hold in the image, since the loader has its search path built in.
pub fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output =
        Command::new(loader()?).arg("--list").arg(program).output().context("start the dynamic loader")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "list the libraries of {}: {said}{}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut found = parse(&said)?;
    let libc = found.iter().find(|path| path.ends_with("libc.so.6"));
    let folder =
        libc.and_then(|path| path.parent()).context("the program is not linked with glibc")?.to_path_buf();
    for name in FOR_NVML {
        let path = folder.join(name);
        if !path.exists() {
            bail!("{}: missing on this machine, and libnvidia-ml.so.1 needs it", path.display());
        }
        found.insert(path);
    }
    Ok(found)
}

/// Reads lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)`.
fn parse(list: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in list.lines() {
        // The kernel's own library and the loader have no arrow.
        let Some((name, place)) = line.split_once(" => ") else { continue };
        let Some((path, _)) = place.rsplit_once(" (") else { bail!("{}: {place}", name.trim()) };
        if !path.ends_with("ld-linux-x86-64.so.2") && !path.ends_with("ld-linux-aarch64.so.1") {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_libraries_parses_without_the_kernels_and_the_loader() {
        let list = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibgcc_s.so.1 => /lib/x/libgcc_s.so.1 (0x00007f1)\n\
                    \tlibc.so.6 => /lib/x/libc.so.6 (0x00007f2)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f3)\n";
        let expected = ["/lib/x/libc.so.6", "/lib/x/libgcc_s.so.1"].map(PathBuf::from);
        assert_eq!(parse(list).unwrap(), expected.into());
    }

    #[test]
    fn a_library_that_is_not_found_is_an_error_with_its_name() {
        let error = parse("\tlibmissing.so.1 => not found\n").unwrap_err();
        assert_eq!(error.to_string(), "libmissing.so.1: not found");
    }
}
