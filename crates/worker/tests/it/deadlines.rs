//! Workers that take their time, with and without progress.

use std::time::{Duration, Instant};

use worker::{CallError, Deadlines, State};

use crate::fake::{DEADLINE, Do, block_on, echo, eventually, spec, start};

crate::tests![
    call_that_hangs_is_named_and_the_next_request_gets_a_new_worker,
    request_slow_but_progressing_is_waited_for_far_beyond_the_deadline,
    worker_that_hangs_in_its_own_work_is_given_up,
    call_that_is_slow_shows_in_the_status_while_it_lasts,
    request_that_waits_has_no_deadline,
    hung_workers_that_do_not_go_stop_new_starts_until_one_goes,
];

fn call_that_hangs_is_named_and_the_next_request_gets_a_new_worker() {
    let (worker, _) = start(spec());
    match block_on(worker.ask::<()>(&Do::Hang)).unwrap_err() {
        CallError::Stuck { call, after } => assert_eq!((call.as_str(), after), ("fakeHang", DEADLINE)),
        other => panic!("{other:?}"),
    }
    assert_eq!(echo(&worker).unwrap(), "hello");
}

/// The proportions of 20 s of calls of 0.5 s each under a deadline of 5 s, ten times as fast, and with
/// a tighter deadline.
fn request_slow_but_progressing_is_waited_for_far_beyond_the_deadline() {
    let (worker, seen) = start(spec());
    let begun = Instant::now();
    assert_eq!(block_on(worker.ask::<u32>(&Do::Calls(40, 50))).unwrap(), 40);
    assert!(begun.elapsed() > 3 * DEADLINE, "not slow enough to prove anything: {:?}", begun.elapsed());
    eventually("the calls are counted", || match seen.lock().unwrap().clone() {
        status if status.calls == 40 && status.starts == 1 => Ok(()),
        status => Err(format!("{status:?}")),
    });
}

fn worker_that_hangs_in_its_own_work_is_given_up() {
    let mut spec = spec();
    spec.deadlines = Deadlines { own: DEADLINE, ..spec.deadlines };
    let (worker, _) = start(spec);
    match block_on(worker.ask::<()>(&Do::HangItself)).unwrap_err() {
        CallError::Stuck { call, .. } => assert_eq!(call, "the worker's own work"),
        other => panic!("{other:?}"),
    }
}

fn call_that_is_slow_shows_in_the_status_while_it_lasts() {
    let mut spec = spec();
    spec.deadlines.query = Duration::from_secs(60);
    let (worker, seen) = start(spec);
    let answer = worker.ask::<()>(&Do::Hang);
    eventually("the call shows", || match seen.lock().unwrap().state.clone() {
        State::Slow { call, .. } if call == "fakeHang" => Ok(()),
        state => Err(format!("{state:?}")),
    });
    block_on(worker.close());
    assert!(matches!(block_on(answer).unwrap_err(), CallError::Closed));
}

fn request_that_waits_has_no_deadline() {
    let (worker, seen) = start(spec());
    let watch = worker.watch::<(), u32, _>(&Do::WaitForEver, Duration::ZERO, |_| {});
    let waited = block_on(async { tokio::time::timeout(3 * DEADLINE, watch).await });
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(seen.lock().unwrap().starts, 1);
}

fn hung_workers_that_do_not_go_stop_new_starts_until_one_goes() {
    let mut spec = spec().abandoning_without_effect();
    spec.deadlines.query = Duration::from_millis(50);
    let (worker, seen) = start(spec);
    let mut hung = Vec::new();
    for _ in 0..3 {
        hung.push(block_on(worker.ask::<i32>(&Do::Pid)).unwrap());
        assert!(matches!(block_on(worker.ask::<()>(&Do::Hang)).unwrap_err(), CallError::Stuck { .. }));
    }
    assert!(matches!(echo(&worker).unwrap_err(), CallError::TooManyAbandoned { count: 3 }));
    eventually("it is full", || match seen.lock().unwrap().clone() {
        status if status.state == State::Full && status.abandoned == 3 => Ok(()),
        status => Err(format!("{status:?}")),
    });
    let one = rustix::process::Pid::from_raw(hung[0]).unwrap();
    rustix::process::kill_process(one, rustix::process::Signal::KILL).unwrap();
    eventually("a new worker answers", || echo(&worker).map_err(|error| error.to_string()));
    assert_eq!(seen.lock().unwrap().starts, 4);
}
