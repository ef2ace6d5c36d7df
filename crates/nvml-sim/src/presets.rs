//! The GPU models and whole nodes that come with the simulator, as data files. It knows their names and texts,
//! not their meaning.

/// A preset: its name and its YAML.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name by which node files and the command line call it.
    pub name: &'static str,
    /// Its text.
    pub yaml: &'static str,
}

/// GPU models from the oldest to the newest, for `model:` in a node file.
pub const GPUS: &[Preset] = &[
    Preset { name: "V100-SXM2-16GB", yaml: include_str!("../presets/gpus/v100-sxm2-16gb.yaml") },
    Preset { name: "T4", yaml: include_str!("../presets/gpus/t4.yaml") },
    Preset { name: "A30", yaml: include_str!("../presets/gpus/a30.yaml") },
    Preset { name: "A100-SXM4-40GB", yaml: include_str!("../presets/gpus/a100-sxm4-40gb.yaml") },
    Preset { name: "A100-SXM4-80GB", yaml: include_str!("../presets/gpus/a100-sxm4-80gb.yaml") },
    Preset { name: "L4", yaml: include_str!("../presets/gpus/l4.yaml") },
    Preset { name: "RTX-4090", yaml: include_str!("../presets/gpus/rtx-4090.yaml") },
    Preset { name: "H100-SXM5-80GB", yaml: include_str!("../presets/gpus/h100-sxm5-80gb.yaml") },
    Preset { name: "H100-NVL-94GB", yaml: include_str!("../presets/gpus/h100-nvl-94gb.yaml") },
    Preset { name: "H200-SXM5-141GB", yaml: include_str!("../presets/gpus/h200-sxm5-141gb.yaml") },
    Preset { name: "GH200-96GB", yaml: include_str!("../presets/gpus/gh200-96gb.yaml") },
    Preset { name: "B200", yaml: include_str!("../presets/gpus/b200.yaml") },
    Preset { name: "GB200", yaml: include_str!("../presets/gpus/gb200.yaml") },
    Preset {
        name: "RTX-PRO-6000-Blackwell",
        yaml: include_str!("../presets/gpus/rtx-pro-6000-blackwell.yaml"),
    },
];

/// Whole nodes, for `nvml-sim init --preset`.
pub const NODES: &[Preset] = &[
    Preset { name: "dgx-v100", yaml: include_str!("../presets/nodes/dgx-v100.yaml") },
    Preset { name: "dgx-a100", yaml: include_str!("../presets/nodes/dgx-a100.yaml") },
    Preset { name: "dgx-h100", yaml: include_str!("../presets/nodes/dgx-h100.yaml") },
    Preset { name: "dgx-h200", yaml: include_str!("../presets/nodes/dgx-h200.yaml") },
    Preset { name: "dgx-b200", yaml: include_str!("../presets/nodes/dgx-b200.yaml") },
    Preset { name: "gb200-nvl72", yaml: include_str!("../presets/nodes/gb200-nvl72.yaml") },
    Preset { name: "gh200", yaml: include_str!("../presets/nodes/gh200.yaml") },
    Preset { name: "h100-nvl", yaml: include_str!("../presets/nodes/h100-nvl.yaml") },
    Preset { name: "a30", yaml: include_str!("../presets/nodes/a30.yaml") },
    Preset { name: "l4", yaml: include_str!("../presets/nodes/l4.yaml") },
    Preset { name: "t4", yaml: include_str!("../presets/nodes/t4.yaml") },
    Preset { name: "rtx-pro-6000", yaml: include_str!("../presets/nodes/rtx-pro-6000.yaml") },
    Preset { name: "rtx-4090", yaml: include_str!("../presets/nodes/rtx-4090.yaml") },
    Preset { name: "mixed", yaml: include_str!("../presets/nodes/mixed.yaml") },
];

/// The preset of a name, any case.
pub fn find(presets: &'static [Preset], name: &str) -> Option<Preset> {
    presets.iter().copied().find(|preset| preset.name.eq_ignore_ascii_case(name))
}

/// The names of presets as one line for a hint.
pub fn names(presets: &[Preset]) -> String {
    presets.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}
