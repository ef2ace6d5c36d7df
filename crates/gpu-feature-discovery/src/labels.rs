//! The labels of a node: a pure and total function of what is known of it.
//!
//! Whatever a driver, a firmware or a bus says, each label is valid and none is lost for another's sake; the order in which
//! GPUs are found changes nothing. What NVIDIA's gpu-feature-discovery v0.20 says right is said in the same words.
//! Nothing is read here, and nothing kept.

use gpu_model::GpuDetails;
use gpu_model::names::{LABEL_GFD_TIMESTAMP, LABEL_MPS_CAPABLE};

use crate::facts::{DriverFacts, Face, Facts, Settings};

pub mod catalogue;
mod driver;
mod extra;
mod fabric;
mod health;
mod machine;
mod mig;
mod mode;
mod models;
mod node;
mod presence;
mod sharing;
mod sheet;
mod vgpu;
mod whole;

pub use sheet::{LabelKey, LabelValue, Labels};

use node::Node;
use sharing::Shares;
use sheet::Sheet;

/// The labels, and what a person should know of how they came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labelled {
    /// The labels.
    pub labels: Labels,
    /// What is odd about the node, in words; the same facts give the same.
    pub remarks: Vec<String>,
}

/// Labels a node.
///
/// Without [`Facts::driver`] there are those alone that need no driver: whoever has labels of before keeps the others.
pub fn label(facts: &Facts, settings: &Settings) -> Labelled {
    let mut sheet = Sheet::default();
    if let Some(seconds) = settings.timestamp {
        sheet.put(LABEL_GFD_TIMESTAMP, LabelValue::number(seconds));
    }
    vgpu::label(facts, &mut sheet);
    if settings.face == Face::Native {
        presence::label(facts, &mut sheet);
    }
    if let Some(driver) = &facts.driver {
        label_devices(facts, driver, settings, &mut sheet);
    }
    sheet.into_labelled()
}

fn label_devices(facts: &Facts, driver: &DriverFacts, settings: &Settings, sheet: &mut Sheet) {
    let node = Node::new(&driver.inventory.gpus, &settings.filter);
    if node.gpus.is_empty() && driver.inventory.failures.is_empty() {
        return;
    }
    driver::label(&driver.inventory.driver, sheet);
    machine::label(facts, sheet);
    let is_of_node = |of: &&GpuDetails| node.gpus.iter().any(|gpu| gpu.uuid == of.uuid);
    let details: Vec<&GpuDetails> = driver.details.gpus.iter().filter(is_of_node).collect();
    if !node.gpus.is_empty() {
        // Sharing by MPS is nothing that we do; NVIDIA's says so of every node without it.
        sheet.put(LABEL_MPS_CAPABLE, LabelValue::flag(false));
        mode::label(&node, facts.pci.as_deref(), sheet);
        fabric::label(&details, sheet);
        let shares = Shares::new(&node, settings);
        whole::label(&node, &shares, sheet);
        // Over the GPUs' own, where MIG devices are what is handed out.
        mig::label(&node, settings.mig_strategy, &shares, sheet);
    }
    if settings.face == Face::Native {
        health::label(facts, driver, &node, sheet);
        models::label(&node, sheet);
        for group in &settings.groups {
            extra::label(*group, facts, &node, &driver.details, &details, sheet);
        }
    }
}
