//! Bytes that no kubelet and no scraper sends, to the plugin's sockets: whatever comes, nothing in it panics, no
//! connection stays behind, and the next who asks is answered. Targets and corpora are as `corpus` has them.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use corpus::Corpus;
use kubelet_api::deviceplugin::v1beta1::Empty;
use sim_node::Process;
use tokio::runtime::Runtime;

use crate::harness::{
    PATIENCE, bare, client, counts, eventually, first_questions_are_answered, plugin_sockets,
};
use crate::resources::{Rig, SHARED_4, rig};

/// Inputs made in `make test`, for each target: each is a connection, and another one to see that all is well.
const INPUTS: u64 = 150;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// Pieces of HTTP/2, of protobuf and of ids.
const OF_GRPC: [&[u8]; 12] = [
    PREFACE,
    SETTINGS,
    b"\0\0\0\x04\x01\0\0\0\0",
    b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x05\0\0\0\0\0\x01\0\xff\xff\xff\xff",
    b"\0\0\0\0\x01\0\0\0\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"::",
    b"::4294967296",
    b"\x0a\0",
    b"\0",
];

/// Pieces of HTTP/1.
const OF_HTTP: [&[u8]; 12] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b" ",
    b":",
    b"GET /metrics HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: keep-alive\r\n",
    b"\xff",
];

/// Those that name devices.
const METHODS: [&str; 3] = ["Allocate", "GetPreferredAllocation", "PreStartContainer"];

/// A plugin that is well, and its connections.
struct Struck {
    rig: Rig,
    runtime: Runtime,
    files: usize,
}

impl Struck {
    /// On a node of eight GPUs, each of which has four shares.
    fn begin() -> Struck {
        let runtime = Runtime::new().unwrap();
        let rig = runtime.block_on(rig(bare().build().unwrap(), SHARED_4, &[]));
        counts(&rig.kubelet, 32, 32);
        first_questions_are_answered(&rig.plugin);
        let files = files(&rig.plugin);
        Struck { rig, runtime, files }
    }

    fn socket(&self) -> PathBuf {
        plugin_sockets(&self.rig.node).pop().unwrap()
    }

    fn send_to_endpoint(&self, bytes: &[u8]) {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let end = || stream.shutdown(Shutdown::Write);
        exchange(&stream, bytes, end, || {
            let options = self.runtime.block_on(async {
                client(&self.rig.node).await.get_device_plugin_options(Empty {}).await.unwrap().into_inner()
            });
            assert!(options.get_preferred_allocation_available);
        });
    }

    fn send_to_admin(&self, bytes: &[u8]) {
        let stream = TcpStream::connect(self.rig.plugin.admin_address().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        exchange(
            &stream,
            bytes,
            || stream.shutdown(Shutdown::Write),
            || assert_eq!(self.rig.plugin.admin_get("/live").unwrap().status, 200),
        );
    }

    /// After all of it the plugin is as it was before.
    fn end(self) {
        eventually("no connection is left", || match files(&self.rig.plugin) {
            now if now <= self.files => Ok(()),
            now => Err(format!("{now} open files, {} before", self.files)),
        });
        assert!(!self.rig.plugin.log().contains("panicked"), "{}", self.rig.plugin.last_words(40));
        self.rig.plugin.ready().unwrap();
    }
}

fn files(plugin: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", plugin.pid())).unwrap().count()
}

/// Sends bytes, has another one ask meanwhile, says that there are no more, and reads what comes until the other side hangs
/// up. In this order: a server that is told of the end at once may leave all before it undone.
fn exchange<S>(stream: &S, bytes: &[u8], end: impl Fn() -> io::Result<()>, ask: impl FnOnce())
where
    for<'a> &'a S: Read + Write,
{
    let (mut writer, mut reader) = (stream, stream);
    // It may have hung up already, be it before all was sent.
    let _ = writer.write_all(bytes);
    ask();
    let _ = end();
    let mut answer = Vec::new();
    if let Err(error) = reader.read_to_end(&mut answer) {
        let kind = error.kind();
        assert!(kind != io::ErrorKind::WouldBlock && kind != io::ErrorKind::TimedOut, "it does not hang up");
    }
}

fn strike(name: &str, pieces: &[&[u8]], target: impl FnMut(&[u8])) {
    Corpus { package: env!("CARGO_MANIFEST_DIR"), name, pieces }.strike_times(INPUTS, target);
}

/// A call as gRPC makes it, with any bytes for its message.
fn call(method: &str, message: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let path = text(&format!("/v1beta1.DevicePlugin/{method}"));
    // Names by their index in HPACK's static table: method, scheme, path, authority, content type; then `te`.
    let fields = [
        b"\x83\x86\x04".to_vec(),
        path,
        b"\x01".to_vec(),
        text("localhost"),
        b"\x0f\x10".to_vec(),
        text("application/grpc"),
        b"\0".to_vec(),
        text("te"),
        text("trailers"),
    ];
    let prefixed = [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat();
    [PREFACE.to_vec(), SETTINGS.to_vec(), frame(1, 4, &fields.concat()), frame(0, 1, &prefixed)].concat()
}

/// A frame of the first stream.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

#[test]
fn corpus_of_bytes_for_the_endpoint_and_what_is_made_of_it_do_no_harm() {
    let struck = Struck::begin();
    strike("endpoint", &OF_GRPC, |bytes| struck.send_to_endpoint(bytes));
    struck.end();
}

#[test]
fn corpus_of_requests_and_what_is_made_of_it_do_no_harm() {
    let struck = Struck::begin();
    strike("requests", &OF_GRPC, |bytes| {
        METHODS.iter().for_each(|method| struck.send_to_endpoint(&call(method, bytes)));
    });
    struck.end();
}

#[test]
fn corpus_of_bytes_for_the_admin_server_and_what_is_made_of_it_do_no_harm() {
    let struck = Struck::begin();
    strike("admin", &OF_HTTP, |bytes| struck.send_to_admin(bytes));
    struck.end();
}
