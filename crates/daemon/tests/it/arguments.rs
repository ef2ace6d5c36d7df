//! The arguments that all daemons share.

use std::env;
use std::process::Command;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use daemon::RuntimeArgs;
use daemon::log::{LogFilter, LogFormat};

use crate::process::without_our_variables;

#[derive(Debug, Parser)]
#[command(name = "gpu-example")]
struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

fn parse(flags: &[&str]) -> Result<RuntimeArgs, clap::Error> {
    Args::try_parse_from(std::iter::once("gpu-example").chain(flags.iter().copied())).map(|args| args.runtime)
}

/// Whether this process has none of our variables; if not, runs the test again in one that has none.
fn has_clean_environment(test: &str) -> bool {
    let is_clean = env::vars_os().all(|(name, _)| !name.to_string_lossy().starts_with("GANTRY_"));
    if !is_clean {
        let ended = without_our_variables(&mut Command::new(env::current_exe().unwrap()))
            .args(["--exact", test])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }
    is_clean
}

#[test]
fn arguments_without_flags_are_those_of_a_node() {
    if !has_clean_environment("arguments::arguments_without_flags_are_those_of_a_node") {
        return;
    }
    let args = parse(&[]).unwrap();
    assert_eq!(args.run_dir.to_str(), Some("/run/gantry"));
    assert_eq!(args.host_root.to_str(), Some("/"));
    assert_eq!((args.log_format, args.log_level.to_string()), (LogFormat::Text, "info".to_owned()));
    assert_eq!((args.admin_address, args.drain_deadline), (None, Duration::from_secs(10)));
}

#[test]
fn every_flag_has_its_variable() {
    for arg in Args::command().get_arguments().filter(|arg| arg.get_long().is_some()) {
        let flag = arg.get_long().unwrap();
        let expected = format!("GANTRY_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "--{flag}");
    }
}

#[test]
fn value_that_makes_no_sense_is_a_usage_error_that_shows_it() {
    if !has_clean_environment("arguments::value_that_makes_no_sense_is_a_usage_error_that_shows_it") {
        return;
    }
    let cases = [
        ("--log-level", "loud"),
        ("--log-level", "info,hyper=loud"),
        ("--log-level", "loud,quiet"),
        ("--log-level", "info,loud"),
        ("--log-level", ""),
        ("--log-format", "xml"),
        ("--admin-address", "9401"),
        ("--drain-deadline", "10"),
        ("--drain-deadline", "-1s"),
        ("--drain-deadline", "99999999999999999999s"),
    ];
    for (flag, value) in cases {
        let error = parse(&[&format!("{flag}={value}")]).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{flag} {value}");
        assert!(error.to_string().contains(value), "{error}");
    }
}

#[test]
fn log_levels_and_directives_that_tracing_knows_are_taken() {
    for text in ["info", "off", "warn,hyper=debug", "info,gpu_device_plugin=trace", "info,[call{gpu}]=debug"]
    {
        assert!(text.parse::<LogFilter>().is_ok(), "{text}");
    }
}

#[test]
fn durations_are_read_in_every_unit() {
    let read = |text: &str| daemon::parse_duration(text).unwrap();
    assert_eq!(
        [read("500ms"), read("90s"), read("2m"), read("1h")].map(|duration| duration.as_millis()),
        [500, 90_000, 120_000, 3_600_000]
    );
}
