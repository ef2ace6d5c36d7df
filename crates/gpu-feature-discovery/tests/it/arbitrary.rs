//! Facts and settings of every kind, the impossible too.

use std::collections::BTreeMap;

use gpu_config::{Devices, MigStrategy, SharedResource, TimeSlicing};
use gpu_feature_discovery::facts::{DriverFacts, Face, Facts, Group, PciFunction, Settings};
use gpu_model::{
    Details, DriverVersions, FabricState, Gpu, GpuDetails, GpuFailure, Health, HealthReason, Inventory,
    MigAttributes, MigDevice, MigEngines, MigFailure, MigMode, MigProfile, PciAddress, PcieLink, Reading,
};
use node_host::DriverFlavour;
use node_host::vgpu::{VgpuError, VgpuHostDriver};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::nodes::uuid;

/// Texts that drivers and firmware were seen to give, or might.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("NVIDIA H100 80GB HBM3".to_owned()),
        Just("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition".to_owned()),
        Just("Tesla T4".to_owned()),
        Just("tesla-t4".to_owned()),
        Just("NVIDIA \"A100\"\n".to_owned()),
        Just("\u{fffd}\u{fffd}".to_owned()),
        Just("🚀 GPU".to_owned()),
        Just("N".repeat(300)),
        Just("DGX Display".to_owned()),
        any::<String>(),
        "[ -~]{0,80}",
    ]
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,4}(\\.[0-9]{1,3}){0,5}",
        text(),
        Just("unknown.unknown.unknown".to_owned()),
        Just(".".to_owned())
    ]
}

fn reading<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Reading<T>> {
    prop_oneof![
        6 => value.prop_map(Reading::Value),
        1 => Just(Reading::NotSupported),
        1 => any::<u32>().prop_map(|code| Reading::Failed { call: "nvmlDeviceGetName".to_owned(), code }),
    ]
}

fn address() -> impl Strategy<Value = PciAddress> {
    (0u8..6).prop_map(|bus| PciAddress { domain: 0, bus, device: 0, function: 0 })
}

fn memory() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(80 << 30), any::<u64>()]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..16, any::<u32>()]
}

fn profile() -> impl Strategy<Value = MigProfile> {
    let engines = [
        MigEngines::Plain,
        MigEngines::Media,
        MigEngines::AllMedia,
        MigEngines::Graphics,
        MigEngines::NoMedia,
    ];
    let usual = prop_oneof![Just("1g.10gb".to_owned()), Just("3g.40gb".to_owned())];
    prop_oneof![
        usual.prop_map(|text| text.parse().unwrap()),
        (1..=u32::MAX, memory(), proptest::sample::select(engines.to_vec())).prop_map(
            |(slices, memory, engines)| {
                let whole = 1 << 50;
                MigProfile::new(slices, 1, memory.min(whole), whole, engines).unwrap()
            }
        ),
    ]
}

fn attributes() -> impl Strategy<Value = MigAttributes> {
    (number(), number(), number(), number(), number(), number()).prop_map(
        |(multiprocessors, copy_engines, decoders, encoders, jpeg_engines, ofa_engines)| MigAttributes {
            multiprocessors,
            copy_engines,
            decoders,
            encoders,
            jpeg_engines,
            ofa_engines,
        },
    )
}

fn gpu() -> impl Strategy<Value = Gpu> {
    let device = (profile(), reading(memory()), attributes());
    let mig = (reading((any::<bool>(), any::<bool>())), vec(device, 0..4), any::<bool>());
    let capability = (prop_oneof![0u32..15, any::<u32>()], number());
    let of =
        (reading(text()), reading(address()), reading(memory()), reading(capability), reading(number()), mig);
    of.prop_map(|(product, pci, memory_bytes, compute_capability, numa_node, (mode, devices, is_bad))| {
        // Indexes and identities are given when all GPUs are there.
        let device = |(profile, memory_bytes, attributes)| MigDevice {
            uuid: "MIG-00000000-0000-0000-0000-000000000000".parse().unwrap(),
            index: 0,
            gpu_instance: 0,
            compute_instance: 0,
            profile,
            memory_bytes,
            attributes,
        };
        let failure = MigFailure { index: Some(9), call: "nvmlDeviceGetUUID".to_owned(), code: 15 };
        Gpu {
            index: 0,
            uuid: uuid(0),
            minor: Reading::NotSupported,
            product,
            pci,
            memory_bytes,
            compute_capability,
            numa_node,
            mig_mode: mode.map(|(current, pending)| MigMode { current, pending }),
            mig_devices: devices.into_iter().map(device).collect(),
            mig_failures: is_bad.then_some(failure).into_iter().collect(),
        }
    })
}

fn numbered(mut gpus: Vec<Gpu>) -> Vec<Gpu> {
    for (index, gpu) in (0u32..).zip(&mut gpus) {
        (gpu.index, gpu.uuid) = (index, uuid(index));
        for (at, mig) in (0u32..).zip(&mut gpu.mig_devices) {
            (mig.index, mig.gpu_instance) = (at, at + 1);
            mig.uuid = format!("MIG-00000000-0000-0000-{index:04}-{at:012}").parse().unwrap();
        }
    }
    gpus
}

fn details() -> impl Strategy<Value = GpuDetails> {
    let fabric = prop_oneof![
        Just(FabricState::InProgress),
        number().prop_map(|status| FabricState::Failed { status }),
        (option::of(text()), 0u32..2).prop_map(|(cluster, clique)| FabricState::Joined { cluster, clique }),
    ];
    let link = (number(), number()).prop_map(|(generation, width)| PcieLink { generation, width });
    let of = (
        0u32..6,
        reading(fabric),
        reading(any::<bool>()),
        reading(number()),
        reading(link),
        reading(any::<bool>()),
        reading(vec(profile(), 0..3)),
    );
    of.prop_map(|(gpu, fabric, ecc, number, pcie, gsp, mig_room)| GpuDetails {
        uuid: uuid(gpu),
        fabric,
        ecc,
        nvlinks_up: number.clone(),
        pcie,
        power_limit_milliwatts: number,
        gsp,
        mig_room,
    })
}

fn function() -> impl Strategy<Value = PciFunction> {
    let vgpu = prop_oneof![
        Just(Ok(None)),
        text().prop_map(|reason| Err(VgpuError::Unreadable { reason })),
        Just(Err(VgpuError::NoHostDriver { at: 0x40, problem: "there is no record of it" })),
        (text(), text()).prop_map(|(version, branch)| Ok(Some(VgpuHostDriver { version, branch }))),
    ];
    let class = prop_oneof![Just(0x03_0200), Just(0x03_0000), any::<u32>()];
    (address(), class, vgpu).prop_map(|(address, class, vgpu)| PciFunction { address, class, vgpu })
}

fn driver() -> impl Strategy<Value = DriverFacts> {
    let failure = (number(), number()).prop_map(|(index, code)| GpuFailure {
        index,
        call: "nvmlDeviceGetHandleByIndex_v2".to_owned(),
        code,
    });
    let details = (vec(details(), 0..5), reading(any::<bool>()));
    let of = (version(), reading((number(), number())), vec(gpu(), 0..6), vec(failure, 0..3), details);
    of.prop_map(|(driver, cuda, gpus, failures, (details, confidential_compute))| {
        let inventory = Inventory {
            driver: DriverVersions { driver, nvml: String::new(), cuda },
            gpus: numbered(gpus),
            failures,
        };
        DriverFacts { inventory, details: Details { gpus: details, confidential_compute } }
    })
}

pub fn facts() -> impl Strategy<Value = Facts> {
    let healths = prop_oneof![
        Just(Health::Healthy),
        Just(Health::Unhealthy { reason: HealthReason::Lost }),
        Just(Health::Unknown { reason: HealthReason::NvmlStuck }),
    ];
    let health = vec((0u32..9, healths), 0..5);
    // At one address there is one function.
    let pci = option::of(vec(function(), 0..6)).prop_map(|functions| {
        let by_address: Option<BTreeMap<PciAddress, PciFunction>> =
            functions.map(|all| all.into_iter().map(|function| (function.address, function)).collect());
        by_address.map(|functions| functions.into_values().collect())
    });
    let flavour = option::of(Just(DriverFlavour::Open));
    (option::weighted(0.9, driver()), health, option::of(text()), pci, flavour, any::<Option<bool>>())
        .prop_map(|(driver, health, machine, pci, flavour, nfd)| Facts {
            driver,
            health: health.into_iter().map(|(gpu, health)| (uuid(gpu), health)).collect(),
            machine,
            pci,
            nfd,
            flavour,
        })
}

pub fn settings() -> impl Strategy<Value = Settings> {
    let strategy = prop_oneof![Just(MigStrategy::None), Just(MigStrategy::Single), Just(MigStrategy::Mixed)];
    let resource = prop_oneof![Just("nvidia.com/gpu"), Just("nvidia.com/mig-1g.10gb")];
    let devices = prop_oneof![Just(Devices::All), (1u32..3).prop_map(Devices::Count)];
    let entry =
        (resource, any::<bool>(), devices, 2..=u32::MAX).prop_map(|(name, is_renamed, devices, replicas)| {
            let resource = name.parse().unwrap();
            let shared_as = format!("{name}{}", if is_renamed { ".shared" } else { "" }).parse().unwrap();
            SharedResource { resource, shared_as, devices, replicas }
        });
    let sharing = option::of(
        vec(entry, 0..3)
            .prop_map(|resources| TimeSlicing { fail_requests_greater_than_one: false, resources }),
    );
    let face = prop_oneof![Just(Face::Native), Just(Face::Compat)];
    let groups = proptest::sample::subsequence(Group::ALL.to_vec(), 0..=Group::ALL.len());
    (strategy, sharing, face, groups, option::of(any::<u64>())).prop_map(
        |(mig_strategy, time_slicing, face, groups, timestamp)| Settings {
            face,
            mig_strategy,
            time_slicing,
            groups: groups.into_iter().collect(),
            timestamp,
            ..Settings::default()
        },
    )
}
