//! A simulated node: its state folder, its library, and a client that sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvml::{Config, Event, EventStream, Library, Nvml, RoleState};
use nvml_sim::{Effect, Fault, Occurrence, StateFolder};
use tempfile::TempDir;

/// The deadline of one query in the tests of what hangs; the others have the default one.
pub const DEADLINE: Duration = Duration::from_secs(3);

pub struct Node {
    pub state: StateFolder,
    dir: TempDir,
}

impl Node {
    pub fn of(preset: &str) -> Node {
        let preset = nvml_sim::presets::find(nvml_sim::presets::NODES, preset).unwrap();
        Node::from_yaml(preset.yaml)
    }

    pub fn from_yaml(yaml: &str) -> Node {
        let dir = TempDir::new().unwrap();
        let state = StateFolder::create(&dir.path().join("state"), Path::new("node.yaml"), yaml).unwrap();
        let node = Node { state, dir };
        node.install();
        node
    }

    /// Where the driver's library is, or will be.
    pub fn library(&self) -> PathBuf {
        self.dir.path().join("driver/libnvidia-ml.so.1")
    }

    /// Puts the library there.
    pub fn install(&self) {
        let built = std::env::current_exe().unwrap().with_file_name("libnvml_sim_abi.so");
        std::fs::create_dir_all(self.library().parent().unwrap()).unwrap();
        std::fs::copy(&built, self.library())
            .unwrap_or_else(|error| panic!("copy {}: {error}", built.display()));
    }

    pub fn uninstall(&self) {
        std::fs::remove_file(self.library()).unwrap();
    }

    pub fn config(&self) -> Config {
        Config { extra_env: vec![("NVML_SIM_DIR".into(), self.state.dir().into())], ..Config::default() }
    }

    pub fn nvml(&self) -> Nvml {
        self.nvml_with(self.config())
    }

    /// A client that soon calls a query stuck.
    pub fn impatient_nvml(&self) -> Nvml {
        let mut config = self.config();
        config.deadlines.query = DEADLINE;
        config.event_wait = Duration::from_millis(200);
        self.nvml_with(config)
    }

    pub fn nvml_with(&self, config: Config) -> Nvml {
        let library = self.library();
        let find = move || match library.exists() {
            true => Ok(Library::staged(&library)),
            false => Err(format!("no {}", library.display())),
        };
        Nvml::start(config, Arc::new(find)).unwrap()
    }

    /// Takes a function out of the library, as if it were an older one.
    pub fn remove_function(&self, name: &str) {
        let mut bytes = std::fs::read(self.library()).unwrap();
        let symbol = format!("\0{name}\0").into_bytes();
        let at = bytes.windows(symbol.len()).position(|window| window == symbol).unwrap();
        bytes[at + name.len()] = b'X';
        std::fs::write(self.library(), bytes).unwrap();
    }

    /// Makes calls of `function` misbehave: so many of them, or all.
    pub fn fault(&self, function: &str, effect: Effect, times: Option<u32>) {
        self.add_fault(function, None, effect, times);
    }

    /// Makes every call of `function` on one GPU misbehave.
    pub fn fault_of_gpu(&self, gpu: usize, function: &str, effect: Effect) {
        self.add_fault(function, Some(self.uuid(gpu)), effect, None);
    }

    fn add_fault(&self, function: &str, gpu: Option<String>, effect: Effect, times: Option<u32>) {
        let occurrence = times.map_or(Occurrence::Always, Occurrence::Times);
        self.state.add_fault(Fault { gpu, occurrence, ..Fault::new(function, effect) }).unwrap();
    }

    pub fn uuid(&self, index: usize) -> String {
        self.state.node().unwrap().gpus[index].uuid.clone()
    }
}

/// Runs a future to its end, for at most a minute.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await }).unwrap()
}

/// Asks until there is an answer; the last complaint is printed when there never is.
pub fn eventually<T, E: std::fmt::Display>(ask: impl Fn() -> Result<T, E>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(Instant::now() < end, "{last}"),
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until a process has gone.
pub fn gone(pid: u32) {
    let path = format!("/proc/{pid}/stat");
    eventually(|| std::fs::read_to_string(&path).map_or(Ok(()), Err));
}

/// The process of a role that runs.
pub fn pid_of(state: &RoleState) -> u32 {
    match state {
        RoleState::Running { pid } => *pid,
        other => panic!("{other:?}"),
    }
}

/// The reason of the next event, which must be a gap.
pub fn gap(events: &mut EventStream) -> String {
    match block_on(events.next()) {
        Some(Event::Gap { reason }) => reason,
        other => panic!("{other:?}"),
    }
}
