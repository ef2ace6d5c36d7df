//! The GPUs that labels speak of, in an order that depends on nothing but the GPUs; and which of several models is the
//! one that a label with room for one names.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use gpu_config::DeviceFilter;
use gpu_model::{Gpu, MigDevice};

use super::sheet::shortened;

/// Most characters of a model in a key: `gpu.model.` before it and `.memory` behind it leave so many of 63.
const LONGEST_SLUG: usize = 46;

/// The GPUs by PCI address, those without one last. Displays, and what the config leaves out, are not among them.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub gpus: Vec<&'a Gpu>,
}

/// A MIG device and its GPU.
pub(super) type Slice<'a> = (&'a Gpu, &'a MigDevice);

/// GPUs or MIG devices of one model.
#[derive(Debug)]
pub(super) struct Model<'a, T> {
    /// The model as a part of a key.
    pub slug: String,
    /// The model, as the driver names it.
    pub name: &'a str,
    /// What is of it, by PCI address; never empty.
    pub parts: Vec<T>,
}

impl<'a> Node<'a> {
    pub fn new(gpus: &'a [Gpu], filter: &DeviceFilter) -> Self {
        let mut gpus: Vec<&Gpu> = gpus.iter().filter(|gpu| filter.leaves_out(gpu).is_none()).collect();
        gpus.sort_by_key(|gpu| {
            let address = gpu.pci.value().copied();
            (address.is_none(), address, &gpu.uuid, gpu.index)
        });
        Self { gpus }
    }

    /// Those with MIG on.
    pub fn partitioned(&self) -> Vec<&'a Gpu> {
        self.gpus.iter().copied().filter(|gpu| gpu.is_partitioned()).collect()
    }

    /// Those with MIG off, without MIG, or that do not say.
    pub fn whole(&self) -> Vec<&'a Gpu> {
        self.gpus.iter().copied().filter(|gpu| !gpu.is_partitioned()).collect()
    }

    /// The MIG devices of all GPUs.
    pub fn slices(&self) -> Vec<Slice<'a>> {
        let of = |gpu: &&'a Gpu| {
            let gpu: &'a Gpu = gpu;
            let mut devices: Vec<&MigDevice> = gpu.mig_devices.iter().collect();
            devices.sort_by_key(|device| (device.index, &device.uuid));
            devices.into_iter().map(move |device| (gpu, device))
        };
        self.partitioned().iter().flat_map(of).collect()
    }
}

/// The models of `parts`: that of most first, of several such the one at the lowest PCI address. What does not tell its
/// model is in none. Products whose names make the same slug are one model.
pub(super) fn models<'a, T: Copy>(parts: &[T], gpu: impl Fn(T) -> &'a Gpu) -> Vec<Model<'a, T>> {
    let mut models: Vec<Model<'a, T>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for part in parts.iter().copied() {
        let Some(name) = gpu(part).product.value() else { continue };
        let slug = slug(name);
        if slug.is_empty() {
            continue;
        }
        let place = *places.entry(slug.clone()).or_insert(models.len());
        match models.get_mut(place) {
            Some(model) => model.parts.push(part),
            None => models.push(Model { slug, name, parts: vec![part] }),
        }
    }
    models.sort_by_key(|model| Reverse(model.parts.len()));
    models
}

/// The primary model's name and parts; where no part tells its model, no name and all parts.
pub(super) fn primary<'a, T: Copy>(parts: &[T], gpu: impl Fn(T) -> &'a Gpu) -> (&'a str, Vec<T>) {
    match models(parts, gpu).into_iter().next() {
        Some(model) => (model.name, model.parts),
        None => ("", parts.to_vec()),
    }
}

fn slug(name: &str) -> String {
    shortened(name, LONGEST_SLUG).to_ascii_lowercase()
}
