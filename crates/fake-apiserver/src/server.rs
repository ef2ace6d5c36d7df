//! The server on a free port of the loopback, and what tests do to it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::answer::{Answer, Body, respond};
use crate::api::{Asked, Outcome, serve};
use crate::apply::update;
use crate::faults::{Fault, Times};
use crate::state::{Denial, Request, State};

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct FakeApiServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

impl FakeApiServer {
    /// Starts it with no object, on a free port, for clients with the token `token-1`.
    ///
    /// # Errors
    /// No free port.
    pub async fn start() -> io::Result<FakeApiServer> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::new("token-1")));
        let accepting = tokio::spawn(accept(listener, state.clone())).abort_handle();
        Ok(FakeApiServer { address, state, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a kubeconfig with the token that is good now, in a file of its own beside it as a pod's is.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> io::Result<()> {
        let token = path.with_extension("token");
        std::fs::write(&token, &self.state().token)?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{ "name": "fake", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "fake", "user": { "tokenFile": token } }],
            "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "fake" } }],
        });
        std::fs::write(path, config.to_string())
    }

    /// Takes this token from now on, and no other.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.state().token);
    }

    /// Adds a fault for requests of `verb`, or all.
    pub fn inject(&self, fault: Fault, times: Times, verb: Option<&str>) {
        self.state().faults.inject(fault, times, verb);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Refuses from now on every change of that label or annotation, with 422 or 403, in the words of an admission rule.
    pub fn deny_key(&self, key: &str, code: u16, message: &str) {
        let (key, message) = (key.to_owned(), message.to_owned());
        self.state().denials.push(Denial { key, code, message });
    }

    /// Takes all such rules away.
    pub fn clear_denials(&self) {
        self.state().denials.clear();
    }

    /// Refuses owner references from now on.
    pub fn refuse_owners(&self) {
        self.state().refuse_owners = true;
    }

    /// Refuses from now on that a Node is got, as where the client has no right to that.
    pub fn refuse_reads_of_nodes(&self) {
        self.state().refuse_reads_of_nodes = true;
    }

    /// Refuses watches from now on, as where the client has no right to them.
    pub fn refuse_watches(&self) {
        self.state().refuse_watches = true;
    }

    /// Forgets that there are NodeFeatures.
    pub fn undefine_node_features(&self) {
        self.state().node_features = false;
    }

    /// Creates a Node with labels that a kubelet set.
    pub fn create_node(&self, name: &str, labels: &[(&str, &str)]) {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        let changes =
            labels.iter().map(|(key, value)| (("labels", (*key).to_owned()), Some((*value).to_owned())));
        let node = update(&node, &changes.collect(), "kubelet");
        self.state().create(&node_path(name), node);
    }

    /// Deletes a Node.
    pub fn delete_node(&self, name: &str) {
        self.state().delete(&node_path(name));
    }

    /// Sets or removes (none) labels of a Node as another client's update does.
    pub fn update_labels(&self, node: &str, manager: &str, labels: &[(&str, Option<&str>)]) {
        self.change(node, manager, "labels", labels);
    }

    /// Sets or removes (none) annotations of a Node as another client's update does.
    pub fn update_annotations(&self, node: &str, manager: &str, annotations: &[(&str, Option<&str>)]) {
        self.change(node, manager, "annotations", annotations);
    }

    /// An object as it is, by its path; null where there is none.
    pub fn object(&self, path: &str) -> Value {
        self.state().objects.get(path).cloned().unwrap_or_default()
    }

    /// All objects whose path begins so.
    pub fn objects(&self, prefix: &str) -> Vec<Value> {
        let state = self.state();
        state.objects.iter().filter(|(path, _)| path.starts_with(prefix)).map(|(_, it)| it.clone()).collect()
    }

    /// Deletes any object.
    pub fn delete(&self, path: &str) {
        self.state().delete(path);
    }

    /// The labels of a Node.
    pub fn labels(&self, node: &str) -> BTreeMap<String, String> {
        members(&self.object(&node_path(node))["metadata"]["labels"])
    }

    /// The annotations of a Node.
    pub fn annotations(&self, node: &str) -> BTreeMap<String, String> {
        members(&self.object(&node_path(node))["metadata"]["annotations"])
    }

    /// All requests until now, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How many requests of a verb there were.
    pub fn count(&self, verb: &str) -> usize {
        self.state().requests.iter().filter(|request| request.verb == verb).count()
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.state().watches.count()
    }

    /// Ends all watches, as a server does from time to time.
    pub fn end_watches(&self) {
        self.state().watches.end();
    }

    /// Breaks all watches in the midst of an event.
    pub fn cut_watches(&self) {
        self.state().watches.cut();
    }

    /// Sends a bookmark to all watches.
    pub fn bookmark(&self) {
        let mut state = self.state();
        let version = state.version;
        state.watches.bookmark(version);
    }

    /// Forgets all changes until now, so that no watch can go on (410), and ends all watches.
    pub fn expire_versions(&self) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        state.watches.expire(version);
    }

    fn change(&self, node: &str, manager: &str, map: &'static str, changes: &[(&str, Option<&str>)]) {
        let changes = changes.iter().map(|(key, value)| ((map, (*key).to_owned()), value.map(str::to_owned)));
        let (changes, path) = (changes.collect(), node_path(node));
        let mut state = self.state();
        let Some(found) = state.objects.get(&path).cloned() else { return };
        state.replace(&path, update(&found, &changes, manager));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state().watches.end();
    }
}

fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

fn members(map: &Value) -> BTreeMap<String, String> {
    let members = map.as_object().into_iter().flatten();
    members.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let service = service_fn(move |request| answer(state.clone(), request));
        connections.spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: Arc<Mutex<State>>, request: hyper::Request<Incoming>) -> io::Result<Response<Body>> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name: HeaderName| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let query = query(head.uri.query().unwrap_or_default());
    let verb = match head.method {
        Method::GET if query.get("watch").is_some_and(|value| value == "true") => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        _ => "delete",
    };
    let asked = Asked {
        verb,
        path: head.uri.path().to_owned(),
        query,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        content_type: header(CONTENT_TYPE),
        metadata: header(ACCEPT).contains("as=PartialObjectMetadata"),
    };
    let fault = lock(&state).faults.next(verb);
    let record = |state: &mut State, code| {
        let (path, query, body) = (asked.path.clone(), asked.query.clone(), asked.body.clone());
        state.requests.push(Request { verb: verb.to_owned(), path, query, body, code, at });
    };
    match fault {
        Some(Fault::Down) => {
            record(&mut lock(&state), 0);
            return Err(io::Error::other("the connection shall break"));
        }
        Some(Fault::Code { code, retry_after }) => {
            record(&mut lock(&state), code);
            let answer = Answer::failure(code, "Fault", "a fault on command", Vec::new());
            return Ok(Answer { retry_after, ..answer }.response());
        }
        Some(Fault::Garbage) => {
            record(&mut lock(&state), 200);
            return Ok(respond(200, "text/html", "<html>\nMaintenance\n</html>\n".to_owned()));
        }
        Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
        None => {}
    }
    let mut state = lock(&state);
    if header(AUTHORIZATION) != format!("Bearer {}", state.token) {
        record(&mut state, 401);
        return Ok(Answer::failure(401, "Unauthorized", "Unauthorized", Vec::new()).response());
    }
    Ok(match serve(&mut state, &asked) {
        Outcome::Stream(response) => {
            record(&mut state, 200);
            response
        }
        Outcome::Document(answer) => {
            record(&mut state, answer.code);
            answer.response()
        }
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
