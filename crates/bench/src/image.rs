//! Size of the image that `cargo xtask image` built.

use std::fs;
use std::path::Path;

use crate::table::{Figure, Row};

/// Largest compressed image, in megabytes (10^6 bytes): the design's target.
const TARGET_MB: f64 = 15.0;

/// The row of one image archive. An OCI archive holds its layers compressed, so its size is what a node pulls.
pub fn row(peers: usize) -> Row {
    let archive =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/images/gpu-device-plugin.oci.tar"));
    let size = fs::metadata(archive).map(|metadata| metadata.len() as f64 / 1e6);
    Row {
        what: "image, compressed (MB)".to_owned(),
        ours: size.as_ref().ok().map(|mb| Figure { text: format!("{mb:.1}"), number: *mb }),
        peers: vec![None; peers],
        target: Some(TARGET_MB),
        note: if size.is_ok() { String::new() } else { "run `make images` first".to_owned() },
    }
}
