//! A worker that behaves.

use std::sync::mpsc;
use std::time::Duration;

use worker::{CallError, Launch, State};

use crate::fake::{DEADLINE, Do, block_on, echo, eventually, spec, start};
use crate::lifetime::is_gone;

crate::tests![
    worker_that_behaves_answers_each_request_from_one_process,
    worker_sees_only_the_environment_and_argument_of_its_launch,
    worker_that_nobody_asked_is_not_started,
    worker_pushing_events_during_a_request_delivers_them_in_order,
    worker_that_ends_in_order_after_a_reply_is_replaced_without_a_loss,
    watch_that_is_dropped_ends_its_worker,
    requests_from_many_tasks_are_all_answered,
    start_that_is_slow_to_prepare_leaves_the_worker_its_whole_time,
    worker_that_rests_is_not_taken_for_one_that_hangs,
    released_worker_is_gone_and_the_next_request_starts_another,
    standard_input_of_a_worker_is_empty_and_what_it_prints_is_for_the_log,
];

fn worker_that_behaves_answers_each_request_from_one_process() {
    let (worker, seen) = start(spec());
    let first: u32 = block_on(worker.ask(&Do::Pid)).unwrap();
    assert_ne!(first, std::process::id());
    assert_eq!(block_on(worker.ask::<u32>(&Do::Pid)).unwrap(), first);
    let long = "x".repeat(1 << 20);
    assert_eq!(block_on(worker.ask::<String>(&Do::Echo(long.clone()))).unwrap(), long);
    eventually("one start", || match seen.lock().unwrap().clone() {
        status if status.starts == 1 && status.state == State::Running { pid: first } => Ok(()),
        status => Err(format!("{status:?}")),
    });
}

fn worker_sees_only_the_environment_and_argument_of_its_launch() {
    let spec = spec().prepared_by(|| {
        Ok(Launch { argument: "/lib/x.so".into(), env: vec![("ONLY".into(), "this".into())] })
    });
    let (worker, _) = start(spec);
    let (environment, argument): (Vec<String>, String) = block_on(worker.ask(&Do::Environment)).unwrap();
    assert_eq!((environment, argument), (vec!["ONLY=this".to_owned()], "/lib/x.so".to_owned()));
}

fn worker_that_nobody_asked_is_not_started() {
    let (worker, seen) = start(spec());
    block_on(worker.close());
    assert_eq!(seen.lock().unwrap().starts, 0);
}

fn worker_pushing_events_during_a_request_delivers_them_in_order() {
    let (worker, _) = start(spec());
    let (sender, events) = mpsc::channel::<u32>();
    let done = worker.watch::<(), u32, _>(&Do::Push(100), Duration::ZERO, move |n| sender.send(n).unwrap());
    block_on(done).unwrap();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

fn worker_that_ends_in_order_after_a_reply_is_replaced_without_a_loss() {
    let (worker, _) = start(spec());
    for _ in 0..20 {
        let first: u32 = block_on(worker.ask(&Do::EndAfterReply)).unwrap();
        assert_ne!(block_on(worker.ask::<u32>(&Do::Pid)).unwrap(), first);
    }
}

fn watch_that_is_dropped_ends_its_worker() {
    let (worker, seen) = start(spec());
    let (sender, events) = mpsc::channel::<u32>();
    let watch = worker
        .watch::<(), u32, _>(&Do::Wait(3_600_000), Duration::ZERO, move |pid| sender.send(pid).unwrap());
    let pid = events.recv_timeout(Duration::from_secs(20)).unwrap();
    drop(watch);
    eventually("the worker is gone", || match seen.lock().unwrap().clone() {
        status if status.state == State::Absent => Ok(()),
        status => Err(format!("{status:?}")),
    });
    eventually("its process is gone", || is_gone(pid));
    assert_eq!(echo(&worker).unwrap(), "hello");
}

fn requests_from_many_tasks_are_all_answered() {
    let (worker, _) = start(spec());
    let pending: Vec<_> = (0..50).map(|n| (n, worker.ask::<String>(&Do::Echo(format!("{n}"))))).collect();
    for (n, answer) in pending {
        assert_eq!(block_on(answer).unwrap(), n.to_string());
    }
}

fn start_that_is_slow_to_prepare_leaves_the_worker_its_whole_time() {
    let mut spec = spec().prepared_by(|| {
        crate::fake::spend(5000);
        Ok(Launch::default())
    });
    spec.deadlines.own = Duration::from_secs(8);
    let (worker, seen) = start(spec);
    block_on(worker.ask::<()>(&Do::Work(4000))).unwrap();
    assert_eq!(seen.lock().unwrap().starts, 1);
}

fn worker_that_rests_is_not_taken_for_one_that_hangs() {
    let mut spec = spec();
    spec.deadlines.own = Duration::from_secs(2);
    let (worker, seen) = start(spec);
    block_on(worker.ask::<()>(&Do::Rest(3000))).unwrap();
    assert_eq!(seen.lock().unwrap().calls, 0);
}

fn released_worker_is_gone_and_the_next_request_starts_another() {
    let mut spec = spec();
    spec.deadlines.query = 100 * DEADLINE;
    let (worker, seen) = start(spec);
    let first: u32 = block_on(worker.ask(&Do::Pid)).unwrap();
    let (hanging, waiting) = (worker.ask::<()>(&Do::Hang), worker.ask::<u32>(&Do::Pid));
    block_on(worker.release()).unwrap();
    assert_eq!(seen.lock().unwrap().state, State::Absent);
    is_gone(first).unwrap();
    assert!(matches!(block_on(hanging).unwrap_err(), CallError::Released));
    assert!(matches!(block_on(waiting).unwrap_err(), CallError::Released));
    assert_ne!(block_on(worker.ask::<u32>(&Do::Pid)).unwrap(), first);
    block_on(worker.close());
    assert!(matches!(block_on(worker.release()).unwrap_err(), CallError::Closed));
}

fn standard_input_of_a_worker_is_empty_and_what_it_prints_is_for_the_log() {
    let (worker, _) = start(spec());
    let [input, output, log]: [std::path::PathBuf; 3] = block_on(worker.ask(&Do::StandardStreams)).unwrap();
    assert_eq!(input.to_str(), Some("/dev/null"));
    assert_eq!(output, log);
    assert!(log.to_string_lossy().starts_with("pipe:"), "{log:?}");
}
