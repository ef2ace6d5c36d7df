//! Signals, drain, failing tasks: each with a daemon in a process of its own, whose code stands in the same test.

use std::convert::Infallible;
use std::future::Future;
use std::process::ExitCode;

use clap::Parser;
use daemon::{About, Runtime, RuntimeArgs};
use rustix::process::Signal;

use crate::http::{get, status};
use crate::process::{Daemon, PART};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

const ABOUT: About = About { name: "gpu-example", admin_port: 0 };

/// In the child: runs the daemon, and ends the process as its `main` would.
#[expect(clippy::disallowed_methods, reason = "a test's process has no main of ours to return from")]
fn play<F: Future<Output = ()>>(flags: &[&str], set_up: impl FnOnce(&Runtime) -> F) {
    if std::env::var(PART).is_err() {
        return;
    }
    let mut args = Args::parse_from(["gpu-example", "--log-level=debug"].iter().chain(flags));
    args.runtime.admin_address.get_or_insert_with(|| ([127, 0, 0, 1], 0).into());
    let code = daemon::block_on(async {
        match Runtime::start(&args.runtime, ABOUT).await {
            Ok(runtime) => {
                set_up(&runtime).await;
                runtime.run_until_done().await
            }
            Err(error) => daemon::fail(&error),
        }
    });
    let codes = [0, 1, 2, 130, 143];
    std::process::exit(codes.into_iter().find(|known| code == ExitCode::from(*known)).map_or(99, i32::from));
}

#[test]
fn daemon_that_is_asked_to_end_drains_and_exits_with_0() {
    play(&[], |runtime| {
        let shutdown = runtime.shutdown();
        runtime.spawn("worker", async move {
            tracing::info!("the task runs");
            shutdown.requested().await;
            tracing::info!("the task drains");
            Ok::<_, Infallible>(())
        });
        std::future::ready(())
    });
    let mut daemon = Daemon::start("lifetime::daemon_that_is_asked_to_end_drains_and_exits_with_0");
    daemon.wait_for("the task runs");
    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the task drains") && log.contains("drained"), "{log}");
}

#[test]
fn daemon_that_drains_answers_not_ready_and_a_second_signal_ends_it_at_once() {
    play(&["--drain-deadline=1h"], |runtime| {
        runtime.spawn("stubborn", async {
            tracing::info!("the task runs");
            std::future::pending::<Result<(), Infallible>>().await
        });
        std::future::ready(())
    });
    let mut daemon =
        Daemon::start("lifetime::daemon_that_drains_answers_not_ready_and_a_second_signal_ends_it_at_once");
    let line = daemon.wait_for("admin server listening");
    let address = line.trim().rsplit("address=").next().unwrap().parse().unwrap();
    daemon.wait_for("the task runs");
    daemon.signal(Signal::TERM);
    daemon.wait_for("shutting-down");
    let ready = tokio::runtime::Runtime::new().unwrap().block_on(get(address, "/ready"));
    assert!(status(&ready).contains(" 503 ") && ready.contains("shutting-down"), "{ready}");

    daemon.signal(Signal::INT);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(130), "{log}");
    assert!(log.contains("second signal"), "{log}");
}

#[test]
fn daemon_without_an_admin_address_answers_over_ipv4() {
    // Only with net.ipv6.bindv6only=1 could it be otherwise.
    if std::env::var(PART).is_ok() {
        let code = daemon::block_on(async {
            let args = Args::parse_from(["gpu-example"]).runtime;
            let runtime = Runtime::start(&args, ABOUT).await.unwrap();
            runtime.run_until_done().await
        });
        assert_eq!(code, ExitCode::SUCCESS);
        return;
    }
    let mut daemon = Daemon::start("lifetime::daemon_without_an_admin_address_answers_over_ipv4");
    let line = daemon.wait_for("admin server listening");
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let address = ([127, 0, 0, 1], port).into();
    let live = tokio::runtime::Runtime::new().unwrap().block_on(get(address, "/live"));
    assert!(status(&live).contains(" 200 "), "{live}");
    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn daemon_whose_task_misses_the_drain_deadline_names_it_and_exits_with_1() {
    play(&["--drain-deadline=20ms"], |runtime| {
        runtime.spawn("stubborn", std::future::pending::<Result<(), Infallible>>());
        runtime.shutdown().request();
        std::future::ready(())
    });
    let daemon =
        Daemon::start("lifetime::daemon_whose_task_misses_the_drain_deadline_names_it_and_exits_with_1");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("drain deadline") && log.contains("stubborn"), "{log}");
}

#[test]
fn daemon_whose_task_fails_lets_the_others_drain_and_exits_with_1_and_the_chain() {
    play(&[], |runtime| {
        let shutdown = runtime.shutdown();
        runtime.spawn("bystander", async move {
            shutdown.requested().await;
            tracing::info!("the bystander drains");
            Ok::<_, Infallible>(())
        });
        runtime
            .spawn("broken", async { Err(anyhow::anyhow!("disk on fire").context("cannot write the spec")) });
        std::future::ready(())
    });
    let daemon = Daemon::start(
        "lifetime::daemon_whose_task_fails_lets_the_others_drain_and_exits_with_1_and_the_chain",
    );
    let (code, log) = daemon.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("cannot write the spec: disk on fire") && log.contains("broken"), "{log}");
    assert!(log.contains("the bystander drains"), "{log}");
}

#[test]
fn daemon_that_drains_after_a_failed_task_takes_the_first_signal_for_the_first() {
    play(&["--drain-deadline=1h"], |runtime| {
        let shutdown = runtime.shutdown();
        runtime.spawn("stubborn", async move {
            shutdown.requested().await;
            tracing::info!("the task drains");
            std::future::pending::<Result<(), Infallible>>().await
        });
        runtime.spawn("broken", async { Err(anyhow::anyhow!("disk on fire")) });
        std::future::ready(())
    });
    let mut daemon = Daemon::start(
        "lifetime::daemon_that_drains_after_a_failed_task_takes_the_first_signal_for_the_first",
    );
    daemon.wait_for("the task drains");
    daemon.signal(Signal::TERM);
    daemon.wait_for("signal received");
    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(143), "{log}");
    assert!(log.contains("second signal"), "{log}");
}

#[test]
fn daemon_whose_task_panics_exits_with_1_and_the_message() {
    play(&[], |runtime| {
        let tasks = runtime.tasks();
        runtime.spawn("parent", async move {
            // A task of a task counts as well.
            tasks.spawn("child", async {
                tokio::task::yield_now().await;
                panic!("the sky fell");
                #[expect(unreachable_code, reason = "gives the future its type")]
                Ok::<_, Infallible>(())
            });
            Ok::<_, Infallible>(())
        });
        std::future::ready(())
    });
    let daemon = Daemon::start("lifetime::daemon_whose_task_panics_exits_with_1_and_the_message");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("task panicked") && log.contains("the sky fell"), "{log}");
}

#[test]
fn daemon_that_logs_json_writes_one_object_per_line() {
    play(&["--log-format=json"], |runtime| {
        runtime.shutdown().request();
        std::future::ready(())
    });
    let (code, log) = Daemon::start("lifetime::daemon_that_logs_json_writes_one_object_per_line").end();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let starting = lines.iter().find(|line| line["message"] == "starting").unwrap();
    assert_eq!((&starting["level"], &starting["name"]), (&"INFO".into(), &"gpu-example".into()));
}

/// The log's lines, each of which has to be an object.
fn objects(log: &str) -> Vec<serde_json::Value> {
    let object = |line| {
        let object: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(object.is_ok(), "{line}");
        object.unwrap()
    };
    log.lines().map(object).collect()
}

#[test]
fn daemon_that_logs_json_and_cannot_start_says_so_in_json() {
    play(&["--log-format=json", "--admin-address=192.0.2.1:1"], |_| std::future::ready(()));
    let (code, log) = Daemon::start("lifetime::daemon_that_logs_json_and_cannot_start_says_so_in_json").end();
    assert_eq!(code, Some(1), "{log}");
    let lines = objects(&log);
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR", "{log}");
    let error = last["error"].as_str().unwrap();
    assert!(error.starts_with("cannot listen on the admin address 192.0.2.1:1: "), "{log}");
}

#[test]
fn daemon_that_logs_json_and_panics_says_so_in_json_with_the_place() {
    play(&["--log-format=json"], |runtime| {
        runtime.spawn("broken", async {
            tokio::task::yield_now().await;
            panic!("the sky fell");
            #[expect(unreachable_code, reason = "gives the future its type")]
            Ok::<_, Infallible>(())
        });
        std::future::ready(())
    });
    let (code, log) =
        Daemon::start("lifetime::daemon_that_logs_json_and_panics_says_so_in_json_with_the_place").end();
    assert_eq!(code, Some(1), "{log}");
    let lines = objects(&log);
    let panic = lines.iter().find(|line| line["message"] == "panicked").unwrap();
    assert_eq!(panic["panic"], "the sky fell", "{log}");
    assert!(panic["location"].as_str().unwrap().contains("lifetime.rs:"), "{log}");
    assert!(lines.iter().any(|line| line["message"] == "task panicked" && line["task"] == "broken"), "{log}");
}

#[test]
fn daemon_whose_vital_task_is_done_before_the_request_to_end_exits_with_1_and_names_it() {
    play(&[], |runtime| {
        let shutdown = runtime.shutdown();
        // Done when it may be.
        runtime.spawn_vital("patient", async move {
            shutdown.requested().await;
            Ok::<_, Infallible>(())
        });
        runtime.spawn("passing", async { Ok::<_, Infallible>(()) });
        runtime.spawn_vital("early", async { Ok::<_, Infallible>(()) });
        std::future::ready(())
    });
    let daemon = Daemon::start(
        "lifetime::daemon_whose_vital_task_is_done_before_the_request_to_end_exits_with_1_and_names_it",
    );
    let (code, log) = daemon.end();
    assert_eq!(code, Some(1), "{log}");
    let failed: Vec<_> = log.lines().filter(|line| line.contains("task failed")).collect();
    assert_eq!(failed.len(), 1, "{log}");
    assert!(failed[0].contains("early") && failed[0].contains("nothing without it"), "{log}");
}

#[test]
fn daemon_whose_admin_address_is_not_of_this_machine_says_so_and_exits_with_1() {
    // 192.0.2.0/24 is for documentation, and nobody's.
    play(&["--admin-address=192.0.2.1:1"], |_| std::future::ready(()));
    let test = "lifetime::daemon_whose_admin_address_is_not_of_this_machine_says_so_and_exits_with_1";
    let (code, log) = Daemon::start(test).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("cannot listen on the admin address 192.0.2.1:1: "), "{log}");
}
