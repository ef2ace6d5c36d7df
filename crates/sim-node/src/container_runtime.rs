//! A container runtime as far as a device plugin sees one: the CRI calls `Version` and `Status`.
//!
//! It starts no containers. Facts: `runtime.v1` of `k8s.io/cri-api`; only the fields that are sent are declared.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use prost::Message;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// What a runtime says of itself.
#[derive(Clone, Debug)]
pub struct RuntimeAnswer {
    /// Name, such as `containerd`.
    pub name: String,
    /// Version.
    pub version: String,
    /// Its configuration as JSON, as containerd shows it in a verbose status.
    pub config: Option<String>,
}

impl RuntimeAnswer {
    /// A containerd with CDI switched on, which reads specs from the usual folders.
    pub fn containerd() -> RuntimeAnswer {
        RuntimeAnswer {
            name: "containerd".to_owned(),
            version: "2.2.0".to_owned(),
            config: Some(r#"{"enableCDI":true,"cdiSpecDirs":["/etc/cdi","/var/run/cdi"]}"#.to_owned()),
        }
    }
}

/// What is answered, which may change.
type SharedAnswer = Arc<Mutex<RuntimeAnswer>>;

/// A runtime that listens. It ends when dropped, and leaves its socket's file as a killed one does.
#[derive(Debug)]
pub struct ContainerRuntime {
    answer: SharedAnswer,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ContainerRuntime {
    /// Listens at `socket` on a thread of its own, so that its users need no async runtime.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub fn start(socket: &Path, answer: RuntimeAnswer) -> io::Result<ContainerRuntime> {
        if let Some(dir) = socket.parent() {
            fs::create_dir_all(dir)?;
        }
        if socket.exists() {
            fs::remove_file(socket)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(socket)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let answer = Arc::new(Mutex::new(answer));
        let service = RuntimeService { answer: Arc::clone(&answer) };
        let thread = std::thread::spawn(move || {
            let serving = Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener));
            runtime.block_on(async {
                tokio::select! {
                    // Its end shows as a connection that is refused.
                    _ = serving => {}
                    _ = stopped => {}
                }
            });
            // Clients lose their connections, as with a killed runtime.
            runtime.shutdown_background();
        });
        Ok(ContainerRuntime { answer, socket: socket.to_owned(), stop: Some(stop), thread: Some(thread) })
    }

    /// What it says of itself.
    pub fn answer(&self) -> RuntimeAnswer {
        current(&self.answer)
    }

    /// Says something else from now on, as after a restart with another configuration.
    pub fn set_answer(&self, answer: RuntimeAnswer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for ContainerRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked only if the async runtime did.
            let _ = thread.join();
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Anything {}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct VersionResponse {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    runtime_name: String,
    #[prost(string, tag = "3")]
    runtime_version: String,
    #[prost(string, tag = "4")]
    runtime_api_version: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone)]
struct RuntimeService {
    answer: SharedAnswer,
}

impl NamedService for RuntimeService {
    const NAME: &'static str = "runtime.v1.RuntimeService";
}

/// One call, answered from what was asked.
struct Call<F>(F);

impl<Q, A, F> UnaryService<Q> for Call<F>
where
    Q: Message,
    A: Message + 'static,
    F: Fn(Q) -> A,
{
    type Response = A;
    type Future = BoxFuture<Response<A>, Status>;

    fn call(&mut self, asked: Request<Q>) -> Self::Future {
        let answer = self.0(asked.into_inner());
        Box::pin(async move { Ok(Response::new(answer)) })
    }
}

impl Service<http::Request<Body>> for RuntimeService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let RuntimeAnswer { name, version, config } = current(&self.answer);
        match request.uri().path() {
            "/runtime.v1.RuntimeService/Version" => {
                let answer = VersionResponse {
                    version: "0.1.0".to_owned(),
                    runtime_name: name,
                    runtime_version: version,
                    runtime_api_version: "v1".to_owned(),
                };
                reply(move |_: Anything| answer.clone(), request)
            }
            "/runtime.v1.RuntimeService/Status" => {
                let info: HashMap<_, _> =
                    config.map(|config| ("config".to_owned(), config)).into_iter().collect();
                let answer = move |asked: StatusRequest| StatusResponse {
                    info: if asked.verbose { info.clone() } else { HashMap::new() },
                };
                reply(answer, request)
            }
            path => {
                let status = Status::unimplemented(format!("this runtime does not know {path}"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

fn reply<Q, A>(
    answer: impl Fn(Q) -> A + Send + 'static,
    request: http::Request<Body>,
) -> BoxFuture<http::Response<Body>, Infallible>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    Box::pin(async move {
        let codec: ProstCodec<A, Q> = ProstCodec::default();
        Ok(Grpc::new(codec).unary(Call(answer), request).await)
    })
}

fn current(answer: &SharedAnswer) -> RuntimeAnswer {
    answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
