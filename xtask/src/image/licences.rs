//! The licences in an image: Gantry's, those of the crates in the program, those of glibc and libgcc.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::image::metadata::{Metadata, Package};
use crate::root;

/// Debian's licence texts of the libraries in the image. On another distribution they may be missing; the
/// libraries' licences are then named, not quoted.
const LIBRARIES: [(&str, &str); 2] =
    [("glibc", "/usr/share/doc/libc6/copyright"), ("libgcc", "/usr/share/doc/libgcc-s1/copyright")];

/// Writes all licences of an image into `folder`.
pub fn write(folder: &Path, package: &str, metadata: &Metadata) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::copy(root().join("LICENSE"), folder.join("gantry")).context("copy LICENSE")?;
    fs::write(folder.join("crates"), of_crates(&metadata.linked_into(package))?)
        .context("write crates' licences")?;
    for (library, text) in LIBRARIES {
        let to = folder.join(library);
        if Path::new(text).is_file() {
            fs::copy(text, &to).with_context(|| format!("copy {text}"))?;
        } else {
            fs::write(
                &to,
                format!("{library} from the build machine: LGPL-2.1-or-later or GPL with exception\n"),
            )
            .with_context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
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
