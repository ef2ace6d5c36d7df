//! Calls that take their time. Only lower bounds are asserted: how precise a delay is belongs to no test.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::NvmlLib;

use crate::sim::{
    asleep, child, in_child_on, is_child, library, node, nvml, preset_and, say_thread, thread_of,
};

#[test]
fn declared_latency_delays_the_first_initialisation_too() {
    let yaml = preset_and("t4", "latency:\n  functions: {nvmlInit*: 150ms}\n");
    in_child_on("latency::declared_latency_delays_the_first_initialisation_too", &yaml, || {
        // SAFETY: the library runs no code when it is loaded.
        let lib = unsafe { NvmlLib::new(library()) }.unwrap();
        let init = *lib.nvmlInit_v2.as_ref().unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            // SAFETY: it takes nothing.
            assert_eq!(unsafe { init() }, 0);
            assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
        }
    });
}

#[test]
fn latency_of_a_gpu_delays_its_calls_by_what_is_drawn() {
    let yaml = preset_and(
        "dgx-a100",
        "latency: {seed: 7, gpus: {3: {functions: {nvmlDeviceGetN*: \"uniform(80ms, 90ms)\"}}}}\n",
    );
    in_child_on("latency::latency_of_a_gpu_delays_its_calls_by_what_is_drawn", &yaml, || {
        let nvml = nvml();
        for _ in 0..3 {
            let start = Instant::now();
            nvml.device_by_index(3).unwrap().name().unwrap();
            assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
        }
    });
}

#[test]
fn delayed_call_that_meets_a_signal_sleeps_on() {
    const NAME: &str = "latency::delayed_call_that_meets_a_signal_sleeps_on";
    if is_child() {
        extern "C" fn ignore(_: i32) {}
        // SAFETY: the handler does nothing.
        unsafe { signal(SIGUSR1, ignore) };
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        say_thread("CALLING");
        device.name().unwrap();
        return;
    }
    let (_dir, folder) = node("t4");
    folder.set_latency(Some("nvmlDeviceGetName"), Some("60s".parse().unwrap())).unwrap();
    let mut caller = child(NAME, folder.dir()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    let thread = thread_of("CALLING", &mut lines);
    let rests = asleep(&caller, thread, 0).expect("the call sleeps");
    // SAFETY: plain numbers; the process is our child and not yet waited for.
    assert_eq!(unsafe { tgkill(caller.id() as i32, thread, SIGUSR1) }, 0);
    asleep(&caller, thread, rests).expect("it sleeps on, and does not spend the rest awake");
    caller.kill().unwrap();
    caller.wait().unwrap();
}

const SIGUSR1: i32 = 10;

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn tgkill(process: i32, thread: i32, signal: i32) -> i32;
}
