//! Workers that take their time, with and without progress.

use std::time::{Duration, Instant};

use worker::{CallError, Deadlines, State};

use crate::fake::{DEADLINE, Do, block_on, echo, eventually, spec, start};

crate::tests![
    call_that_hangs_is_named_and_the_next_request_gets_a_new_worker,
    request_slow_but_progressing_is_waited_for_far_beyond_the_deadline,
    worker_that_hangs_in_its_own_work_is_given_up,
    call_that_is_slow_shows_in_the_status_while_it_lasts,
    request_that_waits_is_not_given_up_within_its_own_time,
    wait_that_outlasts_its_own_time_is_given_up_and_named,
    subject_of_a_call_that_hangs_comes_back,
    query_that_hangs_after_calls_of_other_classes_is_the_one_that_is_named,
    preparing_that_hangs_fails_requests_in_time_and_holds_up_no_close,
];

fn call_that_hangs_is_named_and_the_next_request_gets_a_new_worker() {
    let (worker, _) = start(spec());
    match block_on(worker.ask::<()>(&Do::Hang)).unwrap_err() {
        CallError::Stuck { call, after, subject: None } => {
            assert_eq!((call.as_str(), after), ("fakeHang", DEADLINE))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(echo(&worker).unwrap(), "hello");
}

/// 20 s of calls of 0.5 s each under a deadline of 5 s, ten times as fast: the proportions are what
/// counts, and they are the same.
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

fn request_that_waits_is_not_given_up_within_its_own_time() {
    let (worker, seen) = start(spec());
    let watch = worker.watch::<(), u32, _>(&Do::Wait(3_600_000), Duration::ZERO, |_| {});
    let waited = block_on(async { tokio::time::timeout(3 * DEADLINE, watch).await });
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(seen.lock().unwrap().starts, 1);
}

fn wait_that_outlasts_its_own_time_is_given_up_and_named() {
    let (worker, _) = start(spec());
    let watch = worker.watch::<(), u32, _>(&Do::Wait(200), Duration::ZERO, |_| {});
    match block_on(watch).unwrap_err() {
        CallError::Stuck { call, after, .. } => {
            assert_eq!((call.as_str(), after), ("fakeWait", DEADLINE + Duration::from_millis(200)));
        }
        other => panic!("{other:?}"),
    }
}

fn subject_of_a_call_that_hangs_comes_back() {
    let (worker, _) = start(spec());
    match block_on(worker.ask::<()>(&Do::HangAbout(7))).unwrap_err() {
        CallError::Stuck { subject, .. } => assert_eq!(subject, Some(7)),
        other => panic!("{other:?}"),
    }
}

fn query_that_hangs_after_calls_of_other_classes_is_the_one_that_is_named() {
    for rests in [false, true] {
        let (worker, seen) = start(spec());
        match block_on(worker.ask::<()>(&Do::HangAfterInit { rests })).unwrap_err() {
            CallError::Stuck { call, subject, after } => {
                assert_eq!((call.as_str(), subject, after), ("fakeHang", Some(3), DEADLINE));
            }
            other => panic!("{other:?}"),
        }
        eventually("each call is counted once", || match seen.lock().unwrap().calls {
            4 => Ok(()),
            calls => Err(calls.to_string()),
        });
    }
}

fn preparing_that_hangs_fails_requests_in_time_and_holds_up_no_close() {
    let mut spec = spec().prepared_by(|| {
        loop {
            std::thread::park();
        }
    });
    spec.deadlines.own = DEADLINE;
    let (worker, seen) = start(spec);
    for _ in 0..2 {
        match echo(&worker).unwrap_err() {
            CallError::NotReady { reason } => assert!(reason.contains("takes longer than"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    block_on(worker.close());
    assert_eq!(seen.lock().unwrap().starts, 0);
}
