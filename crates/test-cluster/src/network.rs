//! The node's addresses, which exist in its own network namespace only, and its container network.

/// The node's address.
pub(crate) const NODE_IP: &str = "10.200.0.1";

/// The address of the service `kubernetes`: on the node's loopback, so that no kube-proxy is needed.
pub(crate) const API_SERVICE_IP: &str = "10.96.0.1";

/// Service addresses.
pub(crate) const SERVICES: &str = "10.96.0.0/24";

/// Where the container network's configuration lies, below the state folder.
pub(crate) const CNI_FOLDER: &str = "cni";

/// A bridge with addresses from one range. No masquerading: nothing outside the node can be reached, and so
/// no iptables is needed.
pub(crate) const CNI_CONFIG: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "pods0",
      "isGateway": true,
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "10.244.0.0/24" }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    }
  ]
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_service_has_the_first_address_of_the_service_range() {
        assert_eq!(SERVICES.strip_suffix("0/24"), API_SERVICE_IP.strip_suffix('1'));
    }
}
