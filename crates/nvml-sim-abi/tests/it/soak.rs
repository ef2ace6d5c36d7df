//! Chaos among many processes on one node, for as long as `make soak` likes: writers and clients that are killed and
//! stopped at random. The seed is printed; it repeats the choices, not the machine's timing.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use nvml_sim::StateFolder;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use rustix::process::{Pid, Signal, kill_process};

use crate::sim::{child, is_child, node, nvml, own_folder};

/// What a child is.
const ROLE: &str = "NVML_SIM_TEST_ROLE";
/// For how many minutes, and with which seed.
const MINUTES: &str = "GANTRY_SOAK_MINUTES";
const SEED: &str = "GANTRY_SOAK_SEED";

const WRITERS: usize = 8;
const CLIENTS: usize = 100;
/// How much of the log is looked at after each kill, in bytes.
const TAIL: u64 = 65_536;
/// The most that may lie in the folder: eight former states, and what a kill leaves for a moment.
const FILES: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Changes the node until it is killed.
fn write(mut dice: Rng) {
    let folder = own_folder();
    let gpus = ["0", "1", "2", "3", "4", "5", "6", "7"];
    loop {
        let gpu = gpus[dice.usize(..gpus.len())];
        match dice.usize(..9) {
            0..3 => folder.inject_xid(gpu, 1 + dice.usize(..100) as u64, None, None).unwrap(),
            3..6 => folder.set(gpu, "temperature", &(40 + dice.usize(..50)).to_string()).unwrap(),
            6 => folder.lose(gpu, Some(79)).unwrap(),
            7 => folder.give_back(gpu).unwrap(),
            _ => folder.reload(None).unwrap(),
        }
    }
}

/// Looks at the node until it is killed, as a client that begins anew when its driver was loaded anew.
fn read() {
    loop {
        let nvml = nvml();
        if let Err(error) = look(&nvml) {
            assert!(matches!(error, NvmlError::Uninitialized), "{error:?}");
        }
    }
}

fn look(nvml: &nvml_wrapper::Nvml) -> Result<(), NvmlError> {
    let set = nvml.create_event_set()?;
    let first = nvml.device_by_index(0)?;
    let set = first.register_events(EventTypes::CRITICAL_XID_ERROR, set).map_err(|error| error.error);
    loop {
        for index in 0..nvml.device_count()? {
            match nvml.device_by_index(index).and_then(|gpu| gpu.temperature(TemperatureSensor::Gpu)) {
                Ok(celsius) => assert!((20..100).contains(&celsius), "{celsius}"),
                Err(NvmlError::GpuLost) => {}
                Err(error) => return Err(error),
            }
        }
        let set = match &set {
            Ok(set) => set,
            Err(NvmlError::GpuLost) => return Ok(()),
            Err(_) => return Err(NvmlError::Uninitialized),
        };
        // Long enough that a hundred of them leave the writers some time.
        match set.wait(200) {
            Ok(event) => assert!(event.event_type.contains(EventTypes::CRITICAL_XID_ERROR)),
            Err(NvmlError::Timeout | NvmlError::GpuLost) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The state is whole and no older than `generation`, and the end of its log has no gap and nothing twice.
fn check(folder: &StateFolder, generation: u64) -> u64 {
    let state = folder.state().unwrap();
    assert!(state.generation >= generation, "{} after {generation}", state.generation);
    let mut log = fs::File::open(folder.dir().join("kmsg")).unwrap();
    let length = log.seek(SeekFrom::End(0)).unwrap();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL))).unwrap();
    let mut end = String::new();
    log.read_to_string(&mut end).unwrap();
    // Neither the line in which the end begins, nor one that is being written.
    let whole = end.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().skip(usize::from(length > TAIL));
    let numbers: Vec<u64> = lines.map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one + 1 == *next), "{end}");
    state.generation
}

#[test]
fn node_of_many_processes_that_are_killed_at_random_stays_whole() {
    const NAME: &str = "soak::node_of_many_processes_that_are_killed_at_random_stays_whole";
    if is_child() {
        match std::env::var(ROLE).unwrap().split_once(' ').unwrap() {
            ("write", seed) => write(Rng::with_seed(seed.parse().unwrap())),
            _ => read(),
        }
        return;
    }
    let span = Duration::from_secs(60 * number(MINUTES).unwrap_or(1));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let seed = number(SEED).unwrap_or(now).max(1);
    println!("soak: {SEED}={seed}, {} s, {WRITERS} writers, {CLIENTS} clients", span.as_secs());
    let mut dice = Rng::with_seed(seed);
    let (_dir, folder) = node("dgx-a100");
    let log = fs::File::create(folder.dir().with_file_name("said")).unwrap();
    let start = |index: usize, dice: &mut Rng| -> Child {
        let role = if index < WRITERS { "write" } else { "read" };
        let mut command = child(NAME, folder.dir());
        command.env(ROLE, format!("{role} {}", 1 + dice.usize(..usize::MAX - 1)));
        command.stdout(Stdio::null()).stderr(log.try_clone().unwrap()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..WRITERS + CLIENTS).map(|index| start(index, &mut dice)).collect();
    let (began, mut kills, mut generation) = (Instant::now(), 0, 0);
    while began.elapsed() < span {
        // Writers die as often as clients, which are many more.
        let index = if dice.usize(..2) == 0 { dice.usize(..WRITERS) } else { dice.usize(..children.len()) };
        let pid = Pid::from_child(&children[index]);
        let ended = children[index].try_wait().unwrap();
        let said = || fs::read_to_string(folder.dir().with_file_name("said")).unwrap();
        assert!(ended.is_none(), "a process ended by itself, {ended:?}: {}", said());
        if dice.usize(..4) == 0 {
            kill_process(pid, Signal::STOP).unwrap();
            StateFolder::open(folder.dir()).unwrap().state().unwrap();
            kill_process(pid, Signal::CONT).unwrap();
        } else {
            kill_process(pid, Signal::KILL).unwrap();
            children[index].wait().unwrap();
            children[index] = start(index, &mut dice);
            kills += 1;
        }
        generation = check(&StateFolder::open(folder.dir()).unwrap(), generation);
    }
    children.iter_mut().for_each(|child| child.kill().unwrap());
    for child in &mut children {
        child.wait().unwrap();
    }
    folder.inject_xid("0", 48, None, None).unwrap();
    generation = check(&folder, generation);
    let (state, lines) = (folder.state().unwrap(), fs::read_to_string(folder.dir().join("kmsg")).unwrap());
    assert_eq!(lines.lines().count() as u64, state.events.last);
    let files = fs::read_dir(folder.dir()).unwrap().count();
    assert!(files < FILES, "{files} files");
    println!("soak: {kills} kills, {generation} changes, {} XIDs, {files} files left", state.events.last);
}
