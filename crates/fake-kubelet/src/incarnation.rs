//! One life of the kubelet, from a start to the stop that ends it: its books, its clients, its settings.
//!
//! Each has a runtime of its own, and ends with it: every socket, stream and task at once, as when a process is killed.
//! A message that an old life still receives never reaches the books of the next one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kubelet_api::deviceplugin::{MAX_MESSAGE_TO_KUBELET, v1beta1::device_plugin_client::DevicePluginClient};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tonic::{Response, Status, transport::Channel};

use crate::{
    books::{Books, Tracking},
    checkpoint,
    checkpoint::Checkpoint,
    events::EventLog,
    state::PodName,
};

/// What can be set about a kubelet.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dir: PathBuf,
    pub(crate) pod_resources_socket: PathBuf,
    pub(crate) grace: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) listen_gap: Duration,
    pub(crate) checkpoint: bool,
    pub(crate) streams: bool,
    pub(crate) tracking: Tracking,
    pub(crate) striking_off: Duration,
}

/// One life of the kubelet.
pub(crate) struct Incarnation {
    pub(crate) settings: Settings,
    pub(crate) events: Arc<EventLog>,
    books: Mutex<Books>,
    clients: Mutex<Clients>,
    /// Whether a registered plugin's stream is opened.
    pub(crate) streams: watch::Receiver<bool>,
}

#[derive(Default)]
struct Clients {
    count: u64,
    /// Connections by the number in [`crate::books::Endpoint::client`].
    open: HashMap<u64, Line>,
    /// The registrations whose end is waited for.
    claims: Vec<Claim>,
    /// Tasks that read lists, those that ended among them.
    readers: Vec<Reader>,
}

/// A registration, from the moment that it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Tells it from others of the same socket.
    pub(crate) id: u64,
    pub(crate) resource: String,
    pub(crate) socket: String,
}

/// An open connection to a plugin. As in the real kubelet, its end breaks the calls that are in flight on it.
struct Line {
    client: DevicePluginClient<Channel>,
    /// Dropped when it is closed.
    opened: watch::Sender<()>,
}

/// A client of a connection, and what tells of its end.
pub(crate) struct Caller {
    pub(crate) client: DevicePluginClient<Channel>,
    opened: watch::Receiver<()>,
}

impl Caller {
    /// The answer to a call, unless the connection is closed first.
    pub(crate) async fn answer<T>(
        &mut self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            answer = call => answer.map(Response::into_inner),
            // Nothing is ever sent.
            _ = self.opened.changed() => Err(Status::cancelled("the connection to the plugin is closed")),
        }
    }
}

/// A task that reads a plugin's lists.
struct Reader {
    claim: u64,
    resource: String,
    drop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Incarnation {
    /// One that finds these pods running.
    pub(crate) fn new(
        settings: Settings,
        events: Arc<EventLog>,
        streams: watch::Receiver<bool>,
        run: BTreeMap<PodName, BTreeSet<String>>,
    ) -> Self {
        let known = if settings.checkpoint { checkpoint::read(&settings.dir) } else { Checkpoint::default() };
        let books = Books::restored(settings.grace, known.registered, known.pods, run, Instant::now());
        Incarnation { settings, events, books: Mutex::new(books), clients: Mutex::default(), streams }
    }

    /// The books, those whose grace period is over struck out.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.expire(Instant::now()) {
            self.write(&books);
        }
        books
    }

    /// Writes the checkpoint, as the real kubelet does after each list and each admission.
    pub(crate) fn save(&self) {
        // Written under the lock: a newer file is never replaced by an older one.
        self.write(&self.books());
    }

    /// Notes a registration that is about to be tried. Where plugins are told by their resource, it takes an earlier one's place
    /// before anybody knows whether it will be a plugin at all.
    pub(crate) fn expect_end_of(&self, resource: &str, socket: &str) -> Claim {
        let mut clients = self.clients();
        if self.settings.tracking == Tracking::Resource {
            clients.claims.retain(|claim| claim.resource != resource);
        }
        clients.count += 1;
        let claim = Claim { id: clients.count, resource: resource.to_owned(), socket: socket.to_owned() };
        clients.claims.push(claim.clone());
        claim
    }

    /// A registration failed, or a stream ended: what is expected to end no more is forgotten, and given. By socket, that is every
    /// registration of the same resource and socket: a second one on a live socket fails *and* drops the first, whose end
    /// is then never noticed. By resource, it is whichever was the last.
    pub(crate) fn forget(&self, ended: &Claim) -> Option<Claim> {
        let is_meant = |claim: &mut Claim| {
            claim.resource == ended.resource
                && (self.settings.tracking == Tracking::Resource || claim.socket == ended.socket)
        };
        self.clients().claims.extract_if(.., is_meant).last()
    }

    /// Keeps a connection; its number names it.
    pub(crate) fn open(&self, channel: Channel) -> (u64, DevicePluginClient<Channel>) {
        let client = DevicePluginClient::new(channel).max_decoding_message_size(MAX_MESSAGE_TO_KUBELET);
        let mut clients = self.clients();
        clients.count += 1;
        let number = clients.count;
        clients.open.insert(number, Line { client: client.clone(), opened: watch::Sender::new(()) });
        (number, client)
    }

    pub(crate) fn close(&self, number: u64) {
        self.clients().open.remove(&number);
    }

    pub(crate) fn caller(&self, number: u64) -> Option<Caller> {
        let clients = self.clients();
        let Line { client, opened } = clients.open.get(&number)?;
        Some(Caller { client: client.clone(), opened: opened.subscribe() })
    }

    /// Keeps a task that reads a resource's lists, and the way to end it.
    pub(crate) fn reads(&self, claim: &Claim, drop: oneshot::Sender<()>, task: JoinHandle<()>) {
        let mut clients = self.clients();
        clients.readers.retain(|reader| !reader.task.is_finished());
        clients.readers.push(Reader { claim: claim.id, resource: claim.resource.clone(), drop, task });
    }

    /// Closes a registration's connection, if its lists are read.
    pub(crate) fn disconnect(&self, claim: &Claim) {
        let readers: Vec<Reader> =
            self.clients().readers.extract_if(.., |reader| reader.claim == claim.id).collect();
        for reader in readers {
            // One that ended by itself no longer listens.
            let _ = reader.drop.send(());
        }
    }

    /// Ends every connection of a resource, and waits until the books know. Returns how many there were.
    pub(crate) async fn drop_streams(&self, resource: &str) -> usize {
        let readers: Vec<Reader> =
            self.clients().readers.extract_if(.., |reader| reader.resource == resource).collect();
        // One that ended by itself no longer listens.
        let dropped =
            readers.into_iter().filter_map(|Reader { drop, task, .. }| drop.send(()).ok().map(|()| task));
        let dropped: Vec<JoinHandle<()>> = dropped.collect();
        let count = dropped.len();
        for task in dropped {
            // Fails when the kubelet is stopped meanwhile, which ends it too.
            let _ = task.await;
        }
        count
    }

    fn write(&self, books: &Books) {
        if self.settings.checkpoint {
            let (registered, pods) = (books.registered(), books.pods().clone());
            checkpoint::write(&self.settings.dir, &Checkpoint { registered, pods });
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
