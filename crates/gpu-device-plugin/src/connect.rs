//! A gRPC channel over a Unix socket that is connected here, not by gRPC: a refusal is told at once, and
//! the caller's own schedule decides when to try again, instead of gRPC's back-off of a second.

use std::io;
use std::path::Path;

use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// No channel.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The socket takes no connection.
    #[error("connect failed")]
    Socket(#[source] io::Error),
    /// It takes connections and does not speak HTTP/2.
    #[error("gRPC handshake failed")]
    Handshake(#[source] tonic::transport::Error),
}

impl ConnectError {
    /// Whether there is no socket.
    pub fn is_missing(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound};
        matches!(self, ConnectError::Socket(error) if matches!(error.kind(), NotFound | NotADirectory))
    }

    /// Whether a socket is there that nobody listens on, as between a server's bind and its listen.
    pub fn is_refused(&self) -> bool {
        matches!(self, ConnectError::Socket(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// A channel to whoever listens on `socket`. When the connection breaks it does not come back.
///
/// # Errors
/// When the socket takes no connection, or the peer does not speak HTTP/2.
pub async fn channel_to(socket: &Path) -> Result<Channel, ConnectError> {
    let mut stream = Some(UnixStream::connect(socket).await.map_err(ConnectError::Socket)?);
    // The first connection is the one made above; a second one is refused.
    let connector = tower::service_fn(move |_: Uri| {
        let next =
            stream.take().map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(next)
    });
    // The address is never resolved; HTTP/2 wants an authority.
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.map_err(ConnectError::Handshake)
}
