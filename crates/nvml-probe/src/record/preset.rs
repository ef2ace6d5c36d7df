//! Which preset a GPU is nearest to, and what must be said beside it. It knows presets as complete models.

use std::path::Path;

use nvml_sim::{Node, presets};
use serde_json::{Map, Value};

use super::facts::Facts;

/// A preset with all its figures, those that follow from others included.
pub struct Complete {
    /// Its name.
    pub name: &'static str,
    /// Key -> value.
    pub figures: Map<String, Value>,
}

/// The nearest preset, and the keys in which the GPU differs from it.
pub struct Nearest {
    /// The preset's name.
    pub name: &'static str,
    /// Key -> the GPU's value.
    pub overrides: Vec<(String, Value)>,
}

/// All presets. One that does not read is a mistake of the simulator's, and left out.
pub fn all() -> Vec<Complete> {
    let complete = |preset: &presets::Preset| {
        let name = preset.name;
        let node = format!(
            "driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: preset\n\
             gpus:\n  - {{model: {name}, pci: \"0000:01:00.0\"}}\n"
        );
        let node = Node::parse(Path::new(name), &node).ok()?;
        let model = serde_json::to_value(&node.gpus.first()?.model).ok()?;
        Some(Complete { name, figures: model.as_object()?.clone() })
    };
    presets::GPUS.iter().filter_map(complete).collect()
}

/// The preset of the GPU's name that differs least, else of all.
pub fn nearest(presets: &[Complete], mut facts: Facts) -> Option<Nearest> {
    let is_named = |preset: &Complete| preset.figures.get("name") == facts.get("name");
    let any_named = presets.iter().any(is_named);
    let candidates = presets.iter().filter(|preset| !any_named || is_named(preset));
    let best = candidates.min_by_key(|preset| differing(preset, &facts).count())?;
    // A GPU has a value of its own only where it differs.
    let keys: Vec<&str> = differing(best, &facts).collect();
    facts.retain(|key, _| keys.contains(key));
    Some(Nearest {
        name: best.name,
        overrides: facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    })
}

/// The keys in which a GPU differs. What a preset does not say is nothing: 0, false.
fn differing<'a>(preset: &'a Complete, facts: &'a Facts) -> impl Iterator<Item = &'static str> + 'a {
    let differs = |(key, value): &(&&'static str, &Value)| match preset.figures.get(**key) {
        Some(known) => known != *value,
        None => value.as_bool() != Some(false) && value.as_u64() != Some(0),
    };
    facts.iter().filter(differs).map(|(key, _)| *key)
}
