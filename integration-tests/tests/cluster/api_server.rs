//! The suite that holds the fake API server to the real one, run on the real one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use fake_apiserver::conformance::{self, Target};
use test_cluster::Verdict;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;

use crate::node::{Node, lock_own, wait};
use crate::nodefeature::Definition;

/// `kubectl proxy`, until it goes out of scope.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Proxy {
    /// By a socket that is a file: the node's network is another one.
    fn start(node: &Node, socket: &Path) -> Result<Self> {
        let mut command = node.kubectl.command();
        command.arg("proxy").arg(format!("--unix-socket={}", socket.display()));
        // It refuses changes of pods' insides alone, which nobody makes here.
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("start kubectl proxy")?;
        let proxy = Self(child);
        wait("kubectl proxy", || {
            Ok(match std::os::unix::net::UnixStream::connect(socket) {
                Ok(_) => Verdict::Done(()),
                Err(error) => Verdict::Waiting(error.to_string()),
            })
        })?;
        Ok(proxy)
    }
}

/// Hands each connection to a loopback port on to the socket.
async fn relay(socket: &Path) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on loopback")?;
    let address = listener.local_addr()?;
    let socket = socket.to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut far = UnixStream::connect(&socket).await?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Ok(address)
}

#[test]
fn real_api_server_passes_the_suite_of_the_fake_one() {
    let Some(node) = lock_own("conformance of the API server") else { return };
    let _defined = Definition::install(&node).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let _proxy = Proxy::start(&node, &socket).unwrap();
    let runtime = Runtime::new().unwrap();
    let verdicts = runtime.block_on(async {
        let address = relay(&socket).await.unwrap();
        conformance::run(&Target { address, token: None }, true).await
    });
    assert!(!verdicts.is_empty());
    let different: Vec<_> = verdicts.iter().filter(|verdict| verdict.problem.is_some()).collect();
    assert!(different.is_empty(), "{different:#?}");
}
