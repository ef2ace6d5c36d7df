//! The person who types a command.

/// Who is logged in, if the environment tells.
pub fn login() -> Option<String> {
    let name = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    name("SUDO_USER").or_else(|| name("USER"))
}

/// The same, or the number of the user as which this process runs: in a container nobody is logged in.
pub fn default() -> String {
    login().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
