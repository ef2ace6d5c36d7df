//! Connects to sockets of other programs. Knows no protocol.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// grpc-go's first wait after a refused connection, which the real kubelet's dial inherits.
const RETRY: Duration = Duration::from_secs(1);

/// Connects, trying again every second: the caller sets the limit.
pub(crate) async fn dial_patiently(socket: PathBuf) -> Channel {
    loop {
        match dial(&socket).await {
            Ok(channel) => return channel,
            Err(error) => tracing::debug!(socket = %socket.display(), %error, "cannot connect yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Connects once.
pub(crate) async fn dial(socket: &Path) -> io::Result<Channel> {
    let socket = socket.to_owned();
    let connect = service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.map_err(io::Error::other)
}
