//! The keys that the file can have, from its schema, and what somebody meant who wrote another one.

use std::sync::LazyLock;

use schemars::Schema;

use crate::file::File;
use crate::reference::{Key, Walk};

/// All keys: a file may have thousands that are none of them.
static KNOWN: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let schema: Schema = schemars::schema_for!(File);
    Walk::over(&schema)
});

/// Farther apart, two words are not each other's misspelling.
const NEAREST: f64 = 0.8;

/// Advice on a key that is not there; `path` is that of the map in which it stands, without indexes.
pub(crate) fn advice(path: &str, key: &str) -> String {
    let known = &*KNOWN;
    let beside: Vec<&str> =
        known.iter().filter(|known| known.parent() == path).map(|known| known.key()).collect();
    let elsewhere: Vec<String> = known
        .iter()
        .filter(|known| known.key() == key)
        .map(|known| match known.parent() {
            "" => "at the top".to_owned(),
            parent => format!("under `{parent}`"),
        })
        .collect();
    if !elsewhere.is_empty() {
        return format!("no such key here; `{key}` belongs {}", elsewhere.join(" or "));
    }
    let distance = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &key.to_lowercase());
    let nearest = beside.iter().max_by(|one, other| distance(one).total_cmp(&distance(other)));
    match nearest.filter(|known| distance(known) >= NEAREST) {
        Some(known) => format!("no such key; did you mean `{known}`?"),
        None => format!("no such key; there are {}", beside.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misplaced_key_is_sent_to_its_place() {
        assert_eq!(
            advice("flags", "renameByDefault"),
            "no such key here; `renameByDefault` belongs under `sharing.timeSlicing`"
        );
        assert_eq!(advice("sharing", "flags"), "no such key here; `flags` belongs at the top");
    }

    #[test]
    fn misspelt_key_gets_the_nearest_one() {
        assert_eq!(advice("flags", "migstrategy"), "no such key; did you mean `migStrategy`?");
        assert_eq!(
            advice("sharing.timeSlicing.resources[]", "replica"),
            "no such key; did you mean `replicas`?"
        );
        assert_eq!(advice("imex", "colour"), "no such key; there are channelIDs, required");
    }
}
