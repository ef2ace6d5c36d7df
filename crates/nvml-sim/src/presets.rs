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

/// GPU models, for `model:` in a node file.
pub const GPUS: &[Preset] = &[
    Preset { name: "A100-SXM4-40GB", yaml: include_str!("../presets/gpus/a100-sxm4-40gb.yaml") },
    Preset { name: "A100-SXM4-80GB", yaml: include_str!("../presets/gpus/a100-sxm4-80gb.yaml") },
    Preset { name: "A30", yaml: include_str!("../presets/gpus/a30.yaml") },
    Preset { name: "H100-SXM5-80GB", yaml: include_str!("../presets/gpus/h100-sxm5-80gb.yaml") },
    Preset { name: "T4", yaml: include_str!("../presets/gpus/t4.yaml") },
];

/// Whole nodes, for `nvml-sim init --preset`.
pub const NODES: &[Preset] = &[
    Preset { name: "dgx-a100", yaml: include_str!("../presets/nodes/dgx-a100.yaml") },
    Preset { name: "dgx-h100", yaml: include_str!("../presets/nodes/dgx-h100.yaml") },
    Preset { name: "t4", yaml: include_str!("../presets/nodes/t4.yaml") },
];

/// The preset of a name, any case.
pub fn find(presets: &'static [Preset], name: &str) -> Option<Preset> {
    presets.iter().copied().find(|preset| preset.name.eq_ignore_ascii_case(name))
}

/// The names of presets as one line for a hint.
pub fn names(presets: &[Preset]) -> String {
    presets.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}
