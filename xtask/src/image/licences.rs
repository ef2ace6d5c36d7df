//! The licences in an image: Gantry's, those of the crates in the program, of Rust's standard library, glibc and libgcc.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::image::metadata::{Metadata, Package};
use crate::root;

/// Debian's licence texts of the libraries in the image, and the licence's name. On another distribution the texts may
/// be missing; the licences are then named, not quoted.
const LIBRARIES: [(&str, &str, &str); 2] = [
    ("glibc", "/usr/share/doc/libc6/copyright", "LGPL-2.1-or-later"),
    ("libgcc", "/usr/share/doc/libgcc-s1/copyright", "GPL-3.0-or-later WITH GCC-exception-3.1"),
];

/// Whole licence texts, which Debian's own refer to.
const COMMON: &str = "/usr/share/common-licenses/";

/// The notices of the standard library and all that is in it, below the toolchain's folder.
const RUST: &str = "share/doc/rust/COPYRIGHT-library.html";

/// Writes all licences of an image into `folder`.
pub fn write(folder: &Path, package: &str, metadata: &Metadata) -> Result<()> {
    fs::create_dir_all(folder.join("common")).with_context(|| format!("create {}", folder.display()))?;
    fs::copy(root().join("LICENSE"), folder.join("gantry")).context("copy LICENSE")?;
    fs::write(folder.join("crates"), of_crates(&metadata.linked_into(package))?)
        .context("write crates' licences")?;
    quote(&toolchain()?.join(RUST), &folder.join("rust.html"), "MIT OR Apache-2.0")?;
    let mut referred = BTreeSet::new();
    for (library, text, licence) in LIBRARIES {
        let quoted = quote(Path::new(text), &folder.join(library), licence)?;
        referred.extend(common_licences(&quoted).map(str::to_owned));
    }
    for name in referred {
        let from = Path::new(COMMON).join(&name);
        fs::copy(&from, folder.join("common").join(name))
            .with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

/// Copies a licence text, or names the licence when there is none here. Returns what was written.
fn quote(from: &Path, to: &Path, licence: &str) -> Result<String> {
    let text = match from.is_file() {
        true => fs::read(from).with_context(|| format!("read {}", from.display()))?,
        false => format!("{licence}; the build machine has no {}\n", from.display()).into_bytes(),
    };
    fs::write(to, &text).with_context(|| format!("write {}", to.display()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The names of the whole texts that a licence text refers to.
fn common_licences(text: &str) -> impl Iterator<Item = &str> {
    text.split(COMMON).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c)).unwrap_or(rest.len());
        rest[..end].trim_end_matches('.')
    })
}

/// The folder of the Rust that builds.
fn toolchain() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(root())
        .output()
        .context("start rustc")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The licence files of each crate, one after the other.
fn of_crates(packages: &[&Package]) -> Result<String> {
    let mut text = String::new();
    for package in packages {
        let licence = package.license.as_deref().unwrap_or("see its text");
        writeln!(text, "==== {} {} ({licence})", package.name, package.version)?;
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        let mut files: Vec<_> = fs::read_dir(folder)
            .with_context(|| format!("read {}", folder.display()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file() && is_licence(path))
            .collect();
        files.sort();
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            writeln!(text, "{}", String::from_utf8_lossy(&bytes))?;
        }
    }
    Ok(text)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_texts_that_another_refers_to_are_found_without_the_full_stop() {
        let text = "see `/usr/share/common-licenses/GPL-3'. Or\n/usr/share/common-licenses/LGPL-2.1. End";
        assert_eq!(common_licences(text).collect::<Vec<_>>(), ["GPL-3", "LGPL-2.1"]);
    }

    #[test]
    fn licences_of_an_image_are_whole_texts_or_names() {
        let folder = tempfile::tempdir().unwrap();
        let quoted = quote(Path::new("/none"), &folder.path().join("x"), "MIT").unwrap();
        assert_eq!(quoted, "MIT; the build machine has no /none\n");
        assert_eq!(fs::read_to_string(folder.path().join("x")).unwrap(), quoted);
    }
}
