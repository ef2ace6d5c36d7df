//! Control of a fake kubelet in another process: one JSON request per line on a socket, one JSON answer per line.
//!
//! A request is `{"op": "state"}` and the like, see [`Request`]; an answer is `{"ok": …}` or `{"error": "…"}`.
//! `watch` is answered once no event is missed any more; then the answers go on, one per event, until the client
//! hangs up.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::state::{PodName, PodRequest};

pub mod client;
pub mod server;
pub mod table;

/// File name of the control socket, beside the plugin folder.
const SOCKET_NAME: &str = "fake-kubelet.sock";

/// Something that a fake kubelet is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Everything that it knows: a [`crate::State`].
    State,
    /// Admit a container: an [`crate::Allocation`].
    Allocate(PodRequest),
    /// End a pod: whether it was known.
    Release {
        /// The pod.
        pod: PodName,
    },
    /// Start an admitted container once more: an [`crate::Allocation`].
    RestartContainer {
        /// The pod.
        pod: PodName,
        /// The container.
        container: String,
        /// The resource that it holds.
        resource: String,
    },
    /// Drop a resource's streams while the kubelet stays up: how many there were.
    DropStreams {
        /// The resource.
        resource: String,
    },
    /// Register plugins without opening their streams from now on.
    WithholdStreams,
    /// Open the streams that were withheld.
    OpenStreams,
    /// Stop the kubelet as a killed process; this socket stays.
    Stop,
    /// Start the kubelet again, stopping it first when it runs.
    Restart,
    /// What happened so far: a list of [`crate::Happening`].
    Log,
    /// What happens from the answer on: one [`crate::Happening`] per line.
    Watch,
    /// End the process.
    Quit,
}

/// The control socket of the fake kubelet with this plugin folder.
pub fn socket(plugin_dir: &Path) -> PathBuf {
    plugin_dir.with_file_name(SOCKET_NAME)
}
