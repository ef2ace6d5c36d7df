//! A simulated node: its state folder, its library, and a client that sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvml::{Config, Deadlines, Event, EventStream, Nvml, NvmlError};
use nvml_sim::{Effect, Fault, Occurrence, StateFolder};
use tempfile::TempDir;

/// The deadline of one query in these tests.
pub const DEADLINE: Duration = Duration::from_secs(1);

pub struct Node {
    pub state: StateFolder,
    dir: TempDir,
}

impl Node {
    pub fn of(preset: &str) -> Node {
        let dir = TempDir::new().unwrap();
        let preset = nvml_sim::presets::find(nvml_sim::presets::NODES, preset).unwrap();
        let state =
            StateFolder::create(&dir.path().join("state"), Path::new(preset.name), preset.yaml).unwrap();
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
        Config {
            deadlines: Deadlines { query: DEADLINE, ..Deadlines::default() },
            extra_env: vec![("NVML_SIM_DIR".into(), self.state.dir().into())],
            ..Config::default()
        }
    }

    pub fn nvml(&self) -> Nvml {
        let library = self.library();
        let find = move || match library.exists() {
            true => Ok(library.clone()),
            false => Err(format!("no {}", library.display())),
        };
        Nvml::start(self.config(), Arc::new(find)).unwrap()
    }

    /// Makes calls of `function` misbehave: so many of them, or all.
    pub fn fault(&self, function: &str, effect: Effect, times: Option<u32>) {
        let occurrence = times.map_or(Occurrence::Always, Occurrence::Times);
        self.state.add_fault(Fault { occurrence, ..Fault::new(function, effect) }).unwrap();
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

/// Asks until there is an answer; the last error is printed when there never is.
pub fn eventually<T>(ask: impl Fn() -> Result<T, NvmlError>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(Instant::now() < end, "{last}"),
        }
    }
}

/// The reason of the next event, which must be a gap.
pub fn gap(events: &mut EventStream) -> String {
    match block_on(events.next()) {
        Event::Gap { reason } => reason,
        other => panic!("{other:?}"),
    }
}
