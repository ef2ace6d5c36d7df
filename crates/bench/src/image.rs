//! Sizes of the images that `cargo xtask image` built, which it writes down beside the archives.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What a node pulls of a program's image, in megabytes (10^6 bytes).
///
/// # Errors
/// There is no image yet.
pub fn compressed_mb(program_of: &str) -> Result<f64> {
    let program = env::current_exe().context("cannot tell where this program lies")?;
    let Some(target) = target_dir(&program) else {
        bail!("{} lies in no target folder of cargo", program.display());
    };
    read(&target.join("images").join(format!("{program_of}.size")))
}

fn read(path: &Path) -> Result<f64> {
    let Ok(text) = fs::read_to_string(path) else { bail!("no {}: run `make images` first", path.display()) };
    let bytes: u64 = text.trim().parse().with_context(|| format!("{}: {text:?}", path.display()))?;
    Ok(bytes as f64 / 1e6)
}

/// Cargo's target folder, wherever it was told to have it: the one above this program that it has marked.
fn target_dir(program: &Path) -> Option<PathBuf> {
    program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_read_from_the_file_beside_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gpu-device-plugin.size");
        assert!(read(&file).unwrap_err().to_string().contains("make images"));
        fs::write(&file, "4531200\n").unwrap();
        assert!((read(&file).unwrap() - 4.5312).abs() < 1e-9);
        fs::write(&file, "4 MB").unwrap();
        assert!(read(&file).is_err());
    }

    #[test]
    fn target_folder_is_the_one_that_cargo_marked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("CACHEDIR.TAG"), "").unwrap();
        assert_eq!(target_dir(&dir.path().join("triple/release/bench")).as_deref(), Some(dir.path()));
    }
}
