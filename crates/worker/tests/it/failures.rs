//! Workers that die, lie, or never come to be.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use worker::{Backoff, CallError, State};

use crate::fake::{Do, block_on, echo, eventually, raw, spec, start};
use crate::lifetime::is_gone;

crate::tests![
    worker_dying_by_sigsegv_costs_one_call_and_names_it,
    worker_dying_before_a_process_that_it_started_is_noticed,
    worker_answering_another_shape_is_given_up_with_the_reason,
    worker_answering_bytes_that_are_no_frame_is_given_up_with_the_reason,
    worker_sending_frames_nobody_asked_for_is_given_up,
    worker_sending_a_frame_while_idle_is_given_up,
    worker_given_up_ends_with_what_it_started,
    subject_of_a_call_that_crashes_comes_back,
    supervisor_that_panics_fails_what_waits_and_what_comes_as_lost,
    watch_that_is_answered_does_not_end_a_row_of_failures,
    program_that_cannot_be_executed_is_an_error_with_its_cause,
    program_without_the_role_is_an_error_and_not_a_hang,
    worker_that_is_not_ready_fails_at_once_and_starts_when_it_is,
    workers_failing_in_a_row_are_started_ever_more_slowly,
    worker_killed_while_idle_is_replaced,
    complaints_on_standard_error_without_end_do_not_stop_the_answers,
];

fn garbage(what: &Do) -> String {
    let (worker, _) = start(spec());
    let reason = match block_on(worker.ask::<String>(what)).unwrap_err() {
        CallError::Garbage { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(echo(&worker).unwrap(), "hello");
    reason
}

fn worker_dying_by_sigsegv_costs_one_call_and_names_it() {
    let (worker, seen) = start(spec());
    match block_on(worker.ask::<()>(&Do::Segfault)).unwrap_err() {
        CallError::Crashed { call, how, subject: None } => {
            assert_eq!((call.as_str(), how.as_str()), ("fakeCrash", "signal 11 (SIGSEGV)"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(echo(&worker).unwrap(), "hello");
    assert_eq!(seen.lock().unwrap().abandoned, 0);
}

fn worker_dying_before_a_process_that_it_started_is_noticed() {
    let (worker, _) = start(spec());
    let (sender, helper) = mpsc::channel::<i32>();
    let dying = worker
        .watch::<(), i32, _>(&Do::DieBeforeHelper, Duration::ZERO, move |pid| sender.send(pid).unwrap());
    let outcome = block_on(dying);
    assert!(matches!(outcome, Err(CallError::Crashed { .. })), "{outcome:?}");
    let helper = helper.recv().unwrap().unsigned_abs();
    eventually("its process is gone too", || is_gone(helper));
}

fn worker_given_up_ends_with_what_it_started() {
    let (worker, _) = start(spec());
    let (sender, helper) = mpsc::channel::<u32>();
    let hanging =
        worker.watch::<(), u32, _>(&Do::HangWithHelper, Duration::ZERO, move |pid| sender.send(pid).unwrap());
    assert!(matches!(block_on(hanging), Err(CallError::Stuck { .. })));
    let helper = helper.recv().unwrap();
    eventually("its process is gone too", || is_gone(helper));
}

fn subject_of_a_call_that_crashes_comes_back() {
    let (worker, _) = start(spec());
    match block_on(worker.ask::<()>(&Do::SegfaultAbout(7))).unwrap_err() {
        CallError::Crashed { subject, .. } => assert_eq!(subject, Some(7)),
        other => panic!("{other:?}"),
    }
}

fn supervisor_that_panics_fails_what_waits_and_what_comes_as_lost() {
    let (worker, seen) = start(spec());
    let pid: u32 = block_on(worker.ask(&Do::Pid)).unwrap();
    let panicking = worker.watch::<(), u32, _>(&Do::Push(1), Duration::ZERO, |_| panic!("on purpose"));
    let waiting = worker.ask::<String>(&Do::Echo("never".into()));
    assert!(matches!(block_on(panicking).unwrap_err(), CallError::Lost));
    assert!(matches!(block_on(waiting).unwrap_err(), CallError::Lost));
    assert!(matches!(echo(&worker).unwrap_err(), CallError::Lost));
    eventually("it shows", || match seen.lock().unwrap().state.clone() {
        State::Lost => Ok(()),
        state => Err(format!("{state:?}")),
    });
    eventually("not even a zombie is left", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(Ok(()), Err)
    });
    block_on(worker.close());
}

fn watch_that_is_answered_does_not_end_a_row_of_failures() {
    let mut spec = spec();
    spec.backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_secs(3600) };
    let (worker, _) = start(spec);
    for _ in 0..12 {
        block_on(worker.ask::<()>(&Do::Segfault)).unwrap_err();
        let watch = worker.watch::<(), u32, _>(&Do::Push(1), Duration::ZERO, |_| {});
        if block_on(async { tokio::time::timeout(Duration::from_secs(1), watch).await }).is_err() {
            return;
        }
    }
    panic!("the pause never grew to a second");
}

fn worker_answering_another_shape_is_given_up_with_the_reason() {
    let reason = garbage(&Do::AnswerOtherShape);
    assert!(reason.contains(r#"["a","list"]"#) || reason.contains(r#"[\"a\",\"list\"]"#), "{reason}");
}

/// What comes of a worker that answers with these bytes.
fn raw_garbage(bytes: &[u8]) -> String {
    let (worker, _) = start(raw(bytes));
    match echo(&worker).unwrap_err() {
        CallError::Garbage { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn worker_answering_bytes_that_are_no_frame_is_given_up_with_the_reason() {
    let reason = raw_garbage(b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(reason.contains("frame"), "{reason}");
    let reason = raw_garbage(&[0xff, 0xff, 0xff, 0xff, b'R']);
    assert!(reason.contains("4294967295"), "{reason}");
    let reason = raw_garbage(&[4, 0, 0, 0, b'E', b'n', b'u', b'l', b'l']);
    assert!(reason.contains("name of a call"), "{reason}");
    let reason = raw_garbage(&[4, 0, 0, 0, b'P', b'n', b'u', b'l', b'l']);
    assert!(reason.contains("time of rest"), "{reason}");
}

fn worker_sending_frames_nobody_asked_for_is_given_up() {
    let reason = raw_garbage(&[2, 0, 0, 0, b'Q', b'{', b'}']);
    assert!(reason.contains("only the parent"), "{reason}");
    let reason = garbage(&Do::Push(1));
    assert!(reason.contains("nobody asked for"), "{reason}");
}

fn worker_sending_a_frame_while_idle_is_given_up() {
    let mut spec = raw(b"\x07\0\0\0R\"hello\"\0\0\0\0L");
    spec.backoff = Backoff { first: Duration::from_secs(60), max: Duration::from_secs(60) };
    let (worker, seen) = start(spec);
    assert_eq!(echo(&worker).unwrap(), "hello");
    eventually("it is given up", || match seen.lock().unwrap().state.clone() {
        State::BackingOff { reason, .. } if reason == "a frame without a request" => Ok(()),
        state => Err(format!("{state:?}")),
    });
}

fn program_that_cannot_be_executed_is_an_error_with_its_cause() {
    let mut spec = spec();
    spec.program = "/nowhere/at-all".into();
    spec.backoff.first = Duration::from_secs(60);
    spec.backoff.max = Duration::from_secs(60);
    let (worker, seen) = start(spec);
    let error = echo(&worker).unwrap_err();
    assert_eq!(error.to_string(), "cannot execute /nowhere/at-all");
    assert!(error.source().unwrap().to_string().contains("No such file"), "{error:?}");
    assert_eq!(seen.lock().unwrap().starts, 0);
    eventually("the pause says why", || match seen.lock().unwrap().state.clone() {
        State::BackingOff { reason, .. } if reason.contains("No such file") => Ok(()),
        state => Err(format!("{state:?}")),
    });
}

fn program_without_the_role_is_an_error_and_not_a_hang() {
    let mut spec = spec();
    spec.role = "unknown";
    let (worker, _) = start(spec);
    match echo(&worker).unwrap_err() {
        CallError::Crashed { how, .. } => assert_eq!(how, "exit code 64"),
        other => panic!("{other:?}"),
    }
}

fn worker_that_is_not_ready_fails_at_once_and_starts_when_it_is() {
    let ready = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ready);
    let (worker, _) = start(spec().prepared_by(move || match told.load(Ordering::Relaxed) {
        true => Ok(worker::Launch::default()),
        false => Err("no library in /nowhere".into()),
    }));
    for _ in 0..10 {
        assert_eq!(echo(&worker).unwrap_err().to_string(), "no library in /nowhere");
    }
    ready.store(true, Ordering::Relaxed);
    assert_eq!(echo(&worker).unwrap(), "hello");
}

fn workers_failing_in_a_row_are_started_ever_more_slowly() {
    let mut spec = spec();
    spec.backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_secs(3600) };
    let (worker, seen) = start(spec);
    // Twelve failures take 1 + 2 + ... + 1024 ms of pauses; the last one leaves a pause of 2 s or more.
    for _ in 0..12 {
        block_on(worker.ask::<()>(&Do::Segfault)).unwrap_err();
    }
    eventually("it backs off", || match seen.lock().unwrap().state.clone() {
        State::BackingOff { reason, .. } if reason.contains("SIGSEGV") => Ok(()),
        state => Err(format!("{state:?}")),
    });
    let waiting = worker.ask::<String>(&Do::Echo(String::new()));
    let early = block_on(async { tokio::time::timeout(Duration::from_millis(500), waiting).await });
    assert!(early.is_err(), "answered during the pause: {early:?}");
}

fn worker_killed_while_idle_is_replaced() {
    let (worker, _) = start(spec());
    let pid: i32 = block_on(worker.ask(&Do::Pid)).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("a new worker answers", || echo(&worker).map_err(|error| error.to_string()));
}

fn complaints_on_standard_error_without_end_do_not_stop_the_answers() {
    let (worker, _) = start(spec());
    block_on(worker.ask::<()>(&Do::Complain("no end of it ".repeat(200_000)))).unwrap();
    assert_eq!(echo(&worker).unwrap(), "hello");
}
