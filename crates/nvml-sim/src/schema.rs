//! The schema of node files as data: JSON Schema, made of the very types that the parser reads into, so that it cannot
//! say anything else. It knows how each written value looks, not what a node is.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::bytes::Bytes;
use crate::cpu_list::CpuList;
use crate::damage::Counter;
use crate::ecc::Ecc;
use crate::faults::{Moment, Probability};
use crate::latency::{Delay, Distribution};
use crate::load::{Load, Recording};
use crate::model::ComputeCapability;
use crate::node_file::NodeFile;
use crate::pci::PciAddress;
use crate::processes::Percent;
use crate::topology::PciePlace;
use crate::trim::Branch;

/// The JSON Schema of node files: for editors, and for the reference in `docs/simulator-node.md`.
pub fn node_file_schema() -> Value {
    schemars::schema_for!(NodeFile).to_value()
}

/// Values that are written as text, and how.
macro_rules! written {
    ($($type:ident: $words:literal,)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "number"], "title": $words })
            }
        }
    )*};
}

written! {
    Branch: "`450`, `470`, `510` or `550`",
    Bytes: "amount of memory, such as `80GiB`",
    ComputeCapability: "compute capability, quoted, such as `\"8.0\"`",
    Counter: "what is counted, such as `ecc.uncorrected.dram`",
    CpuList: "list of CPUs, such as `0-7,64-71`",
    Delay: "time span, such as `90s`",
    Distribution: "time span such as `5ms`, or distribution such as `uniform(1ms, 5ms)`",
    Moment: "time span such as `90s`, or time such as `2026-01-31T12:00:00Z`",
    PciAddress: "PCI address, quoted, such as `\"0000:07:00.0\"`",
    PciePlace: "place, such as `0/3/0/0`",
    Percent: "percentage, such as `40%`",
    Probability: "probability, such as `0.05` or `5%`",
}

impl JsonSchema for Ecc {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Ecc".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "unsupported"] })
    }
}

impl JsonSchema for Load {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Load".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let recorded = generator.subschema_for::<Recording>();
        json_schema!({ "anyOf": [{ "enum": ["idle", "training", "inference"] }, recorded] })
    }
}
