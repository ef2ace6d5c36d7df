//! What Node Feature Discovery says of the own Node: by its labels a node has a GPU, also where we cannot read the bus.

use gpu_model::names::{LABEL_NFD_3D_CONTROLLER, LABEL_NFD_NVIDIA_DEVICE, LABEL_NFD_VGA_CONTROLLER};
use node_api::{NodeView, OwnNode};
use tokio::sync::watch;

/// Its labels of a node with such a device, by what it is set up to tell devices apart.
const LABELS: [&str; 3] = [LABEL_NFD_NVIDIA_DEVICE, LABEL_NFD_VGA_CONTROLLER, LABEL_NFD_3D_CONTROLLER];

/// Whether it says that there is a GPU.
fn says_present(node: &NodeView) -> bool {
    LABELS.iter().any(|key| node.label(key) == Some("true"))
}

/// Follows what it says, for as long as the Node is watched. A Node that cannot be seen says what it said.
pub async fn follow(mut node: watch::Receiver<OwnNode>, says: watch::Sender<Option<bool>>) {
    loop {
        let now = match &*node.borrow_and_update() {
            OwnNode { view: Some(view), .. } => Some(says_present(view)),
            // There is no such Node.
            OwnNode { view: None, trouble: None, looks: 1.., .. } => Some(false),
            OwnNode { .. } => None,
        };
        if now.is_some() {
            says.send_if_modified(|said| std::mem::replace(said, now) != now);
        }
        if node.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
