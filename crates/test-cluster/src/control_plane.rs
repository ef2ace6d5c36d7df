//! etcd, API server, controller manager and scheduler.

use crate::component::Component;
use crate::layout::in_node;
use crate::network::{NODE_IP, SERVICES};

const ETCD_CLIENTS: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";

/// The store. It need not survive the machine, so it does not wait for the disk.
pub(crate) fn etcd() -> Component {
    Component::new(
        "etcd",
        [
            "--data-dir=/var/lib/etcd".to_owned(),
            format!("--listen-client-urls={ETCD_CLIENTS}"),
            format!("--advertise-client-urls={ETCD_CLIENTS}"),
            format!("--listen-peer-urls={ETCD_PEERS}"),
            format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
            format!("--initial-cluster=default={ETCD_PEERS}"),
            "--unsafe-no-fsync".to_owned(),
        ],
    )
}

/// The API server, on the port of the service `kubernetes` itself, so that pods reach it without kube-proxy.
pub(crate) fn api_server() -> Component {
    let pki = |file: &str| in_node(&format!("pki/{file}"));
    Component::new(
        "kube-apiserver",
        [
            format!("--etcd-servers={ETCD_CLIENTS}"),
            "--bind-address=0.0.0.0".to_owned(),
            "--secure-port=443".to_owned(),
            format!("--advertise-address={NODE_IP}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            format!("--tls-cert-file={}", pki("apiserver.crt")),
            format!("--tls-private-key-file={}", pki("apiserver.key")),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--token-auth-file={}", pki("tokens.csv")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", pki("service-account.key")),
            format!("--service-account-signing-key-file={}", pki("service-account.key")),
            // Without these, logs and exec fail.
            format!("--kubelet-client-certificate={}", pki("kubelet-client.crt")),
            format!("--kubelet-client-key={}", pki("kubelet-client.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ],
    )
}

/// The controllers: DaemonSets, service accounts and the like.
pub(crate) fn controller_manager() -> Component {
    let pki = |file: &str| in_node(&format!("pki/{file}"));
    Component::new(
        "kube-controller-manager",
        [
            format!("--kubeconfig={}", in_node("controller-manager.kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--use-service-account-credentials".to_owned(),
            format!("--root-ca-file={}", pki("ca.crt")),
            format!("--service-account-private-key-file={}", pki("service-account.key")),
            // The default lies in /usr/libexec, which the node has in common with the host.
            "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins".to_owned(),
        ],
    )
}

/// The scheduler.
pub(crate) fn scheduler() -> Component {
    Component::new(
        "kube-scheduler",
        [
            format!("--kubeconfig={}", in_node("scheduler.kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ],
    )
}
