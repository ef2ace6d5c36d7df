//! Tells the crate which compiler builds it. The commit comes from `GANTRY_BUILD_COMMIT`, where the caller knows it.

use std::process::Command;

fn main() {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let printed = Command::new(compiler)
        .arg("--version")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok());
    let version =
        printed.as_deref().and_then(|text| text.split_whitespace().nth(1)).unwrap_or("unknown").to_owned();
    let mut instructions = std::io::stdout();
    let text = format!(
        "cargo::rustc-env=GANTRY_BUILD_RUSTC={version}\ncargo::rerun-if-env-changed=GANTRY_BUILD_COMMIT\n"
    );
    std::io::Write::write_all(&mut instructions, text.as_bytes()).unwrap_or_default();
}
