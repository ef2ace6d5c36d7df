//! The config file on a disk, changed in the ways in which it is changed on a node.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use gpu_config::MigStrategy;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

struct Rig {
    dir: tempfile::TempDir,
    readiness: daemon::Readiness,
}

const MIXED: &str = "version: v1\nflags: {migStrategy: mixed}\n";
const SINGLE: &str = "version: v1\nflags: {migStrategy: single}\n";

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("config")).unwrap();
        Self { dir, readiness: daemon::Readiness::new() }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn start(&self) -> (Receiver<InForce>, Sender<u64>) {
        let (in_force, reader) = watch::channel(None);
        let (ask, asked) = watch::channel(0);
        let file = ConfigFile {
            settings: Settings {
                path: self.folder().join("config.yaml"),
                mode: Mode::Strict,
                state_dir: LocalPath::new(self.dir.path().join("state")),
            },
            in_force,
            asked,
            files: Files::start().unwrap(),
            component: self.readiness.component("config"),
            hooks: Hooks {
                read: Box::new(|_| {}),
                late: Box::new(|_| None),
                without: "nothing is offered until there is one that can be used",
            },
        };
        tokio::spawn(file.run());
        (reader, ask)
    }

    /// What `/ready` says once the config is as good as this.
    async fn told(&self, is_good: bool) -> String {
        let check = || match self.readiness.report().not_ready.into_iter().next() {
            None => is_good.then(String::new),
            Some(state) if !is_good && state.code.as_deref() == Some("config-invalid") => state.detail,
            Some(_) => None,
        };
        timeout(Duration::from_secs(30), eventually(check)).await.unwrap()
    }
}

async fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = check() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a config with this strategy is in force.
async fn strategy(reader: &mut Receiver<InForce>, expected: MigStrategy) {
    let is_so =
        |config: &InForce| config.as_ref().is_some_and(|config| config.flags.mig_strategy == Some(expected));
    let wait = reader.wait_for(is_so);
    assert!(timeout(Duration::from_secs(30), wait).await.is_ok(), "no config with {expected:?}");
}

/// Replaces a volume's content as the kubelet does it for a ConfigMap.
fn swap(folder: &Path, generation: &str, text: &str) {
    std::fs::create_dir(folder.join(generation)).unwrap();
    std::fs::write(folder.join(generation).join("config.yaml"), text).unwrap();
    symlink(generation, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn config_map_that_is_swapped_and_file_that_is_renamed_over_are_taken_up() {
    let rig = Rig::new();
    swap(&rig.folder(), "..1", MIXED);
    symlink("..data/config.yaml", rig.folder().join("config.yaml")).unwrap();
    let (mut config, _ask) = rig.start();
    strategy(&mut config, MigStrategy::Mixed).await;
    swap(&rig.folder(), "..2", SINGLE);
    strategy(&mut config, MigStrategy::Single).await;
    std::fs::write(rig.folder().join("next"), MIXED).unwrap();
    std::fs::rename(rig.folder().join("next"), rig.folder().join("config.yaml")).unwrap();
    strategy(&mut config, MigStrategy::Mixed).await;
}

#[tokio::test]
async fn bad_config_changes_nothing_also_over_a_restart_and_is_told_with_its_place() {
    let rig = Rig::new();
    let file = rig.folder().join("config.yaml");
    std::fs::write(&file, MIXED).unwrap();
    let (mut config, _ask) = rig.start();
    strategy(&mut config, MigStrategy::Mixed).await;
    rig.told(true).await;
    std::fs::write(&file, "version: v1\nflags: {migStrategie: single}\n").unwrap();
    let words = rig.told(false).await;
    assert!(
        words.contains("config.yaml") && words.contains("migStrategie") && words.contains("stays in force"),
        "{words}"
    );
    assert!(config.borrow().is_some());
    // The next process finds the bad file alone.
    let (mut next, _ask) = rig.start();
    strategy(&mut next, MigStrategy::Mixed).await;
    std::fs::write(&file, SINGLE).unwrap();
    strategy(&mut next, MigStrategy::Single).await;
}

#[tokio::test]
async fn without_any_good_config_nothing_is_in_force_until_there_is_one() {
    let rig = Rig::new();
    let (mut config, _ask) = rig.start();
    let words = rig.told(false).await;
    assert!(words.contains("No such file") && words.contains("nothing is offered"), "{words}");
    assert!(config.borrow_and_update().is_none());
    std::fs::write(rig.folder().join("config.yaml"), SINGLE).unwrap();
    strategy(&mut config, MigStrategy::Single).await;
}

#[tokio::test]
async fn file_that_inotify_cannot_see_is_read_when_asked() {
    let rig = Rig::new();
    let elsewhere = rig.dir.path().join("elsewhere.yaml");
    std::fs::write(&elsewhere, MIXED).unwrap();
    symlink(&elsewhere, rig.folder().join("config.yaml")).unwrap();
    let (mut config, ask) = rig.start();
    strategy(&mut config, MigStrategy::Mixed).await;
    std::fs::write(&elsewhere, SINGLE).unwrap();
    ask.send_replace(1);
    strategy(&mut config, MigStrategy::Single).await;
}
