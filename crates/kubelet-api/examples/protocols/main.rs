//! Works on the protocol files in `proto/`: writes the Rust code from them, or their descriptors.
//! Not part of the library: only here and in the tests is a protobuf compiler linked.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use prost::Message;

mod generator;

const USAGE: &str = "usage: protocols generate [--check]\n       protocols descriptors FILE";

#[expect(clippy::print_stderr, reason = "a developer's command-line tool")]
fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["generate"] => generate(),
        ["generate", "--check"] => check(),
        ["descriptors", file] => write_descriptors(Path::new(file)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), Box<dyn Error>> {
    for (path, text) in generator::generate()? {
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn check() -> Result<(), Box<dyn Error>> {
    let stale = generator::stale()?;
    if stale.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = stale.iter().map(|path| path.display().to_string()).collect();
    Err(format!("differs from proto/, run `cargo xtask gen`: {}", names.join(", ")).into())
}

fn write_descriptors(file: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = generator::descriptors()?.encode_to_vec();
    fs::write(file, bytes).map_err(|error| format!("cannot write {}: {error}", file.display()).into())
}
