//! The ListAndWatch streams: each renders the newest state, at its own pace.
//!
//! A stream sends when the device list has a generation that it has not sent: the first at once, further
//! ones at least [`MIN_GAP`] apart, because the kubelet writes its checkpoint on each message. A reader that
//! is slow gets the newest list when it reads again, never a backlog.

use std::sync::Arc;
use std::time::Duration;

use kubelet_api::deviceplugin::v1beta1 as wire;
use kubelet_api::deviceplugin::{HEALTHY, UNHEALTHY};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::state::{Device, Snapshot, State};

/// Least time between two messages of one stream.
pub const MIN_GAP: Duration = Duration::from_millis(250);

/// What goes through a stream.
pub type Message = Result<wire::ListAndWatchResponse, Status>;

/// All streams together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamsStatus {
    /// Streams that are open.
    pub live: usize,
    /// Streams opened so far.
    pub opened: u64,
    /// Generation that was last handed to a stream; 0 before the first.
    pub sent: u64,
}

/// Opens streams and counts them.
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

    /// Opens a stream. It ends when `ended` does, or its reader goes.
    pub fn open(&self, ended: impl Future<Output = ()> + Send + 'static) -> mpsc::Receiver<Message> {
        let (messages, reader) = mpsc::channel(1);
        let live = Live::new(self.status.clone());
        let (state, min_gap) = (self.state.clone(), self.min_gap);
        tokio::spawn(async move {
            tokio::select! {
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
}

impl Live {
    fn new(status: Arc<watch::Sender<StreamsStatus>>) -> Self {
        status.send_modify(|status| {
            status.live += 1;
            status.opened += 1;
        });
        Self { status }
    }

    fn sent(&self, generation: u64) {
        self.status.send_modify(|status| status.sent = generation);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.status.send_modify(|status| status.live -= 1);
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
        room.send(Ok(render(&newest)));
        sent = newest.generation;
        live.sent(sent);
        tokio::time::sleep(min_gap).await;
    }
}

/// The device list as the kubelet reads it.
fn render(state: &State) -> wire::ListAndWatchResponse {
    wire::ListAndWatchResponse { devices: state.devices.iter().map(render_device).collect() }
}

fn render_device(device: &Device) -> wire::Device {
    let node = |id: u32| wire::TopologyInfo { nodes: vec![wire::NumaNode { id: i64::from(id) }] };
    wire::Device {
        id: device.gpu.to_string(),
        health: if device.is_schedulable() { HEALTHY } else { UNHEALTHY }.to_owned(),
        topology: device.numa_node.map(node),
    }
}

#[cfg(test)]
mod tests {
    use gpu_model::{Health, HealthReason};

    use super::*;
    use crate::state::Publisher;
    use crate::state::tests::node;

    const GAP: Duration = Duration::from_millis(40);

    fn plugin() -> (Publisher, Streams) {
        let (publisher, state) = Publisher::new("nvidia.com/gpu".parse().unwrap());
        publisher.publish(|state| state.devices = node(8).devices);
        (publisher, Streams::new(state, GAP))
    }

    fn healthy(message: Option<Message>) -> usize {
        message.unwrap().unwrap().devices.iter().filter(|device| device.health == HEALTHY).count()
    }

    fn lose(publisher: &Publisher, at: usize) {
        publisher
            .publish(|state| state.devices[at].health = Health::Unhealthy { reason: HealthReason::Lost });
    }

    #[tokio::test]
    async fn first_list_comes_at_once_and_many_changes_make_one_message_after_the_gap() {
        let (publisher, streams) = plugin();
        let mut reader = streams.open(std::future::pending());
        let start = std::time::Instant::now();
        assert_eq!(healthy(reader.recv().await), 8);
        for at in 0..5 {
            lose(&publisher, at);
        }
        assert_eq!(healthy(reader.recv().await), 3);
        assert!(start.elapsed() >= GAP);
        assert_eq!(streams.status().borrow().sent, 6);
    }

    #[tokio::test]
    async fn slow_reader_gets_the_newest_list_and_no_backlog() {
        let (publisher, streams) = plugin();
        let mut reader = streams.open(std::future::pending());
        assert_eq!(healthy(reader.recv().await), 8);
        lose(&publisher, 0);
        // The second list is on its way, and nobody reads.
        streams.status().wait_for(|status| status.sent == 2).await.unwrap();
        for at in 1..6 {
            lose(&publisher, at);
        }
        assert_eq!(healthy(reader.recv().await), 7);
        assert_eq!(healthy(reader.recv().await), 2);
    }

    #[tokio::test]
    async fn two_streams_both_get_each_list_and_are_counted_while_they_live() {
        let (publisher, streams) = plugin();
        let (mut one, mut two) = (streams.open(std::future::pending()), streams.open(std::future::pending()));
        assert_eq!((healthy(one.recv().await), healthy(two.recv().await)), (8, 8));
        lose(&publisher, 0);
        assert_eq!((healthy(one.recv().await), healthy(two.recv().await)), (7, 7));
        let mut status = streams.status();
        assert_eq!(status.borrow().live, 2);
        drop(one);
        status.wait_for(|status| status.live == 1).await.unwrap();
        assert_eq!(status.borrow().opened, 2);
    }
}
