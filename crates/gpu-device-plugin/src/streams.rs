//! The ListAndWatch streams: each renders the newest state, at its own pace.
//!
//! A stream sends when the device list has a generation that it has not sent: the first at once, further
//! ones at least [`MIN_GAP`] apart, because the kubelet writes its checkpoint on each message. A reader that
//! is slow gets the newest list when it reads again, never a backlog.
//!
//! Any root process may open a stream. The kubelet's is the one on the connection that asked for the plugin's
//! options first on the newest socket, as the kubelet does inside `Register`; [`StreamsStatus::kubelet`] counts that
//! one alone.

use std::sync::Arc;
use std::time::Duration;

use kubelet_api::deviceplugin::v1beta1 as wire;
use kubelet_api::deviceplugin::{HEALTHY, MAX_MESSAGE_TO_KUBELET, UNHEALTHY};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::socket::Origin;
use crate::state::{Device, Snapshot};

/// Least time between two messages of one stream.
pub const MIN_GAP: Duration = Duration::from_millis(250);

/// Most devices of one resource: what a preference, which names each of them twice at most, may ask about.
pub const MAX_DEVICES: usize = 16_384;

/// Longest id of a device, in bytes, as the protocol documents it; the kubelet does not check it.
pub const LONGEST_ID: usize = 63;

/// Most bytes that a device takes in a list: the longest id, its health, a NUMA node, and their framing.
const LONGEST_ENTRY: usize = LONGEST_ID + 64;

// As many devices as there may be fit into one message, whatever their ids.
const _: () = assert!(MAX_DEVICES * LONGEST_ENTRY <= MAX_MESSAGE_TO_KUBELET);

/// What goes through a stream.
pub type Message = Result<wire::ListAndWatchResponse, Status>;

/// All streams together, and the kubelet's among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamsStatus {
    /// Streams that are open.
    pub live: usize,
    /// Generation that was last handed to any stream; 0 before the first.
    pub sent: u64,
    /// Lists that a stream did not send, since a newer one came before it could.
    pub skipped: u64,
    /// The streams of the registration that stands, or is under way.
    pub kubelet: Registered,
}

/// The streams of one registration: those of the kubelet that it was made with, through the socket that it named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    socket: u64,
    connection: Option<u64>,
    live: usize,
    sent: u64,
}

impl Registered {
    /// Whether the kubelet's stream is open and has a device list: then its generation.
    pub fn has_list(&self) -> Option<u64> {
        (self.live > 0 && self.sent > 0).then_some(self.sent)
    }

    /// What tells the kubelet's stream from an earlier one, while it is open and has a list.
    pub fn stream(&self) -> Option<(u64, u64)> {
        self.has_list()?;
        Some((self.socket, self.connection?))
    }

    fn is_of(&self, origin: Origin) -> bool {
        self.socket == origin.socket && self.connection == Some(origin.connection)
    }
}

/// Opens the streams of one resource and counts them.
#[derive(Clone, Debug)]
pub struct Streams {
    state: watch::Receiver<Snapshot>,
    status: Arc<watch::Sender<StreamsStatus>>,
    min_gap: Duration,
}

impl Streams {
    /// Streams of this state, whose messages are at least `min_gap` apart.
    pub fn new(state: watch::Receiver<Snapshot>, min_gap: Duration) -> Self {
        Self { state, status: Arc::new(watch::Sender::new(StreamsStatus::default())), min_gap }
    }

    /// How many there are, now and on each change.
    pub fn status(&self) -> watch::Receiver<StreamsStatus> {
        self.status.subscribe()
    }

    /// The next registration names this socket. Streams on earlier ones end: a kubelet of 1.37 and later would keep both,
    /// one for each socket, and an older one drops the resource with a stream that ends after the new registration.
    pub fn expect(&self, socket: u64) {
        self.status.send_modify(|status| status.kubelet = Registered { socket, ..Registered::default() });
    }

    /// The peer of this connection asked for the options.
    pub fn introduced(&self, origin: Origin) {
        self.status.send_if_modified(|status| {
            let kubelet = &mut status.kubelet;
            let is_first = kubelet.socket == origin.socket && kubelet.connection.is_none();
            if is_first {
                kubelet.connection = Some(origin.connection);
            }
            is_first
        });
    }

    /// Opens a stream. It ends when `ended` does, its socket is left, or its reader goes.
    pub fn open(
        &self,
        origin: Origin,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> mpsc::Receiver<Message> {
        let (messages, reader) = mpsc::channel(1);
        let live = Live::new(self.status.clone(), origin);
        let (state, min_gap) = (self.state.clone(), self.min_gap);
        let mut status = self.status();
        tokio::spawn(async move {
            tokio::select! {
                _ = status.wait_for(|status| status.kubelet.socket > origin.socket) => {}
                () = feed(state, &messages, &live, min_gap) => {}
                () = messages.closed() => {}
                () = ended => {}
            }
        });
        reader
    }
}

/// Counts one stream for as long as it lives.
struct Live {
    status: Arc<watch::Sender<StreamsStatus>>,
    origin: Origin,
    /// Settled as it opens, so that it is counted off only where it was counted.
    is_kubelets: bool,
}

impl Live {
    fn new(status: Arc<watch::Sender<StreamsStatus>>, origin: Origin) -> Self {
        let mut is_kubelets = false;
        status.send_modify(|status| {
            is_kubelets = status.kubelet.is_of(origin);
            status.live += 1;
            status.kubelet.live += usize::from(is_kubelets);
        });
        Self { status, origin, is_kubelets }
    }

    fn sent(&self, generation: u64, skipped: u64) {
        self.status.send_modify(|status| status.skipped += skipped);
        self.count(|_, sent| *sent = generation);
    }

    /// Changes both counts, or that of all streams alone where this is not the kubelet's or a new registration, which
    /// counts from zero, has come.
    fn count(&self, change: impl Fn(&mut usize, &mut u64)) {
        self.status.send_modify(|status| {
            change(&mut status.live, &mut status.sent);
            if self.is_kubelets && status.kubelet.is_of(self.origin) {
                change(&mut status.kubelet.live, &mut status.kubelet.sent);
            }
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.count(|live, _| *live = live.saturating_sub(1));
    }
}

async fn feed(
    mut state: watch::Receiver<Snapshot>,
    messages: &mpsc::Sender<Message>,
    live: &Live,
    min_gap: Duration,
) {
    let mut sent = 0;
    loop {
        let is_news = |state: &Snapshot| state.generation > sent;
        if state.wait_for(is_news).await.is_err() {
            return;
        }
        // Room first, then the newest state: the reader may have been slow.
        let Ok(room) = messages.reserve().await else { return };
        let newest = state.borrow_and_update().clone();
        room.send(Ok(render(&newest.devices, &newest.retired)));
        // The first list of a stream is the newest of all, and leaves none out that it had to send.
        let due = if sent == 0 { newest.generation } else { sent + 1 };
        sent = newest.generation;
        live.sent(sent, sent.saturating_sub(due));
        tokio::time::sleep(min_gap).await;
    }
}

/// A list that the kubelet would not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{devices} devices are more than the {MAX_DEVICES} that one resource may have; the newest are not offered"
)]
pub struct ListTooLarge {
    /// How many.
    devices: usize,
}

/// Whether the kubelet would take a list of these devices, and of these ids that are retired.
///
/// # Errors
/// With the figures, when it would not.
pub fn check_list(devices: &[Device], retired: &[String]) -> Result<(), ListTooLarge> {
    let count = devices.iter().map(Device::count).sum::<usize>() + retired.len();
    if count > MAX_DEVICES {
        return Err(ListTooLarge { devices: count });
    }
    Ok(())
}

/// The device list as the kubelet reads it.
fn render(devices: &[Device], retired: &[String]) -> wire::ListAndWatchResponse {
    let gone = |id: &String| wire::Device { id: id.clone(), health: UNHEALTHY.to_owned(), topology: None };
    let devices = devices.iter().flat_map(render_device).chain(retired.iter().map(gone));
    wire::ListAndWatchResponse { devices: devices.collect() }
}

/// One entry for each id.
fn render_device(device: &Device) -> impl Iterator<Item = wire::Device> {
    let node = |id: u32| wire::TopologyInfo { nodes: vec![wire::NumaNode { id: i64::from(id) }] };
    let topology = device.offered.numa_node.map(node);
    let health = if device.is_schedulable() { HEALTHY } else { UNHEALTHY };
    device.ids().map(move |id| wire::Device { id, health: health.to_owned(), topology: topology.clone() })
}

#[cfg(test)]
mod tests {
    use gpu_model::{Health, HealthReason};

    use super::*;
    use crate::board::Board;
    use crate::board::tests::offering;
    use crate::state::State;
    use crate::state::tests::{node, shared};

    const GAP: Duration = Duration::from_millis(40);

    const ORIGIN: Origin = Origin { socket: 1, connection: 1 };

    fn plugin() -> (Board, Streams) {
        let (board, state) = offering(node(8));
        (board, Streams::new(state, GAP))
    }

    fn healthy(message: Option<Message>) -> usize {
        message.unwrap().unwrap().devices.iter().filter(|device| device.health == HEALTHY).count()
    }

    fn lose(board: &mut Board, at: usize) {
        let mut state = State::clone(&board.current()[0]);
        state.devices[at].health = Health::Unhealthy { reason: HealthReason::Lost };
        board.publish(vec![state]);
    }

    // Fails without the pause in `feed`.
    #[tokio::test]
    async fn k24_f18_first_list_comes_at_once_and_many_changes_make_one_message_after_the_gap() {
        let (mut board, streams) = plugin();
        let mut reader = streams.open(ORIGIN, std::future::pending());
        let start = std::time::Instant::now();
        assert_eq!(healthy(reader.recv().await), 8);
        for at in 0..5 {
            lose(&mut board, at);
        }
        assert_eq!(healthy(reader.recv().await), 3);
        assert!(start.elapsed() >= GAP);
        let status = *streams.status().borrow();
        assert_eq!((status.sent, status.skipped), (6, 4));
    }

    #[tokio::test]
    async fn slow_reader_gets_the_newest_list_and_no_backlog() {
        let (mut board, streams) = plugin();
        let mut reader = streams.open(ORIGIN, std::future::pending());
        assert_eq!(healthy(reader.recv().await), 8);
        lose(&mut board, 0);
        // The second list is on its way, and nobody reads.
        streams.status().wait_for(|status| status.sent == 2).await.unwrap();
        for at in 1..6 {
            lose(&mut board, at);
        }
        assert_eq!(healthy(reader.recv().await), 7);
        assert_eq!(healthy(reader.recv().await), 2);
    }

    #[tokio::test]
    async fn two_streams_both_get_each_list_and_are_counted_while_they_live() {
        let (mut board, streams) = plugin();
        let open = || streams.open(ORIGIN, std::future::pending());
        let (mut one, mut two) = (open(), open());
        assert_eq!((healthy(one.recv().await), healthy(two.recv().await)), (8, 8));
        lose(&mut board, 0);
        assert_eq!((healthy(one.recv().await), healthy(two.recv().await)), (7, 7));
        let mut status = streams.status();
        assert_eq!(status.borrow().live, 2);
        drop(one);
        status.wait_for(|status| status.live == 1).await.unwrap();
    }

    #[tokio::test]
    async fn stream_counts_as_the_kubelets_only_on_the_connection_that_asked_for_the_options_first() {
        let (_board, streams) = plugin();
        let status = streams.status();
        let on = |socket, connection| Origin { socket, connection };
        streams.expect(7);
        // Somebody else's, which is there before the kubelet and stays.
        let mut other = streams.open(on(7, 1), std::future::pending());
        healthy(other.recv().await);
        assert_eq!((status.borrow().live, status.borrow().kubelet.has_list()), (1, None));

        streams.introduced(on(6, 9));
        streams.introduced(on(7, 2));
        streams.introduced(on(7, 3));
        let mut late = streams.open(on(7, 3), std::future::pending());
        healthy(late.recv().await);
        assert_eq!(status.borrow().kubelet.has_list(), None);
        let mut kubelets = streams.open(on(7, 2), std::future::pending());
        healthy(kubelets.recv().await);
        assert_eq!(status.borrow().kubelet.has_list(), Some(1));

        drop(kubelets);
        streams.status().wait_for(|status| status.live == 2).await.unwrap();
        assert_eq!(status.borrow().kubelet.has_list(), None);
    }

    #[tokio::test]
    async fn stream_from_before_the_introduction_is_never_counted_off_as_the_kubelets() {
        let (_board, streams) = plugin();
        let status = streams.status();
        streams.expect(1);
        let mut early = streams.open(ORIGIN, std::future::pending());
        healthy(early.recv().await);
        streams.introduced(ORIGIN);
        let mut kubelets = streams.open(ORIGIN, std::future::pending());
        healthy(kubelets.recv().await);
        drop(early);
        streams.status().wait_for(|status| status.live == 1).await.unwrap();
        assert_eq!(status.borrow().kubelet.has_list(), Some(1));
    }

    #[tokio::test]
    async fn stream_of_an_earlier_registration_ends_and_says_nothing_about_the_next() {
        let (_board, streams) = plugin();
        let status = streams.status();
        let before = Origin { socket: 1, connection: 1 };
        streams.expect(1);
        streams.introduced(before);
        let mut old = streams.open(before, std::future::pending());
        healthy(old.recv().await);
        assert_eq!(status.borrow().kubelet.has_list(), Some(1));

        streams.expect(2);
        assert_eq!(status.borrow().kubelet.has_list(), None);
        while let Some(list) = old.recv().await {
            healthy(Some(list));
        }
        streams.status().wait_for(|status| status.live == 0).await.unwrap();
        assert_eq!(status.borrow().kubelet, Registered { socket: 2, ..Registered::default() });
    }

    #[test]
    fn list_that_the_kubelet_would_not_take_is_refused_with_the_figures() {
        let device = node(1).devices.remove(0);
        let many = |count| vec![device.clone(); count];
        assert!(check_list(&shared(2, 10_000).devices, &[]).is_err());
        assert_eq!(check_list(&many(MAX_DEVICES), &[]), Ok(()));
        assert!(check_list(&many(MAX_DEVICES), &["GPU-1::9".to_owned()]).is_err());
        let error = check_list(&many(MAX_DEVICES + 1), &[]).unwrap_err().to_string();
        assert!(error.contains("16385 devices") && error.contains("16384"), "{error}");
        // The bound on bytes is no wider than that on devices: the longest id, and its framing.
        let longest = LONGEST_ID + 32;
        assert!(MAX_DEVICES * longest < MAX_MESSAGE_TO_KUBELET);
    }
}
