//! The arguments that all daemons share.

use std::time::Duration;

use clap::{CommandFactory, Parser};
use daemon::RuntimeArgs;
use daemon::log::LogFormat;

#[derive(Debug, Parser)]
#[command(name = "gpu-example")]
struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

fn parse(flags: &[&str]) -> Result<RuntimeArgs, clap::Error> {
    Args::try_parse_from(std::iter::once("gpu-example").chain(flags.iter().copied())).map(|args| args.runtime)
}

#[test]
fn arguments_without_flags_are_those_of_a_node() {
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
    let cases = [
        ("--log-level", "loud"),
        ("--log-level", "info,hyper=loud"),
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
fn durations_are_read_in_every_unit() {
    let read = |text: &str| daemon::parse_duration(text).unwrap();
    assert_eq!(
        [read("500ms"), read("90s"), read("2m"), read("1h")].map(|duration| duration.as_millis()),
        [500, 90_000, 120_000, 3_600_000]
    );
}
