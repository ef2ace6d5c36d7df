//! How quick a library is in one process: calls per second of common getters, the time of the first initialisation, and
//! the memory that it costs. It measures and judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::call::{About, Call};
use crate::code::Code;
use crate::ffi::{Behind, Library};
use crate::session::{Session, SessionError};
use crate::table;
use crate::walk;

/// Getters that every client calls, with their choices.
const COMMON: &[(&str, &[u32])] = &[
    ("nvmlDeviceGetCount_v2", &[]),
    ("nvmlDeviceGetHandleByIndex_v2", &[0]),
    ("nvmlDeviceGetName", &[]),
    ("nvmlDeviceGetUUID", &[]),
    ("nvmlDeviceGetPciInfo_v3", &[]),
    ("nvmlDeviceGetMemoryInfo_v2", &[]),
    ("nvmlDeviceGetUtilizationRates", &[]),
    ("nvmlDeviceGetTemperature", &[0]),
    ("nvmlDeviceGetPowerUsage", &[]),
    ("nvmlDeviceGetTotalEnergyConsumption", &[]),
    ("nvmlDeviceGetClockInfo", &[1]),
    ("nvmlDeviceGetMigMode", &[]),
];

/// How many calls are made between two looks at the clock.
const BATCH: u32 = 64;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figures {
    /// Whether the library says that it is a simulation.
    pub simulated: bool,
    /// Microseconds to load the library and initialise it for the first time.
    pub init_us: u64,
    /// Proportional set size that the library costs this process after a call of each getter, in KiB.
    pub pss_kib: i64,
    /// The part of it that is anonymous, and so this process's alone.
    pub pss_anonymous_kib: i64,
    /// Calls per second of each getter, in one thread; functions that this node refuses are left out.
    pub calls_per_second: BTreeMap<&'static str, u64>,
    /// The slowest of them.
    pub slowest_per_second: u64,
    /// Threads of the mixed run.
    pub threads: usize,
    /// Calls per second of all threads together, each calling all of the getters in turn.
    pub mixed_calls_per_second: u64,
}

/// Measures a library; each figure takes about `span`.
pub fn measure(library: &Path, span: Duration, threads: usize) -> Result<Figures, SessionError> {
    let before = memory();
    let began = Instant::now();
    let mut session = Session::begin(library)?;
    let init_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let handle = walk::gpus(&mut session).into_iter().find(|handle| *handle != 0).unwrap_or(0);
    let about = About { handle, ..About::default() };
    let mut calls: Vec<(&str, Call)> = COMMON
        .iter()
        .filter_map(|(name, choices)| Some((*name, ready(&session.library, name, &about, choices)?)))
        .collect();
    let after = memory();

    let per_second: BTreeMap<&'static str, u64> = COMMON
        .iter()
        .filter_map(|(name, _)| {
            let (_, call) = calls.iter_mut().find(|(known, _)| known == name)?;
            Some((*name, rate(span, &mut [call])))
        })
        .collect();
    drop(calls);
    let mixed = || {
        let made = COMMON.iter().filter_map(|(name, choices)| ready(&session.library, name, &about, choices));
        let mut calls: Vec<Call> = made.collect();
        rate(span, &mut calls.iter_mut().collect::<Vec<_>>())
    };
    let mixed_calls_per_second = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(mixed)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    Ok(Figures {
        simulated: session.is_simulated(),
        init_us,
        pss_kib: after.0 - before.0,
        pss_anonymous_kib: after.1 - before.1,
        slowest_per_second: per_second.values().copied().min().unwrap_or(0),
        calls_per_second: per_second,
        threads,
        mixed_calls_per_second,
    })
}

/// A call that succeeds.
fn ready(library: &Library, name: &str, about: &About, choices: &[u32]) -> Option<Call> {
    let mut call =
        Call::prepare(library.function(name)?, table::find(name)?, about, choices, 0, Behind::Wall)?;
    (call.make() == Code::SUCCESS).then_some(call)
}

/// Calls per second of these in turn.
fn rate(span: Duration, calls: &mut [&mut Call]) -> u64 {
    let (began, mut made) = (Instant::now(), 0_u64);
    loop {
        for _ in 0..BATCH {
            for call in calls.iter_mut() {
                call.make();
            }
        }
        made += u64::from(BATCH) * calls.len() as u64;
        let took = began.elapsed();
        if took >= span || calls.is_empty() {
            return (made as f64 / took.as_secs_f64()) as u64;
        }
    }
}

/// Proportional set size of this process and its anonymous part, in KiB.
fn memory() -> (i64, i64) {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (value("Pss:"), value("Pss_Anon:"))
}
