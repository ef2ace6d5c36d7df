//! A client that calls the kubelet by its socket's path.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fake_kubelet::{Event, FakeKubelet};
use tokio::time::timeout;

/// What NVIDIA's device plugin 0.18.0 (grpc-go) sent to `/var/lib/kubelet/device-plugins/kubelet.sock`, recorded: SETTINGS,
/// their acknowledgement, `Register` for `nvidia.com/gpu` at `nvidia-gpu.sock`.
const REGISTER: &str = "0000000400000000000000000401000000000000690104000000018386459563b8632a4615f6966321360d\
    263d4c6d2cc6424b6741a754587b8ec545868346a8b0f5b632d054aa2c3217b98855aba2d98d5215161eb6c65a0a95d072755f8b1d75d062\
    0d263d4c4d65647a8d9acac8b4c7602bb8fae05a42f740027465864d833505b11f000033000100000001000000002e0a0776316265746131\
    120f6e76696469612d6770752e736f636b1a0e6e76696469612e636f6d2f67707522021001";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Fails when the sockets are served without `accepted`: h2 ends the call, and the registry is never asked.
#[tokio::test]
async fn client_that_calls_the_kubelet_by_the_path_of_its_socket_is_heard() {
    let dir = tempfile::TempDir::new().unwrap();
    let builder = FakeKubelet::builder(dir.path().join("device-plugins"));
    let kubelet = builder.dial_timeout(Duration::ZERO).start().await.unwrap();
    let mut events = kubelet.events();
    let mut client = UnixStream::connect(kubelet.socket()).unwrap();
    let digits = |at| u8::from_str_radix(&REGISTER[at..at + 2], 16).unwrap();
    let register: Vec<u8> = (0..REGISTER.len()).step_by(2).map(digits).collect();
    client.write_all(&[PREFACE, &register].concat()).unwrap();
    // Nobody listens there: that it was looked for is all.
    let heard = timeout(Duration::from_secs(60), async {
        loop {
            if let Event::RegistrationRefused { resource, endpoint, .. } = events.recv().await.unwrap().event
            {
                return (resource, endpoint);
            }
        }
    });
    assert_eq!(heard.await.unwrap(), ("nvidia.com/gpu".to_owned(), "nvidia-gpu.sock".to_owned()));
}
