//! The admin server: `/live`, `/ready`, `/metrics`, `/version`.
//!
//! It stands on the pod network, open to anybody, so everything about it is bounded. A connection serves one
//! request and is closed: its whole life has one deadline, and idle connections cannot pile up.

mod answer;
mod slots;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::Registry;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;

use crate::build::BuildInfo;
use crate::readiness::Readiness;

use slots::Slots;

/// Wait after a failed `accept`, which is most often a lack of descriptors: trying again at once would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections that the kernel holds until they are accepted: those beyond the limit wait to be refused.
const BACKLOG: u32 = 128;

/// Sent, if it can be without waiting, to a connection beyond the limit.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// The least that [`Limits::header_bytes`] may be: hyper knows no less.
pub const MIN_HEADER_BYTES: usize = 8 * 1024;

/// What a client may ask of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the request's line and headers together, in bytes: [`MIN_HEADER_BYTES`] or more.
    pub header_bytes: usize,
    /// Time until the request's headers are there.
    pub header_timeout: Duration,
    /// Time until the answer is read, from the connection's begin.
    pub request_timeout: Duration,
    /// Connections at a time; further ones are refused.
    pub connections: usize,
    /// Connections at a time from one address, so that one client cannot keep the kubelet's probes out.
    pub connections_per_address: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes: MIN_HEADER_BYTES,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            connections: 64,
            connections_per_address: 16,
        }
    }
}

/// What the server shows.
#[derive(Clone, Debug)]
pub struct Sources {
    /// For `/ready`.
    pub readiness: Readiness,
    /// For `/metrics`.
    pub registry: Registry,
    /// For `/version`.
    pub build: BuildInfo,
}

/// A listening server. It stops when dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    accepting: AbortHandle,
}

/// The server could not listen.
#[derive(Debug, Error)]
#[error("cannot listen on the admin address {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl BindError {
    /// Whether this machine has no addresses of that family.
    pub(crate) fn lacks_family(&self) -> bool {
        let unsupported =
            matches!(self.source.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable);
        // EAFNOSUPPORT, which std gives no kind.
        unsupported || self.source.raw_os_error() == Some(97)
    }
}

impl Admin {
    /// Listens on `address` (port 0 takes a free one) and serves from then on. All addresses of IPv6 (`[::]`) are
    /// all of IPv4 too.
    pub async fn bind(address: SocketAddr, limits: Limits, sources: Sources) -> Result<Admin, BindError> {
        let fail = |source| BindError { address, source };
        if limits.header_bytes < MIN_HEADER_BYTES {
            let rule =
                format!("header_bytes is {}: expected {MIN_HEADER_BYTES} or more", limits.header_bytes);
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, rule)));
        }
        let listener = listen(address).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let accepting = tokio::spawn(accept(listener, limits, Arc::new(sources))).abort_handle();
        Ok(Admin { address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// As [`TcpListener::bind`], but of both families on `[::]` whatever `net.ipv6.bindv6only` says: a kubelet may
/// probe over IPv4.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, limits: Limits, sources: Arc<Sources>) {
    let slots = Arc::new(Slots::new(&limits));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "admin server cannot accept");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Some(slot) = Slots::take(&slots, peer.ip()) else {
            let _ = stream.try_write(TOO_MANY);
            continue;
        };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            serve(stream, limits, sources).await;
            drop(slot);
        });
    }
}

async fn serve(stream: TcpStream, limits: Limits, sources: Arc<Sources>) {
    let service = service_fn(move |request| {
        let answer = answer::answer(&request, &sources);
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limits.request_timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_) => tracing::debug!("admin connection cut: the request took too long"),
    }
}
