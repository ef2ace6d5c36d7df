//! Which program this is, and what it was built from.

use serde::Serialize;

/// What a daemon is called, and the port that it has by convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The program's name, such as `gpu-device-plugin`.
    pub name: &'static str,
    /// Admin port where no address is given.
    pub admin_port: u16,
}

/// What a binary was built from; `/version` and `gantry_build_info` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The program's name.
    pub name: &'static str,
    /// Release.
    pub version: &'static str,
    /// Commit, or `unknown`: the build takes it from `GANTRY_BUILD_COMMIT`.
    pub commit: &'static str,
    /// Version of the compiler.
    pub rustc: &'static str,
}

impl BuildInfo {
    /// What this binary was built from. All crates of the workspace have one version.
    pub const fn of(name: &'static str) -> BuildInfo {
        let commit = match option_env!("GANTRY_BUILD_COMMIT") {
            Some(commit) if !commit.is_empty() => commit,
            _ => "unknown",
        };
        BuildInfo { name, version: env!("CARGO_PKG_VERSION"), commit, rustc: env!("GANTRY_BUILD_RUSTC") }
    }
}
