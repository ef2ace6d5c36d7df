//! What holds of the labels of any node.

use gpu_feature_discovery::facts::{Face, Facts, Settings};
use gpu_feature_discovery::labels::catalogue::{Origin, entries};
use gpu_feature_discovery::labels::label;
use gpu_model::Gpu;
use gpu_model::names::{LABEL_GPU_PRODUCT, LABEL_UNHEALTHY_COUNT};
use proptest::prelude::*;

use crate::arbitrary;
use crate::nodes::{H100, gpu, node};

/// As Kubernetes' `IsValidLabelValue` and `IsQualifiedName` have it, written anew.
fn is_valid(text: &str) -> bool {
    let is_edge = |sign: Option<char>| sign.is_none_or(|sign| sign.is_ascii_alphanumeric());
    text.chars().count() <= 63
        && text.chars().all(|sign| sign.is_ascii_alphanumeric() || "-_.".contains(sign))
        && is_edge(text.chars().next())
        && is_edge(text.chars().next_back())
}

/// The same facts in another order.
fn reversed(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    if let Some(driver) = &mut facts.driver {
        driver.inventory.gpus.reverse();
        driver.inventory.gpus.iter_mut().for_each(|gpu| gpu.mig_devices.reverse());
        driver.inventory.failures.reverse();
        driver.details.gpus.reverse();
    }
    if let Some(functions) = &mut facts.pci {
        functions.reverse();
    }
    facts
}

proptest! {
    #[test]
    fn labels_of_any_node_are_valid_and_in_the_catalogue(
        facts in arbitrary::facts(), settings in arbitrary::settings(),
    ) {
        let entries = entries();
        for (key, value) in &label(&facts, &settings).labels {
            prop_assert!(is_valid(value.as_str()), "{key}={value}");
            let (domain, name) = key.as_str().split_once('/').unwrap();
            prop_assert!(["nvidia.com", "gantry.dev"].contains(&domain) && !name.is_empty() && is_valid(name), "{key}");
            let of: Vec<_> = entries.iter().filter(|entry| entry.covers(key.as_str())).collect();
            prop_assert!(!of.is_empty(), "{key} is not in the catalogue");
            if settings.face == Face::Compat {
                prop_assert!(of.iter().all(|entry| entry.origin == Origin::SameAsGfd), "{key} is ours");
            }
        }
    }

    #[test]
    fn labels_do_not_depend_on_the_order_of_what_is_found(
        facts in arbitrary::facts(), settings in arbitrary::settings(),
    ) {
        prop_assert_eq!(label(&facts, &settings), label(&reversed(&facts), &settings));
    }

    #[test]
    fn any_gpu_more_leaves_the_labels_of_healthy_ones_in_place(
        facts in arbitrary::facts(), settings in arbitrary::settings(),
    ) {
        // Three of one model, which no other GPU of these outnumbers, beside any two.
        let mut all = node((6..9).map(|index| gpu(index, H100)).collect());
        let driver = all.driver.as_mut().unwrap();
        let others = facts.driver.map(|driver| driver.inventory.gpus).unwrap_or_default();
        let is_in_the_way = |gpu: &Gpu| gpu.product.value().is_some_and(|name| name.contains("H100"));
        driver.inventory.gpus.extend(others.into_iter().filter(|gpu| !is_in_the_way(gpu)).take(2));
        let settings = Settings { mig_strategy: gpu_config::MigStrategy::None, time_slicing: None, ..settings };
        let labels = label(&all, &settings).labels;
        prop_assert_eq!(labels.get(LABEL_GPU_PRODUCT).unwrap().as_str(), "NVIDIA-H100-80GB-HBM3");
        prop_assert_eq!(labels.get("nvidia.com/gpu.memory").unwrap().as_str(), "81559");
        prop_assert_eq!(labels.get("nvidia.com/gpu.family").unwrap().as_str(), "hopper");
        prop_assert_eq!(labels.contains_key(LABEL_UNHEALTHY_COUNT), settings.face == Face::Native);
    }
}
