//! Each rule holds of answers that are right, and finds the one that is not.

use serde_json::{Value, json};

use super::*;
use crate::walk::{GpuWalk, InstanceWalk};

/// A walk of two GPUs with an NVLink between them, the second one with a MIG device.
fn walk() -> Walk {
    let gpu = |index: u64| {
        let other = 1 - index;
        let answers = json!({
            "nvmlDeviceGetIndex": index,
            "nvmlDeviceGetMinorNumber": index,
            "nvmlDeviceGetUUID": format!("GPU-{index}"),
            "nvmlDeviceGetSerial": "7",
            "nvmlDeviceGetHandleByUUID": format!("GPU {index}"),
            "nvmlDeviceGetHandleBySerial": {"code": "INVALID_ARGUMENT"},
            "nvmlDeviceGetPciInfo_v3": {"busId": format!("00000000:0{index}:00.0"), "domain": 0, "bus": index, "device": 0},
            "nvmlDeviceGetPciInfoExt": {"domain": 0, "bus": index, "device": 0},
            "nvmlDeviceGetMemoryInfo_v2": {"total": 10, "free": 7, "used": 2, "reserved": 1},
            "nvmlDeviceGetPowerManagementLimitConstraints": {"minLimit": 100, "maxLimit": 300},
            "nvmlDeviceGetPowerManagementLimit": 250,
            "nvmlDeviceGetEnforcedPowerLimit": 250,
            "nvmlDeviceGetTotalEnergyConsumption": 1000,
            "nvmlDeviceGetEccMode": {"current": 1, "pending": 1},
            "nvmlDeviceGetFieldValues": {"001": 1, "083": 1000},
            format!("nvmlDeviceGetTopologyCommonAncestor({other})"): 10,
            "nvmlDeviceGetNvLinkRemoteDeviceType(0)": 0,
            "nvmlDeviceGetNvLinkRemotePciInfo_v2(0)": {"busId": format!("00000000:0{other}:00.0")},
            "nvmlDeviceGetGpuInstancePossiblePlacements_v2(9)": [{"start": 0, "size": 4}, {"start": 4, "size": 4}],
        });
        GpuWalk { answers: answers_of(answers), ..GpuWalk::default() }
    };
    let mut gpus = vec![gpu(0), gpu(1)];
    let instance = |id: u64, start: u64| {
        let info = json!({"id": id, "profileId": 9, "placement": {"start": start, "size": 4}});
        InstanceWalk {
            answers: answers_of(json!({ "nvmlGpuInstanceGetInfo": info })),
            compute_instances: [(0, Answers::new())].into(),
        }
    };
    gpus[1].gpu_instances = [(1, instance(1, 0)), (2, instance(2, 4))].into();
    let device = json!({
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": "GPU 1",
        "nvmlDeviceGetHandleByUUID": "MIG device 1/0",
        "nvmlDeviceGetGpuInstanceId": 2,
        "nvmlDeviceGetComputeInstanceId": 0,
    });
    gpus[1].mig_devices = [(0, answers_of(device))].into();
    Walk { gpus, ..Walk::default() }
}

fn answers_of(answers: Value) -> Answers {
    serde_json::from_value(answers).unwrap()
}

/// The rules that find something in three walks.
fn found(walks: &[Walk; 3]) -> Vec<&'static str> {
    check(walks).into_iter().filter(|check| !check.problems.is_empty()).map(|check| check.name).collect()
}

#[test]
fn answers_that_are_right_break_no_rule_and_each_rule_sees_some() {
    let walks = [walk(), walk(), walk()];
    assert_eq!(found(&walks), Vec::<&str>::new());
    for check in check(&walks) {
        assert!(check.seen > 0, "{} looks at nothing", check.name);
    }
}

#[test]
fn answers_that_are_wrong_break_their_rule() {
    let put = |call: &str, answer: Value| {
        // In all walks, so that nothing but the answer itself is wrong.
        let mut walks = [walk(), walk(), walk()];
        walks.iter_mut().for_each(|walk| drop(walk.gpus[0].answers.insert(call.to_owned(), answer.clone())));
        found(&walks)
    };
    for (call, answer, rule) in [
        ("nvmlDeviceGetIndex", json!(1), "identities"),
        ("nvmlDeviceGetUUID", json!("GPU-1"), "identities"),
        ("nvmlDeviceGetMinorNumber", json!(1), "identities"),
        ("nvmlDeviceGetHandleByUUID", json!("GPU 1"), "identities"),
        ("nvmlDeviceGetPciInfoExt", json!({"bus": 9}), "addresses"),
        ("nvmlDeviceGetMemoryInfo_v2", json!({"total": 9, "free": 7, "used": 2, "reserved": 1}), "memory"),
        ("nvmlDeviceGetPowerManagementLimit", json!(301), "power"),
        ("nvmlDeviceGetEnforcedPowerLimit", json!(251), "power"),
        ("nvmlDeviceGetEccMode", json!({"current": 0, "pending": 1}), "fields"),
        ("nvmlDeviceGetTotalEnergyConsumption", json!(1001), "fields"),
        ("nvmlDeviceGetTopologyCommonAncestor(1)", json!(20), "neighbours"),
        ("nvmlDeviceGetNvLinkRemoteDeviceType(0)", json!(2), "neighbours"),
    ] {
        assert_eq!(put(call, answer), [rule], "{call}");
    }

    let with = |change: &dyn Fn(&mut Walk)| {
        let mut walks = [walk(), walk(), walk()];
        walks.iter_mut().for_each(change);
        found(&walks)
    };
    assert_eq!(with(&|walk| walk.trespasses.push("nvmlDeviceGetName".to_owned())), ["walls"]);
    assert_eq!(with(&|walk| drop(walk.gpus[1].gpu_instances.remove(&2))), ["mig"]);
    let over = |walk: &mut Walk| {
        let copy = walk.gpus[1].gpu_instances[&1].clone();
        let mut info = copy.answers["nvmlGpuInstanceGetInfo"].clone();
        info["id"] = json!(3);
        walk.gpus[1].gpu_instances.insert(
            3,
            InstanceWalk { answers: [("nvmlGpuInstanceGetInfo".to_owned(), info)].into(), ..copy },
        );
    };
    assert_eq!(with(&over), ["mig"]);
}

#[test]
fn answers_that_change_or_fall_from_walk_to_walk_are_found() {
    let mut walks = [walk(), walk(), walk()];
    walks[2].gpus[0].answers.insert("nvmlDeviceGetUUID".to_owned(), json!("GPU-9"));
    assert_eq!(found(&walks), ["steady"]);
    let mut walks = [walk(), walk(), walk()];
    let energy = "nvmlDeviceGetTotalEnergyConsumption";
    walks[0].gpus[1].answers.insert(energy.to_owned(), json!(1000));
    walks[2].gpus[1].answers.insert(energy.to_owned(), json!(1001));
    assert_eq!(found(&walks), Vec::<&str>::new());
    walks[1].gpus[1].answers.insert(energy.to_owned(), json!(999));
    assert_eq!(found(&walks), ["counters"]);
}
