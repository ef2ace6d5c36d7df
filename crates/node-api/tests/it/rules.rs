//! The rules that need no server, over anything that can be made up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use node_api::{Answer, Cause, Difference, Field, NodeView, Refusal, Restoring, Timing, refused};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// Keys of which some begin or end like others.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("nvidia.com/gpu".to_owned()),
        Just("nvidia.com/gpu.product".to_owned()),
        Just("nvidia.com/gpu.product-x".to_owned()),
        Just("gpu".to_owned()),
        Just("gpu.product".to_owned()),
        "[a-c]{1,2}(\\.[a-c]{1,2})?/[a-c]{1,2}([._-][a-c]{1,2})?",
    ]
}

fn field() -> impl Strategy<Value = Field> {
    (any::<bool>(), key())
        .prop_map(|(label, key)| if label { Field::Label(key) } else { Field::Annotation(key) })
}

fn fields() -> impl Strategy<Value = BTreeMap<Field, String>> {
    proptest::collection::btree_map(field(), "[a-z0-9]{0,4}", 0..8)
}

fn path(field: &Field) -> String {
    match field {
        Field::Label(key) => format!(".metadata.labels.{key}"),
        Field::Annotation(key) => format!(".metadata.annotations.{key}"),
    }
}

fn node(values: &BTreeMap<Field, String>, owned: &BTreeMap<String, BTreeSet<Field>>) -> NodeView {
    let mut metadata =
        json!({ "name": "n", "uid": "u", "resourceVersion": "7", "labels": {}, "annotations": {} });
    for (field, value) in values {
        let map = if matches!(field, Field::Label(_)) { "labels" } else { "annotations" };
        metadata[map][field.key()] = Value::from(value.as_str());
    }
    let entries = owned.iter().map(|(manager, fields)| {
        let mut sets = json!({});
        for field in fields {
            let map = if matches!(field, Field::Label(_)) { "f:labels" } else { "f:annotations" };
            sets[map][format!("f:{}", field.key())] = json!({});
        }
        json!({ "manager": manager, "operation": "Apply", "fieldsV1": { "f:metadata": sets } })
    });
    metadata["managedFields"] = entries.collect();
    let object = json!({ "kind": "PartialObjectMetadata", "metadata": metadata });
    NodeView::read(object.to_string().as_bytes(), "n").unwrap()
}

proptest! {
    #[test]
    fn conflict_costs_exactly_the_keys_that_it_names(wanted in fields(), named in proptest::collection::btree_set(field(), 0..5)) {
        let causes = named.iter().map(|field| Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with \"other-{}\" using v1", field.key()),
            field: path(field),
        });
        let answer = Answer { code: 409, causes: causes.collect(), ..Answer::default() };
        let found = refused(&answer, &wanted);
        let expected: BTreeSet<&Field> = wanted.keys().filter(|field| named.contains(field)).collect();
        prop_assert_eq!(found.keys().collect::<BTreeSet<_>>(), expected);
        for (field, why) in &found {
            prop_assert_eq!(why, &Refusal::Owned { by: format!("other-{}", field.key()) });
        }
    }

    #[test]
    fn denial_costs_the_key_that_it_names_and_none_that_is_like_it(
        wanted in fields(), pick: prop::sample::Index, code in prop_oneof![Just(400u16), Just(403), Just(422)], words in 0usize..3,
    ) {
        prop_assume!(!wanted.is_empty());
        let field = pick.get(&wanted.keys().cloned().collect::<Vec<_>>()).clone();
        let message = match words {
            0 => format!("policy denied request: key {} is not allowed", field.key()),
            1 => format!("nodes \"n\" is forbidden: [\"{}\"].", field.key()),
            _ => format!("denied: {}.", field.key()),
        };
        let answer = Answer { code, message, ..Answer::default() };
        let found = refused(&answer, &wanted);
        prop_assert!(found.contains_key(&field));
        prop_assert!(found.keys().all(|other| other.key() == field.key()), "{:?}", found);
    }

    #[test]
    fn answer_without_a_key_of_ours_costs_none(wanted in fields(), code in 400u16..600) {
        let message = "User \"system:serviceaccount:ns:sa\" cannot patch resource \"nodes\" at the cluster scope".to_owned();
        let cause = Cause { reason: "FieldValueInvalid".to_owned(), message: "Invalid value: \"another one\"".to_owned(), field: "spec".to_owned() };
        let answer = Answer { code, message, causes: vec![cause], ..Answer::default() };
        let silent: BTreeMap<_, _> = wanted.into_iter().filter(|(field, _)| field.key().len() > 3).collect();
        prop_assert!(refused(&answer, &silent).is_empty());
    }

    #[test]
    fn node_as_wanted_differs_in_nothing_and_any_other_does(
        wanted in fields(), foreign in fields(), theirs in proptest::collection::btree_set(field(), 0..4), pick: prop::sample::Index, how in 0usize..4,
    ) {
        let mut values = foreign;
        values.extend(wanted.clone());
        let ours: BTreeSet<Field> = wanted.keys().cloned().collect();
        let owned: BTreeMap<String, BTreeSet<Field>> = [("us".to_owned(), ours), ("them".to_owned(), theirs)].into();
        prop_assert!(Difference::between(&node(&values, &owned), &wanted, "us").is_empty());
        prop_assume!(!wanted.is_empty());
        let field = pick.get(&wanted.keys().cloned().collect::<Vec<_>>()).clone();
        let (mut values, mut owned, mut asked) = (values, owned, wanted);
        match how {
            0 => drop(values.remove(&field)),
            1 => drop(values.insert(field.clone(), "another".to_owned())),
            2 => drop(asked.remove(&field)),
            _ => {
                owned.get_mut("us").unwrap().remove(&field);
                // Somebody holds something: the server doesn't hide owners.
                owned.get_mut("them").unwrap().insert(field.clone());
            }
        }
        let difference = Difference::between(&node(&values, &owned), &asked, "us");
        let one: BTreeSet<Field> = [field].into();
        let expected = match how {
            0 | 1 => Difference { missing: one, ..Difference::default() },
            2 => Difference { surplus: one, ..Difference::default() },
            _ => Difference { unowned: one, ..Difference::default() },
        };
        prop_assert_eq!(difference, expected);
    }

    #[test]
    fn restorations_begin_at_once_and_never_flood(pauses in proptest::collection::vec(0u64..20_000, 1..80)) {
        let (timing, begin) = (Timing::default(), Instant::now());
        let (mut restoring, mut now, mut made) = (Restoring::default(), begin, Vec::new());
        for pause in pauses {
            now += Duration::from_millis(pause);
            let due = restoring.due(now, &timing);
            prop_assert!(due >= now && due <= now + timing.restore_max);
            // The first three come back within 5 seconds.
            prop_assert!(made.len() >= 3 || due - now <= Duration::from_secs(5));
            now = due;
            restoring.made(now, &timing);
            made.push(now - begin);
        }
        let hour = |from: Duration| made.iter().filter(|at| **at >= from && **at < from + Duration::from_secs(3600)).count();
        prop_assert!(made.iter().all(|from| hour(*from) <= 25), "{:?}", made);
        let calm = now + timing.restore_calm;
        prop_assert_eq!(restoring.due(calm, &timing), calm);
    }

    #[test]
    fn any_text_is_a_node_or_an_error(text in ".{0,80}") {
        let _ = NodeView::read(text.as_bytes(), "n");
    }
}

#[test]
fn object_of_another_name_or_kind_is_no_node_of_ours() {
    let of = |kind: &str, metadata: Value| {
        NodeView::read(json!({ "kind": kind, "metadata": metadata }).to_string().as_bytes(), "n")
    };
    assert!(of("Node", json!({ "name": "n", "uid": "u", "labels": null })).is_ok());
    assert!(of("Node", json!({ "name": "m", "uid": "u" })).is_err());
    assert!(of("Node", json!({ "name": "n" })).is_err());
    assert!(of("Status", json!({ "name": "n", "uid": "u" })).is_err());
    assert!(of("Node", Value::Object(Map::new())).is_err());
}
