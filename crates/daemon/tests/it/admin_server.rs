//! What the admin server answers, and what it refuses.

use std::net::SocketAddr;
use std::time::Duration;

use daemon::admin::{Limits, MIN_HEADER_BYTES};
use prometheus::IntCounter;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::http::{body, get, read_to_close, send, server, status};

/// Long enough never to be reached in a test that is about something else.
const NEVER: Duration = Duration::from_secs(3600);

fn patient() -> Limits {
    Limits { header_timeout: NEVER, request_timeout: NEVER, ..Limits::default() }
}

#[tokio::test]
async fn ready_with_a_component_not_ready_is_503_and_says_why_since_when() {
    let (admin, readiness, _) = server(patient()).await;
    let nvml = readiness.component("nvml");
    nvml.not_ready("no-driver", "libnvidia-ml.so.1 was not found");
    let answer = get(admin.address(), "/ready").await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable");
    let report: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(report["ready"], false);
    assert_eq!(report["not_ready"][0]["component"], "nvml");
    assert_eq!(report["not_ready"][0]["code"], "no-driver");
    assert_eq!(report["not_ready"][0]["detail"], "libnvidia-ml.so.1 was not found");
    assert!(report["not_ready"][0]["since"].as_str().unwrap().ends_with('Z'), "{report}");

    nvml.ready();
    let answer = get(admin.address(), "/ready").await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn live_does_not_depend_on_readiness() {
    let (admin, readiness, _) = server(patient()).await;
    let _never_ready = readiness.component("nvml");
    assert_eq!(status(&get(admin.address(), "/live").await), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn metrics_are_in_the_text_format_of_prometheus() {
    let (admin, _, registry) = server(patient()).await;
    let counter = IntCounter::new("gantry_test_total", "A counter.").unwrap();
    counter.inc_by(7);
    registry.register(Box::new(counter)).unwrap();
    let answer = get(admin.address(), "/metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(body(&answer).contains("# TYPE gantry_test_total counter\ngantry_test_total 7\n"), "{answer}");
}

#[tokio::test]
async fn version_names_the_program_and_what_built_it() {
    let (admin, ..) = server(patient()).await;
    let answer = get(admin.address(), "/version").await;
    let version: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(version["name"], "gpu-example");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["rustc"].as_str().unwrap().starts_with("1."), "{version}");
    assert!(!version["commit"].as_str().unwrap().is_empty(), "{version}");
}

#[tokio::test]
async fn head_gets_the_headers_alone() {
    let (admin, ..) = server(patient()).await;
    let answer = send(admin.address(), "HEAD /live HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.contains("content-length: 5\r\n"), "{answer}");
    assert_eq!(body(&answer), "");
}

#[tokio::test]
async fn unknown_path_lists_those_that_exist() {
    let (admin, ..) = server(patient()).await;
    for path in ["/", "/healthz", "/..%2flive", "/live/"] {
        let answer = get(admin.address(), path).await;
        assert_eq!(status(&answer), "HTTP/1.1 404 Not Found", "{path}");
        assert!(body(&answer).contains("/live, /ready, /metrics, /version"), "{answer}");
    }
}

#[tokio::test]
async fn method_other_than_get_and_head_is_refused() {
    let (admin, ..) = server(patient()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"] {
        let answer = send(admin.address(), &format!("{method} /live HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(status(&answer), "HTTP/1.1 405 Method Not Allowed", "{method}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn request_with_a_body_is_refused() {
    let (admin, ..) = server(patient()).await;
    for body in
        ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        let answer = send(admin.address(), &format!("GET /live HTTP/1.1\r\nhost: x\r\n{body}")).await;
        assert_eq!(status(&answer), "HTTP/1.1 413 Payload Too Large", "{body}");
    }
}

#[tokio::test]
async fn text_that_is_no_http_is_refused_and_the_server_lives_on() {
    let (admin, ..) = server(patient()).await;
    let answer = send(admin.address(), "\x16\x03\x01 no http at all\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 400 Bad Request");
    assert_eq!(status(&get(admin.address(), "/live").await), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let (admin, ..) = server(patient()).await;
    let big = "x".repeat(1024 * 1024);
    let answer = send(admin.address(), &format!("GET /live HTTP/1.1\r\nhost: x\r\nbig: {big}\r\n\r\n")).await;
    // The rest of the header is never read, so that the close may come as a reset that takes the answer along.
    assert!(answer.is_empty() || status(&answer).starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(status(&get(admin.address(), "/live").await), "HTTP/1.1 200 OK");

    let fits = "x".repeat(6 * 1024);
    let answer =
        send(admin.address(), &format!("GET /live HTTP/1.1\r\nhost: x\r\nbig: {fits}\r\n\r\n")).await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn client_that_never_ends_its_headers_is_cut_off() {
    let limits =
        Limits { header_timeout: Duration::from_millis(50), request_timeout: NEVER, ..Limits::default() };
    let (admin, ..) = server(limits).await;
    let mut slow = TcpStream::connect(admin.address()).await.unwrap();
    slow.write_all(b"GET /live HTTP/1.1\r\nhost:").await.unwrap();
    // Ends only when the server closes.
    let answer = read_to_close(&mut slow).await;
    assert!(answer.is_empty() || status(&answer).contains(" 408 "), "{answer}");
    // The limit holds for each connection anew, so that a quick one may run into it on a slow machine.
    let mut last = String::new();
    for _ in 0..1000 {
        last = get(admin.address(), "/live").await;
        if status(&last) == "HTTP/1.1 200 OK" {
            return;
        }
    }
    panic!("the server lives no more: {last}");
}

#[tokio::test]
async fn client_that_sends_nothing_is_cut_off() {
    let limits =
        Limits { header_timeout: NEVER, request_timeout: Duration::from_millis(50), ..Limits::default() };
    let (admin, ..) = server(limits).await;
    let mut silent = TcpStream::connect(admin.address()).await.unwrap();
    assert_eq!(read_to_close(&mut silent).await, "");
}

#[tokio::test]
async fn connection_beyond_the_limit_is_refused_until_another_ends() {
    let (admin, ..) = server(Limits { connections: 2, ..patient() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(admin.address()).await.unwrap());
    }
    // The refused one sends nothing, so that its close is no reset.
    let mut third = TcpStream::connect(admin.address()).await.unwrap();
    let answer = read_to_close(&mut third).await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body(&answer), "too many connections\n");

    drop(held.pop());
    let mut last = String::new();
    for _ in 0..1000 {
        last = get(admin.address(), "/live").await;
        if status(&last) == "HTTP/1.1 200 OK" {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the place was never given back: {last}");
}

async fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn client_with_all_its_connections_keeps_no_other_out() {
    let (admin, ..) = server(Limits { connections_per_address: 2, ..patient() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(connect_from([127, 0, 0, 2], admin.address()).await);
    }
    let mut third = connect_from([127, 0, 0, 2], admin.address()).await;
    assert_eq!(status(&read_to_close(&mut third).await), "HTTP/1.1 503 Service Unavailable");

    let mut other = connect_from([127, 0, 0, 3], admin.address()).await;
    other.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_to_close(&mut other).await), "HTTP/1.1 200 OK");
}

#[test]
fn limits_leave_room_for_others_whatever_one_client_does() {
    let limits = Limits::default();
    assert_eq!((limits.connections, limits.connections_per_address), (64, 16));
    assert_eq!(limits.header_bytes, MIN_HEADER_BYTES);
    assert_eq!(
        (limits.header_timeout, limits.request_timeout),
        (Duration::from_secs(5), Duration::from_secs(10))
    );
}

#[tokio::test]
async fn header_limit_that_the_server_cannot_keep_is_an_error_that_says_what_it_can() {
    let limits = Limits { header_bytes: MIN_HEADER_BYTES - 1, ..patient() };
    let sources = daemon::admin::Sources {
        readiness: daemon::Readiness::new(),
        registry: prometheus::Registry::new(),
        build: daemon::BuildInfo::of("gpu-example"),
    };
    let refused = daemon::admin::Admin::bind(([127, 0, 0, 1], 0).into(), limits, sources).await;
    let error = daemon::error_chain(&refused.unwrap_err()).to_string();
    assert!(error.contains("header_bytes is 8191: expected 8192 or more"), "{error}");
}

#[tokio::test]
async fn address_in_use_is_an_error_that_names_it() {
    let (admin, readiness, registry) = server(patient()).await;
    let sources = daemon::admin::Sources { readiness, registry, build: daemon::BuildInfo::of("gpu-example") };
    let error = daemon::admin::Admin::bind(admin.address(), patient(), sources).await.unwrap_err();
    assert!(error.to_string().contains(&admin.address().to_string()), "{error}");
}
