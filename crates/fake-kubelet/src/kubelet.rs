//! The fake kubelet as its users hold it: started, asked, stopped, restarted.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use kubelet_api::{
    deviceplugin::{
        DIAL_TIMEOUT, KUBELET_SOCKET_NAME, STOPPED_ENDPOINT_GRACE,
        v1beta1::registration_server::RegistrationServer,
    },
    podresources::v1::pod_resources_lister_server::PodResourcesListerServer,
};
use thiserror::Error;
use tokio::{
    net::UnixListener,
    runtime::{self, Runtime},
    sync::{broadcast, oneshot, watch},
};
use tonic::transport::Server;

use crate::{
    admission::{self, AdmissionError, Allocation},
    authority::accepted,
    books::Tracking,
    events::{Event, EventLog, Happening},
    incarnation::{Incarnation, Settings},
    listen::{create_dir, listen_at, wipe_sockets},
    pod_resources::Lister,
    registration::Registry,
    state::{PodName, PodRequest, State},
};

/// How long a task of an ended life may still run before it is left behind; none blocks, so this is never reached.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The kubelet could not start.
#[derive(Debug, Error)]
#[error("the kubelet cannot start in {}", dir.display())]
pub struct StartError {
    /// Its plugin folder.
    pub dir: PathBuf,
    /// What failed; its text names the path.
    #[source]
    pub source: io::Error,
}

/// Sets a [`FakeKubelet`] up.
#[derive(Clone, Debug)]
pub struct Builder(Settings);

/// A kubelet stand-in; clones are handles of the same one. It stops with the last of them.
#[derive(Clone)]
pub struct FakeKubelet(Arc<Inner>);

struct Inner {
    settings: Settings,
    events: Arc<EventLog>,
    starts: AtomicU64,
    /// Whether a registered plugin's stream is opened.
    streams: watch::Sender<bool>,
    life: Mutex<Life>,
    /// Pods are admitted one after the other: a plugin that hangs in a call holds up every other pod.
    admission: tokio::sync::Mutex<()>,
}

struct Life {
    /// The current incarnation, or the last.
    incarnation: Arc<Incarnation>,
    /// Absent while stopped.
    runtime: Option<Ending>,
}

/// A life's runtime. Wherever it is dropped, be it in async code that is cancelled, its tasks have ended then: who removes
/// the folder next finds nobody at work in it.
struct Ending(Option<Runtime>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime may only be waited for on a thread that runs no tasks.
            let _ = thread::spawn(move || runtime.shutdown_timeout(STOP_PATIENCE)).join();
        }
    }
}

impl Builder {
    /// How long a resource without a plugin is remembered; the real kubelet's is 5 minutes.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.0.grace = grace;
        self
    }

    /// How long a plugin is dialled inside `Register`; the real kubelet's is 10 seconds.
    #[must_use]
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.0.dial_timeout = timeout;
        self
    }

    /// How long `kubelet.sock` exists before connections are accepted; none by default.
    #[must_use]
    pub fn listen_gap(mut self, gap: Duration) -> Self {
        self.0.listen_gap = gap;
        self
    }

    /// Forgets everything at each start, as if somebody had removed the checkpoint.
    #[must_use]
    pub fn without_checkpoint(mut self) -> Self {
        self.0.checkpoint = false;
        self
    }

    /// Registers plugins without opening their streams, until [`FakeKubelet::open_streams`].
    #[must_use]
    pub fn without_streams(mut self) -> Self {
        self.0.streams = false;
        self
    }

    /// Knows a plugin by its resource alone, as kubelets up to 1.36 do: the end of an older plugin's stream takes the newer one
    /// off, and the resource's devices with it, until that one registers again. By default plugins are told apart by their
    /// sockets, as 1.37 does.
    #[must_use]
    pub fn tracking_by_resource(mut self) -> Self {
        self.0.tracking = Tracking::Resource;
        self
    }

    /// How long, when it knows a plugin by its resource alone, it takes from closing that one's connection to striking its devices
    /// off: none by default. The real kubelet waits for a lock and a processor there.
    #[must_use]
    pub fn striking_off(mut self, time: Duration) -> Self {
        self.0.striking_off = time;
        self
    }

    /// Serves pod resources there instead of in the sibling folder `pod-resources`.
    #[must_use]
    pub fn pod_resources_socket(mut self, socket: impl Into<PathBuf>) -> Self {
        self.0.pod_resources_socket = socket.into();
        self
    }

    /// Starts the kubelet.
    ///
    /// # Errors
    /// A folder or socket that cannot be made; a socket's path may have 107 bytes.
    pub async fn start(self) -> Result<FakeKubelet, StartError> {
        let events = Arc::new(EventLog::new());
        let settings = self.0;
        let dir = settings.dir.clone();
        let streams = watch::Sender::new(settings.streams);
        let incarnation = Arc::new(Incarnation::new(
            settings.clone(),
            Arc::clone(&events),
            streams.subscribe(),
            BTreeMap::new(),
        ));
        let begun = begin(&incarnation, 1).await;
        let runtime = begun.map_err(|source| StartError { dir, source })?;
        Ok(FakeKubelet(Arc::new(Inner {
            settings,
            events,
            starts: AtomicU64::new(1),
            streams,
            life: Mutex::new(Life { incarnation, runtime: Some(runtime) }),
            admission: tokio::sync::Mutex::default(),
        })))
    }
}

impl FakeKubelet {
    /// A kubelet with the plugin folder `dir`, to be set up further.
    pub fn builder(dir: impl Into<PathBuf>) -> Builder {
        let dir = dir.into();
        let pod_resources_socket = dir.with_file_name("pod-resources").join(KUBELET_SOCKET_NAME);
        Builder(Settings {
            dir,
            pod_resources_socket,
            grace: STOPPED_ENDPOINT_GRACE,
            dial_timeout: DIAL_TIMEOUT,
            listen_gap: Duration::ZERO,
            checkpoint: true,
            streams: true,
            tracking: Tracking::Socket,
            striking_off: Duration::ZERO,
        })
    }

    /// Starts a kubelet with the plugin folder `dir`.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start(dir: impl Into<PathBuf>) -> Result<FakeKubelet, StartError> {
        FakeKubelet::builder(dir).start().await
    }

    /// The plugin folder.
    pub fn dir(&self) -> &Path {
        &self.0.settings.dir
    }

    /// The registry's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join(KUBELET_SOCKET_NAME)
    }

    /// The pod resources socket.
    pub fn pod_resources_socket(&self) -> &Path {
        &self.0.settings.pod_resources_socket
    }

    /// Everything that it knows now.
    pub fn resources(&self) -> State {
        let (incarnation, running) = {
            let life = self.life();
            (Arc::clone(&life.incarnation), life.runtime.is_some())
        };
        let books = incarnation.books();
        State {
            dir: self.0.settings.dir.clone(),
            running,
            starts: self.0.starts.load(Ordering::SeqCst),
            resources: books.resource_states(),
            pods: books.pod_states(),
        }
    }

    /// Admits a pod's container that asks for `count` devices, and starts it.
    ///
    /// # Errors
    /// As [`FakeKubelet::admit`].
    pub async fn allocate(
        &self,
        pod: impl Into<PodName>,
        container: &str,
        resource: &str,
        count: usize,
    ) -> Result<Allocation, AdmissionError> {
        self.admit(&PodRequest::new(pod, container, resource, count)).await
    }

    /// Admits a container and starts it. One that holds its devices already is admitted anew, as after a reboot of the
    /// node: its devices must be healthy, and the plugin is not asked again.
    ///
    /// # Errors
    /// What rejects the pod, with [`AdmissionError::REASON`]; what the plugin refuses at its start.
    pub async fn admit(&self, request: &PodRequest) -> Result<Allocation, AdmissionError> {
        let _turn = self.0.admission.lock().await;
        let kubelet = self.running()?;
        let admitted = admission::admit(&kubelet, request).await;
        let PodRequest { pod, container, resource, .. } = request.clone();
        match admitted {
            Ok(allocation) => {
                let devices = allocation.devices.clone();
                kubelet.events.push(Event::Admitted { pod, container, resource, devices });
                admission::start(&kubelet, request).await?;
                Ok(allocation)
            }
            Err(error) => {
                kubelet.events.push(Event::Rejected { pod, container, resource, reason: error.to_string() });
                Err(error)
            }
        }
    }

    /// Starts an admitted container once more, as after a crash of it: health is not looked at, `Allocate` is not called.
    ///
    /// # Errors
    /// The container holds nothing of the resource; the plugin refuses at its start.
    pub async fn restart_container(
        &self,
        pod: impl Into<PodName>,
        container: &str,
        resource: &str,
    ) -> Result<Allocation, AdmissionError> {
        admission::start(self.running()?.as_ref(), &PodRequest::new(pod, container, resource, 1)).await
    }

    /// Ends a pod and frees what it held; returns whether it was known.
    pub fn release(&self, pod: impl Into<PodName>) -> bool {
        // Under the lock of the life: a start reads the checkpoint before all of it, or after.
        let life = self.life();
        let kubelet = &life.incarnation;
        let pod = pod.into();
        let known = kubelet.books().release(&pod);
        kubelet.save();
        if known {
            kubelet.events.push(Event::Released { pod });
        }
        known
    }

    /// Stops as a killed process does: every connection ends, the sockets' files stay, pods run on. Once this returns,
    /// nobody is listening any more.
    pub async fn stop(&self) {
        let runtime = self.life().runtime.take();
        if let Some(runtime) = runtime {
            end(runtime).await;
            self.0.events.push(Event::Stopped);
        }
    }

    /// Starts again after [`FakeKubelet::stop`], with what the checkpoint remembers; stops first when it runs.
    ///
    /// # Errors
    /// As [`Builder::start`]; it is stopped then.
    pub async fn restart(&self) -> Result<(), StartError> {
        // Breaks the call that an admission may hang in; only then comes its turn to end.
        self.stop().await;
        let _turn = self.0.admission.lock().await;
        // Another restart may have been first.
        self.stop().await;
        let starts = self.0.starts.fetch_add(1, Ordering::SeqCst) + 1;
        let incarnation = {
            let mut life = self.life();
            let (events, streams) = (Arc::clone(&self.0.events), self.0.streams.subscribe());
            let run = life.incarnation.books().running();
            life.incarnation = Arc::new(Incarnation::new(self.0.settings.clone(), events, streams, run));
            Arc::clone(&life.incarnation)
        };
        let begun = begin(&incarnation, starts).await;
        let runtime = begun.map_err(|source| StartError { dir: self.0.settings.dir.clone(), source })?;
        self.life().runtime = Some(runtime);
        Ok(())
    }

    /// Drops a resource's streams while the kubelet stays up, as the real one does when it cannot read a list: the
    /// connections are closed, the devices turn unhealthy, and the plugin may register again. Streams that were never
    /// opened are dropped too. Returns how many there were, once the books know.
    pub async fn drop_streams(&self, resource: &str) -> usize {
        let kubelet = Arc::clone(&self.life().incarnation);
        kubelet.drop_streams(resource).await
    }

    /// Registers plugins from now on without opening their streams: dialled back, asked for options, never listened to.
    /// Streams that are open stay so.
    pub fn withhold_streams(&self) {
        self.0.streams.send_replace(false);
    }

    /// Opens the streams that were withheld, and those of plugins to come.
    pub fn open_streams(&self) {
        self.0.streams.send_replace(true);
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Happening> {
        self.0.events.watch()
    }

    /// What happened so far; the oldest of more than 4096 entries are lost.
    pub fn log(&self) -> Vec<Happening> {
        self.0.events.kept()
    }

    fn running(&self) -> Result<Arc<Incarnation>, AdmissionError> {
        let life = self.life();
        if life.runtime.is_none() {
            return Err(AdmissionError::NotRunning);
        }
        Ok(Arc::clone(&life.incarnation))
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a life: folder, clean folder, sockets, service.
async fn begin(incarnation: &Arc<Incarnation>, starts: u64) -> io::Result<Ending> {
    create_dir(&incarnation.settings.dir)?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("fake-kubelet")
        .enable_all()
        .build()?;
    let serving = runtime.spawn(serve(Arc::clone(incarnation), starts));
    let ending = Ending(Some(runtime));
    serving.await.map_err(io::Error::other)??;
    Ok(ending)
}

/// Ends a life and waits for its sockets to close, without holding up the caller's other tasks.
async fn end(ending: Ending) {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        drop(ending);
        // The receiver is gone only if the caller no longer waits.
        let _ = ended.send(());
    });
    let _ = end.await;
}

/// Opens the sockets and leaves their service to tasks.
async fn serve(kubelet: Arc<Incarnation>, starts: u64) -> io::Result<()> {
    let settings = &kubelet.settings;
    wipe_sockets(&settings.dir)?;
    let (at, time) = (Instant::now(), SystemTime::now());
    let registry = listen_at(&settings.dir.join(KUBELET_SOCKET_NAME), settings.listen_gap).await?;
    kubelet.events.push_at(at, time, Event::Started { starts });
    let service = RegistrationServer::new(Registry(Arc::clone(&kubelet)));
    tokio::spawn(Server::builder().serve_with_incoming(service, accepted(registry)));

    let lister = listen_pod_resources(&settings.pod_resources_socket).await?;
    let service = PodResourcesListerServer::new(Lister(Arc::clone(&kubelet)));
    tokio::spawn(Server::builder().serve_with_incoming(service, accepted(lister)));
    Ok(())
}

async fn listen_pod_resources(socket: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = socket.parent() {
        create_dir(dir)?;
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    listen_at(socket, Duration::ZERO).await
}
