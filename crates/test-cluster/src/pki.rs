//! Certificates, keys, tokens and kubeconfigs of the cluster, made anew at each start.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout::{Layout, NODE_NAME};
use crate::network::{API_SERVICE_IP, NODE_IP};

/// (kubeconfig's name, user, groups). The token is `NAME-token`: the API server listens in the node's own
/// network only.
const USERS: [(&str, &str, &str); 4] = [
    ("admin", "admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("kubelet", NODE_USER, "system:nodes"),
    ("scheduler", "system:kube-scheduler", ""),
];

/// The user as which the node's kubelet comes; the API server grants it its own node's objects alone.
const NODE_USER: &str = "system:node:gantry-node";

/// Below the state folder.
const FOLDER: &str = "pki";

/// Writes everything.
pub(crate) fn write(layout: &Layout) -> Result<()> {
    debug_assert!(NODE_USER.ends_with(NODE_NAME));
    let pki = layout.at(FOLDER);
    fs::create_dir_all(&pki).with_context(|| format!("create {}", pki.display()))?;
    put(&pki.join("openssl.cnf"), &openssl_config())?;
    certificate(&pki, "ca", "/CN=gantry-test-cluster", &["-extensions", "authority"])?;
    let signed = ["-CA", "ca.crt", "-CAkey", "ca.key"];
    certificate(
        &pki,
        "apiserver",
        "/CN=kube-apiserver",
        &[&signed[..], &["-extensions", "server"]].concat(),
    )?;
    let client = "/O=system:masters/CN=kube-apiserver-kubelet-client";
    certificate(&pki, "kubelet-client", client, &[&signed[..], &["-extensions", "client"]].concat())?;
    openssl(&pki, &["genrsa", "-out", "service-account.key", "2048"])?;

    let tokens: String = USERS
        .iter()
        .map(|(name, user, groups)| format!("{name}-token,{user},{name},\"{groups}\"\n"))
        .collect();
    put(&pki.join("tokens.csv"), &tokens)?;
    for (name, _, _) in USERS {
        put(&layout.at(&format!("{name}.kubeconfig")), &kubeconfig(name))?;
    }
    Ok(())
}

/// A self-signed certificate, or one signed by the authority that `extra` names.
fn certificate(pki: &Path, name: &str, subject: &str, extra: &[&str]) -> Result<()> {
    let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
    let mut args =
        vec!["req", "-x509", "-config", "openssl.cnf", "-subj", subject, "-days", "3650", "-nodes"];
    args.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", &key, "-out", &crt]);
    args.extend(extra);
    openssl(pki, &args)
}

fn openssl(pki: &Path, args: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(args).current_dir(pki).output().context("start openssl")?;
    if !output.status.success() {
        bail!("openssl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn openssl_config() -> String {
    format!(
        "[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:{NODE_IP},IP:{API_SERVICE_IP},IP:127.0.0.1,DNS:kubernetes.default.svc
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
"
    )
}

/// The path to the authority is relative to the kubeconfig: it holds on the host and in the node.
fn kubeconfig(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: https://{NODE_IP}:443
    certificate-authority: {FOLDER}/ca.crt
users:
- name: {name}
  user:
    token: {name}-token
contexts:
- name: test
  context:
    cluster: test
    user: {name}
current-context: test
"
    )
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
