//! The key of the annotation that carries CDI names to a container runtime. Pure.

/// Longest name in a key, after its domain (Kubernetes' rule).
const NAME_MAX: usize = 63;

/// Longest domain of a key.
const DOMAIN_MAX: usize = 253;

/// Stands before the device in the key's name.
const PLUGIN: &str = "gantry_";

/// The key for a container whose first device has this UUID. No other device of the container is under the same
/// resource's answer, and none of another resource's has it: so the answers of several resources never overwrite each
/// other.
pub fn key(prefix: &str, unit: &str) -> String {
    format!("{prefix}{PLUGIN}{unit}")
}

/// Whether keys with this prefix are legal.
pub fn is_prefix(prefix: &str) -> bool {
    // As long as any UUID.
    let key = key(prefix, "MIG-00000000-0000-0000-0000-000000000000");
    key.split_once('/').is_some_and(|(domain, name)| is_domain(domain) && is_name(name))
}

fn is_domain(domain: &str) -> bool {
    let is_part = |part: &str| {
        let is_sign = |sign: u8| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == b'-';
        !part.is_empty() && part.bytes().all(is_sign) && !part.starts_with('-') && !part.ends_with('-')
    };
    domain.len() <= DOMAIN_MAX && domain.split('.').all(is_part)
}

fn is_name(name: &str) -> bool {
    let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || b"-_.".contains(&sign);
    name.len() <= NAME_MAX
        && name.bytes().all(is_sign)
        && name.starts_with(|sign: char| sign.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_is_a_domain_with_a_slash() {
        for good in ["cdi.k8s.io/", "nvidia.cdi.k8s.io/", "a/", "cdi.k8s.io/team-"] {
            assert!(is_prefix(good), "{good}");
        }
        let long = format!("cdi.k8s.io/{}", "a".repeat(40));
        for bad in ["", "/", "cdi.k8s.io", "Cdi/", "a..b/", "a/b/", "-a/", "a/ ", "a/_", &long] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
