//! Watches: every change since a version, and those to come, as lines of JSON.

use std::io;

use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::metadata::partial;

/// What the body of a watch is fed with.
pub(crate) type Lines = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;

#[derive(Debug)]
struct Watcher {
    node: String,
    metadata: bool,
    lines: Lines,
}

#[derive(Debug)]
struct Change {
    version: u64,
    kind: &'static str,
    object: Value,
}

/// All watches of Nodes, and the changes that they may go on from.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    watchers: Vec<Watcher>,
    changes: Vec<Change>,
    /// Older versions cannot be gone on from.
    oldest: u64,
}

impl Watches {
    /// Tells a change of a Node.
    pub fn tell(&mut self, version: u64, kind: &'static str, object: &Value) {
        let change = Change { version, kind, object: object.clone() };
        self.watchers.retain(|watcher| !watcher.concerns(&change) || watcher.send(kind, object));
        self.changes.push(change);
    }

    /// Opens a watch of a Node from a version on. False: that version is too old.
    pub fn open(&mut self, node: &str, since: u64, metadata: bool, lines: Lines) -> bool {
        let watcher = Watcher { node: node.to_owned(), metadata, lines };
        if since < self.oldest {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
                "message": format!("too old resource version: {since} ({})", self.oldest),
            });
            watcher.line(&json!({ "type": "ERROR", "object": status }));
            return false;
        }
        for change in self.changes.iter().filter(|it| it.version > since && watcher.concerns(it)) {
            watcher.send(change.kind, &change.object);
        }
        self.watchers.push(watcher);
        true
    }

    pub fn bookmark(&mut self, version: u64) {
        let object = json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "resourceVersion": version.to_string() } });
        self.watchers.retain(|watcher| watcher.line(&json!({ "type": "BOOKMARK", "object": object })));
    }

    /// Ends all watches as a server does that has had enough.
    pub fn end(&mut self) {
        self.watchers.clear();
    }

    /// Breaks all watches in the midst of an event.
    pub fn cut(&mut self) {
        for watcher in self.watchers.drain(..) {
            let _ = watcher.lines.send(Ok(Frame::data(Bytes::from_static(b"{\"type\":\"MODI"))));
            let _ = watcher.lines.send(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
        }
    }

    /// Forgets all changes until a version, and ends all watches.
    pub fn expire(&mut self, version: u64) {
        self.oldest = version;
        self.changes.retain(|change| change.version > version);
        self.end();
    }

    pub fn count(&mut self) -> usize {
        self.watchers.retain(|watcher| !watcher.lines.is_closed());
        self.watchers.len()
    }
}

impl Watcher {
    fn concerns(&self, change: &Change) -> bool {
        change.object["metadata"]["name"] == self.node.as_str()
    }

    fn send(&self, kind: &str, object: &Value) -> bool {
        let object = if self.metadata { partial(object) } else { object.clone() };
        self.line(&json!({ "type": kind, "object": object }))
    }

    fn line(&self, event: &Value) -> bool {
        self.lines.send(Ok(Frame::data(Bytes::from(format!("{event}\n"))))).is_ok()
    }
}
