//! Who may speak to the plugin.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::harness::{plugin_sockets, serving};

/// Set for a copy of this test program that runs as another user.
const SOCKET: &str = "GANTRY_TEST_PEER_SOCKET";

/// No account has it.
const STRANGER: u32 = 64_123;

/// Says what came of connecting: a gRPC server speaks first, a refused peer reads the end.
fn connect(socket: &str) -> String {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => return format!("not connected: {error}"),
    };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut first = [0; 64];
    match stream.read(&mut first) {
        Ok(0) => "closed".to_owned(),
        Ok(_) => "served".to_owned(),
        Err(error) => format!("closed: {error}"),
    }
}

#[test]
fn peer_program_tells_what_it_met() {
    // Not a test of its own: the body of the other user's process.
    if let Ok(socket) = std::env::var(SOCKET) {
        println!("peer met: {}", connect(&socket));
    }
}

// Fails if `admit` in socket.rs does not check the peer.
#[tokio::test]
async fn k29_process_of_another_user_is_refused_and_root_is_served() {
    if !rustix::process::geteuid().is_root() {
        // On the terminal, past the capture of a test that passes: nothing was checked here.
        let note = "SKIPPED k29_process_of_another_user_is_refused_and_root_is_served: only root can become another user";
        let _ = writeln!(std::io::stderr().lock(), "{note}");
        return;
    }
    let (node, _kubelet, plugin) = serving().await;
    let socket = plugin_sockets(&node).pop().unwrap();
    let everyone = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap()
    };
    let path = socket.to_str().unwrap().to_owned();
    for part in [node.dir(), node.kubelet_dir(), node.plugin_dir(), &socket] {
        everyone(part);
    }
    // The test program may lie where a stranger cannot read it.
    let program = node.dir().join("peer");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    everyone(&program);

    let met = |uid: u32| {
        let output = Command::new(&program)
            .args(["--exact", "peer::peer_program_tells_what_it_met", "--nocapture"])
            .env(SOCKET, &path)
            .uid(uid)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(met(0).contains("peer met: served"), "{}", met(0));
    assert!(met(STRANGER).contains("peer met: closed"), "{}", met(STRANGER));
    plugin.says(&format!("user {STRANGER}")).unwrap();
}
