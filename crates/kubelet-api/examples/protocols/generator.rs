//! Makes the code under `src/gen` from `proto/`. Reads and returns, never writes.
//! Shared by the `protocols` example and the drift test.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost_types::FileDescriptorSet;

/// A protocol: its file under `proto/`, the module file under `src/gen`, and what prost calls that file.
struct Protocol {
    proto: &'static str,
    module: &'static str,
    package_file: &'static str,
}

const PROTOCOLS: [Protocol; 3] = [
    Protocol {
        proto: "deviceplugin/v1beta1/api.proto",
        module: "deviceplugin.v1beta1.rs",
        package_file: "v1beta1.rs",
    },
    Protocol {
        proto: "pluginregistration/v1/api.proto",
        module: "pluginregistration.v1.rs",
        package_file: "pluginregistration.rs",
    },
    Protocol { proto: "podresources/v1/api.proto", module: "podresources.v1.rs", package_file: "v1.rs" },
];

/// Descriptors of all protocols, for comparison with other implementations.
pub fn descriptors() -> Result<FileDescriptorSet, Box<dyn Error>> {
    Ok(protox::compile(PROTOCOLS.map(|protocol| protocol.proto), [proto_dir()])?)
}

/// The text of every generated file by its path.
pub fn generate() -> Result<BTreeMap<PathBuf, String>, Box<dyn Error>> {
    let mut files = BTreeMap::new();
    for protocol in &PROTOCOLS {
        // One run each: prost names a file after its package, and packages of two protocols could be alike.
        let out = tempfile::tempdir()?;
        tonic_prost_build::configure()
            .out_dir(out.path())
            // Ordered maps: the same answer has the same bytes every time.
            .btree_map(".")
            .emit_rerun_if_changed(false)
            .compile_fds(protox::compile([protocol.proto], [proto_dir()])?)?;
        let code = fs::read_to_string(out.path().join(protocol.package_file))?;
        let text =
            format!("// Made by `cargo xtask gen` from proto/{}. Do not edit.\n\n{code}", protocol.proto);
        files.insert(gen_dir().join(protocol.module), text);
    }
    Ok(files)
}

/// Paths of generated files that are absent, say something else than they should, or have no protocol.
pub fn stale() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    differing(&generate()?, &gen_dir())
}

/// Paths by which the folder `dir` differs from the files `fresh`.
pub fn differing(fresh: &BTreeMap<PathBuf, String>, dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let is_stale = |(path, text): &(&PathBuf, &String)| fs::read_to_string(path).ok().as_ref() != Some(*text);
    let mut stale: Vec<PathBuf> = fresh.iter().filter(is_stale).map(|(path, _)| path.clone()).collect();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !fresh.contains_key(&path) {
            stale.push(path);
        }
    }
    Ok(stale)
}

fn proto_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

fn gen_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen")
}
