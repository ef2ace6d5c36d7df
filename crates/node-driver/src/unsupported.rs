//! What NVIDIA's programs can be told and these cannot do.

use daemon::ConfigError;
use gpu_config::{DiscoveryStrategy, Mode};

/// What flags that nothing follows say (name, value, hint), as warnings; without compat mode the first is an error.
///
/// # Errors
/// Besides, where the machine is to be looked at in a way that there is not.
pub fn passed_over(
    strategy: Option<DiscoveryStrategy>,
    said: Vec<(&'static str, &str, &'static str)>,
    mode: Mode,
) -> Result<Vec<String>, ConfigError> {
    if strategy == Some(DiscoveryStrategy::Tegra) {
        let hint = "Tegra machines are not supported; give auto or nvml";
        return Err(ConfigError::new("--device-discovery-strategy", "tegra", hint));
    }
    let mut errors = said.into_iter().map(|(name, value, hint)| ConfigError::new(name, value, hint));
    match mode {
        Mode::Strict => errors.next().map_or(Ok(Vec::new()), Err),
        Mode::Compat => Ok(errors.map(|error| error.to_string()).collect()),
    }
}
