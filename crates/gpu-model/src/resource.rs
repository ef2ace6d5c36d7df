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

/// The first rule that `text` breaks. Bounds: a qualified name's (253 for the domain, 63 for the name).
fn broken_rule(text: &str) -> Option<&'static str> {
    let Some((domain, name)) = text.split_once('/') else {
        return Some("expected DOMAIN/NAME, such as nvidia.com/gpu");
    };
    if domain.len() > 253 || !domain.split('.').all(is_dns_label) {
        return Some("the part before the slash must be a DNS domain in lower case");
    }
    if domain.starts_with("requests.") || domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") {
        return Some("the domain is reserved by Kubernetes");
    }
    if !is_qualified_name(name) {
        return Some(
            "the part behind the slash must be 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit",
        );
    }
    None
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_qualified_name(text: &str) -> bool {
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
            "NVIDIA.com/gpu",
            &long,
        ] {
            assert!(name.parse::<ResourceName>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn resource_name_parser_given_any_text_never_panics(text: String) {
            let _ = text.parse::<ResourceName>();
        }
    }
}
