//! The serving side of the control socket. Knows [`FakeKubelet`] and the requests.

use std::{fs, io, path::Path};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{broadcast::error::RecvError, watch},
};

use super::Request;
use crate::FakeKubelet;

/// Longest request line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Serves the control socket until a client asks to quit.
///
/// # Errors
/// The socket cannot be opened; the text names its path. A live one of another process is not replaced.
pub async fn serve(kubelet: FakeKubelet, socket: &Path) -> io::Result<()> {
    let listener = open(socket).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", socket.display()))
    })?;
    let (quit, mut quitting) = watch::channel(false);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let (kubelet, quit) = (kubelet.clone(), quit.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(&kubelet, stream, &quit).await {
                        tracing::debug!(%error, "control client has gone");
                    }
                });
            }
            _ = quitting.wait_for(|quitting| *quitting) => break,
        }
    }
    fs::remove_file(socket)
}

fn open(socket: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(socket) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(socket).is_ok() {
                return Err(error);
            }
            fs::remove_file(socket)?;
            UnixListener::bind(socket)
        }
        done => done,
    }
}

async fn converse(kubelet: &FakeKubelet, stream: UnixStream, quit: &watch::Sender<bool>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = String::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut lines, MAX_LINE);
        if limited.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match serde_json::from_str(&line) {
            Ok(Request::Watch) => return watch_events(kubelet, &mut write).await,
            Ok(Request::Quit) => {
                send(&mut write, &json!({ "ok": null })).await?;
                quit.send_replace(true);
                return Ok(());
            }
            Ok(request) => send(&mut write, &answer(kubelet, request).await).await?,
            Err(error) => send(&mut write, &json!({ "error": format!("bad request: {error}") })).await?,
        }
    }
}

async fn answer(kubelet: &FakeKubelet, request: Request) -> Value {
    match request {
        Request::State => ok(kubelet.resources()),
        Request::Allocate(request) => match kubelet.admit(&request).await {
            Ok(allocation) => ok(allocation),
            Err(error) => refused(&error),
        },
        Request::RestartContainer { pod, container, resource } => {
            match kubelet.restart_container(pod, &container, &resource).await {
                Ok(allocation) => ok(allocation),
                Err(error) => refused(&error),
            }
        }
        Request::Release { pod } => ok(kubelet.release(pod)),
        Request::DropStreams { resource } => ok(kubelet.drop_streams(&resource).await),
        Request::WithholdStreams => {
            kubelet.withhold_streams();
            ok(())
        }
        Request::OpenStreams => {
            kubelet.open_streams();
            ok(())
        }
        Request::Stop => {
            kubelet.stop().await;
            ok(())
        }
        Request::Restart => match kubelet.restart().await {
            Ok(()) => ok(()),
            Err(error) => refused(&error),
        },
        Request::Log => ok(kubelet.log()),
        // Handled by the caller, which owns the stream and the end.
        Request::Watch | Request::Quit => ok(()),
    }
}

async fn watch_events(kubelet: &FakeKubelet, write: &mut OwnedWriteHalf) -> io::Result<()> {
    let mut events = kubelet.events();
    send(write, &ok(())).await?;
    loop {
        match events.recv().await {
            Ok(happening) => send(write, &ok(happening)).await?,
            Err(RecvError::Lagged(missed)) => {
                send(write, &json!({ "error": format!("{missed} events missed") })).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, answer: &Value) -> io::Result<()> {
    write.write_all(format!("{answer}\n").as_bytes()).await
}

fn ok(value: impl Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(value) => json!({ "ok": value }),
        Err(error) => refused(&error),
    }
}

fn refused(error: &dyn std::error::Error) -> Value {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    json!({ "error": text })
}
