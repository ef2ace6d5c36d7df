//! One suite of what an API server does for an agent of a node, run on the fake and on a real one alike.
//!
//! It speaks HTTP without TLS: a real server is reached through `kubectl proxy`. It works on a Node of its own, which it
//! creates and deletes, and on objects of its own in the namespace `default`.

mod cases;
mod client;
mod definition;

use std::net::SocketAddr;

pub use client::{Client, Reply};
pub use definition::node_feature_definition;

/// Where to send requests.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server, or the proxy before it.
    pub address: SocketAddr,
    /// For servers that want one; a proxy adds its own.
    pub token: Option<String>,
}

/// What a case found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was to be found.
    pub case: &'static str,
    /// What is different. None: nothing.
    pub problem: Option<String>,
}

/// Runs all cases; those on NodeFeatures only where `node_features` says that they are defined, as they are once
/// [`node_feature_definition`] is established.
pub async fn run(target: &Target, node_features: bool) -> Vec<Verdict> {
    let client = Client::new(target.clone());
    let mut verdicts = Vec::new();
    for (case, result) in cases::all(&client, node_features).await {
        verdicts.push(Verdict { case, problem: result.err() });
    }
    verdicts
}
