//! From what was given to the rules by which GPUs are judged.

use std::time::Duration;

use gpu_health::{HealthChecks, HealthChecksError, LONGEST_PROOF_SPACING, Settings};

/// What flags and variables say about health.
#[derive(Debug, Default)]
pub struct Given {
    /// `DP_DISABLE_HEALTHCHECKS`.
    pub disable: Option<String>,
    /// `DP_ENABLE_HEALTHCHECKS`.
    pub enable: Option<String>,
    /// Classes of XIDs.
    pub classes: Option<String>,
    /// Time between two probes.
    pub probe_interval: Duration,
}

/// The rules, and words of NVIDIA's variables that mean nothing: NVIDIA's plugin goes on without them.
///
/// # Errors
/// When our own setting is wrong.
pub fn settings(given: &Given) -> Result<(Settings, Vec<HealthChecksError>), HealthChecksError> {
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    let (mut checks, meaningless) = HealthChecks::from_variables(&text(&given.disable), &text(&given.enable));
    checks.reclassify(&text(&given.classes))?;
    let proof_spacing = given.probe_interval.min(LONGEST_PROOF_SPACING);
    Ok((Settings { checks, proof_spacing }, meaningless))
}
