//! How this process may speak to the API server, and the client that comes of it.
//!
//! Credentials alone; what is asked with them is no matter of this file.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::ServiceBuilder;

/// A connection that isn't there after this long won't come.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The pod's service account. Its token is read again as it rotates.
    InCluster,
    /// This kubeconfig file, in its current context.
    Kubeconfig(PathBuf),
}

impl fmt::Display for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::InCluster => out.write_str("the pod's service account"),
            Access::Kubeconfig(path) => write!(out, "the kubeconfig {}", path.display()),
        }
    }
}

impl Access {
    /// Reads the credentials and makes a client; nothing is sent yet.
    pub(crate) async fn client(&self) -> Result<Client, Box<dyn Error + Send + Sync>> {
        // An error says that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = match self {
            Access::InCluster => Config::incluster()?,
            Access::Kubeconfig(path) => {
                let file = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
        };
        client(config)
    }
}

/// kube's own stack retries by itself and logs each failure; here, whoever asked decides on both.
fn client(config: Config) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http: HttpClient<_, Body> =
        HttpClient::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(Box::<dyn Error + Send + Sync>::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}
