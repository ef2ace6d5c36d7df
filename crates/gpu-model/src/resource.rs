//! Names of extended resources, by the rules of Kubernetes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An extended resource name, `DOMAIN/NAME`, that the kubelet will accept from a device plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(String);

/// A text that the kubelet would not accept as an extended resource name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{value:?} is not an extended resource name: {rule}")]
pub struct ParseResourceNameError {
    value: String,
    rule: &'static str,
}

impl ResourceName {
    /// The whole name, domain included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

/// What Kubernetes puts before a resource's name in a quota; the whole has to be a qualified name still.
const QUOTA_PREFIX: &str = "requests.";

/// Longest domain of a qualified name.
const MAX_DOMAIN: usize = 253;

/// The first rule of `IsExtendedResourceName` (`k8s.io/kubernetes/pkg/apis/core/v1/helper`) that `text` breaks.
fn broken_rule(text: &str) -> Option<&'static str> {
    // Anywhere in the text, so that `mykubernetes.io/gpu` is reserved too.
    if text.contains("kubernetes.io/") || text.starts_with(QUOTA_PREFIX) {
        return Some(
            "names with 'kubernetes.io/' in them or 'requests.' before them are reserved by Kubernetes",
        );
    }
    let Some((domain, name)) = text.split_once('/') else {
        return Some("expected DOMAIN/NAME, such as nvidia.com/gpu");
    };
    if QUOTA_PREFIX.len() + domain.len() > MAX_DOMAIN || !domain.split('.').all(is_domain_part) {
        return Some(
            "the part before the slash must be a DNS domain in lower case, of at most 244 characters",
        );
    }
    if !is_qualified_name(name) {
        return Some(
            "the part behind the slash must be 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit",
        );
    }
    None
}

pub(crate) fn is_domain_part(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

pub(crate) fn is_qualified_name(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63 && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().last())
}

impl TryFrom<String> for ResourceName {
    type Error = ParseResourceNameError;

    fn try_from(value: String) -> Result<Self, ParseResourceNameError> {
        match broken_rule(&value) {
            None => Ok(ResourceName(value)),
            Some(rule) => Err(ParseResourceNameError { value, rule }),
        }
    }
}

impl FromStr for ResourceName {
    type Err = ParseResourceNameError;

    fn from_str(value: &str) -> Result<Self, ParseResourceNameError> {
        value.to_owned().try_into()
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> String {
        name.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn resource_name_in_use_today_is_accepted() {
        for name in [
            "nvidia.com/gpu",
            "nvidia.com/mig-1g.10gb.me",
            "nvidia.com/gpu.shared",
            "gantry.dev/gpu-management",
        ] {
            assert_eq!(name.parse::<ResourceName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn resource_name_that_the_kubelet_refuses_is_refused() {
        let long = format!("nvidia.com/{}", "g".repeat(64));
        for name in [
            "gpu",
            "/gpu",
            "nvidia.com/",
            "nvidia.com/gpu+",
            "nvidia.com/a/b",
            "kubernetes.io/gpu",
            "requests.nvidia.com/gpu",
            "requests./gpu",
            "node.kubernetes.io/gpu",
            "mykubernetes.io/gpu",
            "NVIDIA.com/gpu",
            &long,
        ] {
            assert!(name.parse::<ResourceName>().is_err(), "{name}");
        }
    }

    #[test]
    fn resource_name_is_as_long_as_its_quota_allows() {
        let name = |domain: usize, name: usize| {
            let domain = format!("{}.{}", "d".repeat(63), "e".repeat(domain - 64));
            format!("{domain}/{}", "g".repeat(name)).parse::<ResourceName>()
        };
        assert!(name(244, 63).is_ok());
        assert!(name(245, 1).unwrap_err().to_string().contains("at most 244"));
        assert!(name(100, 64).is_err());
    }

    proptest! {
        #[test]
        fn resource_name_parser_given_any_text_never_panics(text: String) {
            let _ = text.parse::<ResourceName>();
        }
    }
}
