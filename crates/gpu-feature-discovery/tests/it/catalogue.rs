//! The page of labels.

use std::collections::BTreeSet;
use std::path::Path;

use gpu_feature_discovery::labels::catalogue::{Origin, entries, markdown};

#[test]
fn page_of_labels_is_written_from_the_catalogue() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    golden::assert_golden(&docs.join("labels.md"), &markdown());
}

#[test]
fn catalogue_names_each_label_once_and_nothing_in_our_domain_as_nvidias() {
    let entries = entries();
    let keys: BTreeSet<&String> = entries.iter().map(|entry| &entry.key).collect();
    assert_eq!(keys.len(), entries.len());
    for entry in &entries {
        assert!(!(entry.origin == Origin::SameAsGfd && entry.key.starts_with("gantry.dev/")), "{entry:?}");
        assert!(entry.meaning.ends_with('.') && !entry.meaning.contains('|'), "{entry:?}");
    }
}
