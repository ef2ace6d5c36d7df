//! The metrics registry, its text form, and what every daemon shows of itself.

use prometheus::core::Collector;
use prometheus::{Encoder, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::build::BuildInfo;

/// Content type of the text form, version 0.0.4 of Prometheus' exposition format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A registry with `gantry_build_info`, always 1, whose labels say what was built.
pub(crate) fn registry(build: &BuildInfo) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let info = build_info()?;
    info.with_label_values(&[build.name, build.version, build.commit, build.rustc]).set(1);
    registry.register(Box::new(info))?;
    Ok(registry)
}

/// `gantry_component_ready`, by component.
pub(crate) fn component_ready(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let ready = readiness()?;
    registry.register(Box::new(ready.clone()))?;
    Ok(ready)
}

fn build_info() -> Result<IntGaugeVec, prometheus::Error> {
    let opts = Opts::new("gantry_build_info", "What this binary was built from; always 1.");
    IntGaugeVec::new(opts, &["name", "version", "commit", "rustc"])
}

fn readiness() -> Result<IntGaugeVec, prometheus::Error> {
    let opts =
        Opts::new("gantry_component_ready", "Whether a component of the daemon is ready (1) or not (0).");
    IntGaugeVec::new(opts, &["component"])
}

/// Metrics of the kinds that every daemon has, none of them registered: what a daemon's reference tells of them.
///
/// # Errors
/// When one cannot be declared.
pub fn own_metrics() -> Result<Vec<Box<dyn Collector>>, prometheus::Error> {
    Ok(vec![Box::new(build_info()?), Box::new(readiness()?)])
}

/// Everything in `registry`, as text.
pub(crate) fn text(registry: &Registry) -> Result<Vec<u8>, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}
