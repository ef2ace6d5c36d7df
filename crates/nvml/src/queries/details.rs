//! What GPUs say of themselves beyond the inventory. Only what is wanted is asked: of each GPU one call for each detail,
//! two for PCI Express, one more for its MIG mode where that decides, and those for each MIG profile that it knows.

use std::collections::BTreeSet;

use gpu_model::{Detail, DetailSet, Details, FabricState, GpuDetails, MigProfile, Reading};

use super::inventory::identify;
use super::{Identified, Known, Scope, of_one_gpu};
use crate::Code;
use crate::binding::{Driver, Failure, Gpu, reading};
use crate::protocol::Refusal;
use crate::reach::Place;

/// Models of which a GPU said that it joins no fabric: no other one of the model does.
type WithoutFabric = BTreeSet<u32>;

pub(super) fn take<'d>(
    driver: &'d Driver<'d>,
    scope: &Scope,
    wanted: &DetailSet,
    identified: Option<&Identified<'d>>,
) -> Result<Details, Refusal> {
    let identified = identified.filter(|known| known.reach == scope.reach);
    let mut without_fabric = WithoutFabric::new();
    let mut gpus = Vec::new();
    let mut add = |known: &Known<'_>| -> Result<(), Refusal> {
        gpus.push(look(known, wanted, &mut without_fabric)?);
        Ok(())
    };
    let is_asked = |place: &Place| scope.failure(place.index).is_none();
    match identified {
        Some(identified) => {
            identified.gpus.iter().filter(|known| is_asked(&known.place)).try_for_each(add)?;
        }
        None => {
            for place in scope.places(driver)?.into_iter().filter(is_asked) {
                if let Some(known) = known(driver, place)? {
                    add(&known)?;
                }
            }
        }
    }
    let confidential_compute =
        ask(wanted.contains(&Detail::ConfidentialCompute), || reading(driver.confidential_compute()))?;
    Ok(Details { gpus, confidential_compute })
}

/// The GPU at a place, if it can be identified.
fn known<'d>(driver: &'d Driver<'d>, place: Place) -> Result<Option<Known<'d>>, Refusal> {
    let (gpu, uuid) = match identify(driver, place) {
        Ok(identity) => identity,
        Err(failure) => return of_one_gpu(place.index, failure).map(|_| None),
    };
    Ok(Some(Known { place, gpu, uuid, model: None }))
}

fn look(known: &Known<'_>, wanted: &DetailSet, without: &mut WithoutFabric) -> Result<GpuDetails, Refusal> {
    let gpu = &known.gpu;
    let is_wanted = |detail| wanted.contains(&detail);
    let decided_by_mig = is_wanted(Detail::NvLink) || is_wanted(Detail::MigRoom);
    let is_partitioned = ask(decided_by_mig, || reading(gpu.mig_mode()))?.map(|mode| mode.current);
    Ok(GpuDetails {
        uuid: known.uuid.clone(),
        fabric: ask(is_wanted(Detail::Fabric), || fabric(known, without))?,
        ecc: ask(is_wanted(Detail::Ecc), || reading(gpu.ecc()))?,
        nvlinks_up: ask(is_wanted(Detail::NvLink), || nvlinks_up(gpu, &is_partitioned))?,
        pcie: ask(is_wanted(Detail::Pcie), || reading(gpu.pcie()))?,
        power_limit_milliwatts: ask(is_wanted(Detail::Power), || reading(gpu.power_limit_milliwatts()))?,
        gsp: ask(is_wanted(Detail::Gsp), || reading(gpu.gsp()))?,
        mig_room: ask(is_wanted(Detail::MigRoom), || mig_room(gpu, is_partitioned.clone()))?,
    })
}

fn ask<T>(
    is_wanted: bool,
    question: impl FnOnce() -> Result<Reading<T>, Refusal>,
) -> Result<Reading<T>, Refusal> {
    if is_wanted { question() } else { Ok(Reading::NotSupported) }
}

fn fabric(known: &Known<'_>, without: &mut WithoutFabric) -> Result<Reading<FabricState>, Refusal> {
    if known.model.is_some_and(|model| without.contains(&model)) {
        return Ok(Reading::NotSupported);
    }
    let place = reading(known.gpu.fabric_place())?;
    if place == Reading::NotSupported {
        without.extend(known.model);
    }
    Ok(place)
}

fn nvlinks_up(gpu: &Gpu<'_>, is_partitioned: &Reading<bool>) -> Result<Reading<u32>, Refusal> {
    match is_partitioned {
        // Links that are down since nobody may use them are no fact about the machine.
        Reading::Value(true) => Ok(Reading::NotSupported),
        Reading::Value(false) | Reading::NotSupported => reading(gpu.nvlinks_up()),
        Reading::Failed { call, code } => Ok(Reading::Failed { call: call.clone(), code: *code }),
    }
}

fn mig_room(gpu: &Gpu<'_>, is_partitioned: Reading<bool>) -> Result<Reading<Vec<MigProfile>>, Refusal> {
    match is_partitioned {
        Reading::Value(true) => {
            let memory = match gpu.memory_bytes() {
                // A GPU without memory of its own has 0 in its profiles' names.
                Err(Failure { code: Code::NotSupported, .. }) => Ok(0),
                memory => memory,
            };
            reading(memory.and_then(|memory| gpu.mig_room(memory)))
        }
        Reading::Value(false) | Reading::NotSupported => Ok(Reading::NotSupported),
        Reading::Failed { call, code } => Ok(Reading::Failed { call, code }),
    }
}
