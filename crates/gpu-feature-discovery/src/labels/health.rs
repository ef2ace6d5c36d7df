//! How many GPUs are of no use, so that a node that has lost one is found by a selector.

use gpu_model::names::LABEL_UNHEALTHY_COUNT;
use gpu_model::{Gpu, GpuUuid, Reading};

use super::node::Node;
use super::sheet::Sheet;
use super::whole::count;
use crate::facts::{DriverFacts, Facts};

pub(super) fn label(facts: &Facts, driver: &DriverFacts, node: &Node<'_>, sheet: &mut Sheet) {
    let identified = node.gpus.iter().filter(|gpu| is_unhealthy(facts, gpu)).count();
    // A GPU that is not identified now may be one that the report knows by name: it counts once.
    let is_listed = |uuid: &GpuUuid| driver.inventory.gpus.iter().any(|gpu| gpu.uuid == *uuid);
    let gone =
        facts.health.iter().filter(|(uuid, health)| !health.is_schedulable() && !is_listed(uuid)).count();
    let unidentified = driver.inventory.failures.len();
    sheet.put(LABEL_UNHEALTHY_COUNT, count(identified + gone.max(unidentified)));
    let mut failures: Vec<_> = driver.inventory.failures.iter().collect();
    failures.sort_by_key(|failure| (failure.index, &failure.call, failure.code));
    for failure in failures {
        let code = gpu_model::failure::describe(failure.code);
        sheet.remark(format!("GPU {} cannot be identified: {} = {code}", failure.index, failure.call));
    }
}

/// By the report; of a GPU that is not in it, by whether it tells what every GPU has.
fn is_unhealthy(facts: &Facts, gpu: &Gpu) -> bool {
    match facts.health.get(&gpu.uuid) {
        Some(health) => !health.is_schedulable(),
        None => [
            matches!(gpu.product, Reading::Failed { .. }),
            matches!(gpu.memory_bytes, Reading::Failed { .. }),
            matches!(gpu.compute_capability, Reading::Failed { .. }),
        ]
        .contains(&true),
    }
}
