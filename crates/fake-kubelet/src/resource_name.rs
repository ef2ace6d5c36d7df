//! The kubelet's rule on resource names of device plugins. Pure.
//!
//! On purpose not shared with the crates under test: it is the oracle for theirs.

/// Longest domain part, in bytes (RFC 1123), the quota prefix included.
const MAX_DOMAIN: usize = 253;
/// Longest name part, in bytes.
const MAX_NAME: usize = 63;
/// What Kubernetes puts before a resource's name in a quota.
const QUOTA_PREFIX: &str = "requests.";

/// Whether the kubelet registers a plugin under this name: `domain/name` outside of Kubernetes' own domains,
/// that is still a valid name when it appears in a quota.
pub fn is_extended_resource_name(name: &str) -> bool {
    let Some((domain, rest)) = name.split_once('/') else { return false };
    !name.contains("kubernetes.io/")
        && !name.starts_with(QUOTA_PREFIX)
        && is_domain(&format!("{QUOTA_PREFIX}{domain}"))
        && is_name(rest)
}

fn is_domain(text: &str) -> bool {
    text.len() <= MAX_DOMAIN
        && text.split('.').all(|label| {
            let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            framed_by(label, letters) && label.bytes().all(|c| letters(c) || c == b'-')
        })
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && framed_by(text, |c| c.is_ascii_alphanumeric())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

fn framed_by(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(&allowed) && text.bytes().next_back().is_some_and(&allowed)
}
