//! The task that asks, with a kubelet that answers, is away, or talks nonsense.

use fake_kubelet::FakeKubelet;
use prometheus::Registry;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use super::*;

const GPU: &str = "nvidia.com/gpu";

struct Rig {
    dir: tempfile::TempDir,
    holdings: watch::Receiver<Holdings>,
    used: watch::Sender<Use>,
    granted: mpsc::UnboundedSender<Granted>,
    readiness: daemon::Readiness,
    // The task ends with the sender.
    _asked: watch::Sender<u64>,
}

fn boot(last: u8) -> BootId {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("proc/sys/kernel/random");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("boot_id"), format!("0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a{last:02x}\n"))
        .unwrap();
    node_host::boot_id(&node_host::HostRoot::new(dir.path())).unwrap()
}

fn rig(dir: tempfile::TempDir, boot: BootId) -> Rig {
    let (granted, grants) = mpsc::unbounded_channel();
    let (asked, requests) = watch::channel(0);
    let (used, uses) = watch::channel(Use::default());
    let (sender, holdings) = watch::channel(Holdings::default());
    let readiness = daemon::Readiness::new();
    let holders = Holders {
        settings: Settings {
            socket: dir.path().join("pod-resources/kubelet.sock"),
            file: LocalPath::new(dir.path().join("state/held.json")),
        },
        boot: Some(boot),
        granted: grants,
        asked: requests,
        used: uses,
        holdings: sender,
        files: Files::start().unwrap(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
        component: readiness.component("holders"),
    };
    tokio::spawn(holders.run());
    Rig { dir, holdings, used, granted, readiness, _asked: asked }
}

fn held(ids: &[&str]) -> Held {
    let mut held = Held::default();
    ids.iter().for_each(|id| collect(&mut held.ids, GPU, (*id).to_owned()));
    held
}

impl Rig {
    async fn settled(&mut self) -> Holdings {
        self.holdings.wait_for(|holdings| holdings.is_settled).await.unwrap().clone()
    }

    /// Has this kept, and gives the folder for the next task once it is on disk.
    async fn keep(self, held: &Held) -> tempfile::TempDir {
        self.used.send_replace(Use { held: held.clone(), is_waiting: false });
        let path = LocalPath::new(self.dir.path().join("state/held.json"));
        while HeldFile::read(&path).ok().is_none_or(|mended| mended.file.held != held.ids) {
            tokio::task::yield_now().await;
        }
        self.dir
    }
}

#[tokio::test]
async fn absent_kubelet_is_a_remark_and_the_kept_set_of_this_boot_counts_meanwhile() {
    let mut first = rig(tempfile::tempdir().unwrap(), boot(1));
    assert_eq!(first.settled().await.ids, Ids::new());
    let report = first.readiness.report();
    assert!(report.ready, "{report:?}");
    let told = report.remarks[0].detail.clone().unwrap();
    assert!(told.contains("pod-resources/kubelet.sock") && told.contains("not known"), "{told}");
    let set = held(&["GPU-1::0", "GPU-2"]);
    let dir = first.keep(&set).await;

    let mut second = rig(dir, boot(1));
    let found = second.settled().await;
    assert_eq!((found.ids, found.kept), (set.ids.clone(), set.clone()));
    let dir = second.keep(&set).await;
    let mut other_boot = rig(dir, boot(2));
    assert_eq!(other_boot.settled().await.ids, Ids::new());
}

#[tokio::test]
async fn grant_counts_before_the_kubelet_is_asked() {
    let mut rig = rig(tempfile::tempdir().unwrap(), boot(1));
    rig.settled().await;
    rig.granted.send(Granted { resource: GPU.parse().unwrap(), ids: vec!["GPU-7".to_owned()] }).unwrap();
    rig.holdings.wait_for(|holdings| holdings.ids == held(&["GPU-7"]).ids).await.unwrap();
}

#[tokio::test]
async fn kubelet_that_speaks_no_grpc_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("pod-resources/kubelet.sock");
    std::fs::create_dir(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[0xa5; 4096]).await.unwrap();
        }
    });
    let mut rig = rig(dir, boot(1));
    assert_eq!(rig.settled().await.ids, Ids::new());
    assert!(rig.readiness.report().ready);
    assert_eq!(rig.readiness.report().remarks.len(), 1);
}

#[tokio::test]
async fn answer_of_the_kubelet_takes_the_remark_away() {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = FakeKubelet::start(dir.path().join("device-plugins")).await.unwrap();
    let mut rig = rig(dir, boot(1));
    rig.settled().await;
    assert_eq!(rig.readiness.report().remarks, []);
    drop(kubelet);
}
