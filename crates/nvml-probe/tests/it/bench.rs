//! `nvml-probe bench`: its figures are there; how large they are is for `make bench`.

use serde_json::Value;

use crate::probe::{Node, passed};

#[test]
fn figures_of_each_common_getter_are_told() {
    let words = ["bench", "--milliseconds", "1", "--threads", "2", "--output", "json"];
    let said = passed(&Node::of("dgx-a100").probe(&words).output().unwrap());
    let figures: Value = serde_json::from_str(&said).unwrap();
    let rates = figures["calls-per-second"].as_object().unwrap();
    assert_eq!(rates.len(), 12, "{rates:?}");
    assert!(rates.values().all(|rate| rate.as_u64() >= figures["slowest-per-second"].as_u64()));
    for figure in ["init-us", "pss-kib", "mixed-calls-per-second"] {
        assert!(figures[figure].as_u64() > Some(0), "{figure}: {figures}");
    }
}
