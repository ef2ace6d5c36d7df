//! A client that can misbehave: plain text over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use daemon::admin::{Admin, Limits, Sources};
use daemon::{BuildInfo, Readiness};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// When a test stops waiting for what must come. Never reached by a server that works.
pub const GIVE_UP: Duration = Duration::from_secs(30);

pub async fn server(limits: Limits) -> (Admin, Readiness, Registry) {
    let (readiness, registry) = (Readiness::new(), Registry::new());
    let build = BuildInfo::of("gpu-example");
    let sources = Sources { readiness: readiness.clone(), registry: registry.clone(), build };
    let admin = Admin::bind(([127, 0, 0, 1], 0).into(), limits, sources).await.unwrap();
    (admin, readiness, registry)
}

pub async fn get(address: SocketAddr, path: &str) -> String {
    send(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
}

/// Sends `request` and reads until the server closes the connection, which it always must.
pub async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed already.
    let _ = stream.write_all(request.as_bytes()).await;
    read_to_close(&mut stream).await
}

/// What comes until the server closes the connection. A reset after a refusal counts as a close.
pub async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    let closed = tokio::time::timeout(GIVE_UP, reading).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(closed.is_ok(), "the server never closed the connection; it sent: {answer:?}");
    answer
}

pub fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or("no answer")
}

pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}
