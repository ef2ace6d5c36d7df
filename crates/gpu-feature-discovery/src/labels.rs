//! The labels of a node: a pure and total function of what is known of it.
//!
//! Whatever a driver, a firmware or a bus says, each label is valid and none is lost for another's sake; the order in which
//! GPUs are found changes nothing. What NVIDIA's gpu-feature-discovery v0.20 says right is said in the same words.
//! Nothing is read here, and nothing kept.

use crate::facts::{Face, Facts, Settings};

mod driver;
mod machine;
mod presence;
mod sheet;
mod vgpu;

pub use sheet::{LabelKey, LabelValue, Labels};

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
        sheet.put(gpu_model::names::LABEL_GFD_TIMESTAMP, LabelValue::number(seconds));
    }
    vgpu::label(facts, &mut sheet);
    if settings.face == Face::Native {
        presence::label(facts, &mut sheet);
    }
    if let Some(driver) = &facts.driver {
        let inventory = &driver.inventory;
        if !(inventory.gpus.is_empty() && inventory.failures.is_empty()) {
            driver::label(&inventory.driver, &mut sheet);
            machine::label(facts, &mut sheet);
        }
    }
    sheet.into_labelled()
}
