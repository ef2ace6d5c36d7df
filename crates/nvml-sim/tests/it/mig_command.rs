//! `nvml-sim mig` and `reset`: what they do, say and refuse.

use std::path::Path;

use serde_json::{Value, json};

use crate::sim::{node, nvml_sim, said};

fn mig(dir: &Path, words: &str) -> String {
    said(&nvml_sim(dir).args(words.split(' ')).output().unwrap())
}

fn refused(dir: &Path, words: &str) -> String {
    let output = nvml_sim(dir).args(words.split(' ')).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}");
    String::from_utf8(output.stderr).unwrap()
}

fn listed(dir: &Path) -> Value {
    serde_json::from_str(&mig(dir, "mig list --gpu 0 --output json")).unwrap()
}

#[test]
fn instances_are_made_listed_and_ended() {
    let (_dir, folder) = node("dgx-a100");
    let dir = folder.dir();
    let pending = mig(dir, "mig mode --gpu 0 on");
    assert!(pending.contains("pending (RESET_REQUIRED (16)); `nvml-sim reset --gpu 0`"), "{pending}");
    assert!(mig(dir, "mig list").contains("off, on pending"));
    assert!(mig(dir, "show").contains("  off  MIG on pending"));
    mig(dir, "reset --gpu 0");
    let made = mig(dir, "mig create --gpu 0 3g.40gb 1g.10gb+me@0");
    assert_eq!(made, "GPU 0: GPU instance 2 of 3g.40gb\nGPU 0: GPU instance 7 of 1g.10gb+me\n");
    assert_eq!(mig(dir, "mig create --gpu 0 --no-compute 14"), "GPU 0: GPU instance 4 of 2g.20gb\n");
    let made = mig(dir, "mig create --gpu 0 --gi 4 1c@1");
    assert_eq!(made, "GPU 0: compute instance 0 of 1c.2g.20gb in GPU instance 4\n");
    let list = listed(dir);
    assert_eq!(list[0]["current"], json!(true));
    let shape = |list: &Value| -> Vec<Value> {
        let instances = list[0]["gpuInstances"].as_array().unwrap();
        let of =
            |it: &Value| json!([it["id"], it["profile"], it["start"], it["computeInstances"][0]["profile"]]);
        instances.iter().map(of).collect()
    };
    let expected = [
        json!([2, "3g.40gb", 4, "3g.40gb"]),
        json!([4, "2g.20gb", 2, "1c.2g.20gb"]),
        json!([7, "1g.10gb+me", 0, "1g.10gb+me"]),
    ];
    assert_eq!(shape(&list), expected);
    let table = mig(dir, "mig list --gpu 0");
    assert!(table.contains("on   4   2:2    0   2       1c.2g.20gb"), "{table}");
    let profiles = mig(dir, "mig profiles --gpu 0");
    assert!(profiles.contains("1g.10gb+me  20  0/1"), "{profiles}");
    assert!(mig(dir, "show").contains("  on   3 GPU instances"));
    assert_eq!(mig(dir, "mig destroy --gpu 0 --gi 4 --ci 0"), "ended 1\n");
    assert_eq!(mig(dir, "mig destroy --gpu 0"), "ended 5\n");
    assert_eq!(shape(&listed(dir)), Vec::<Value>::new());
}

#[test]
fn h100_takes_the_compute_profile_with_all_multiprocessors() {
    let (_dir, folder) = node("dgx-h100");
    assert_eq!(mig(folder.dir(), "mig mode --gpu 0 on"), "GPU 0: MIG is on\n");
    mig(folder.dir(), "mig create --gpu 0 1g.20gb");
    let list = listed(folder.dir());
    assert_eq!(list[0]["gpuInstances"][0]["computeInstances"][0]["profileId"], 7);
    let table = mig(folder.dir(), "mig profiles --gpu 0");
    assert!(table.contains("{0,2,4,6}:2        1g.20gb (0), 1g.20gb (7)"), "{table}");
    let json: Value = serde_json::from_str(&mig(folder.dir(), "mig profiles --gpu 0 --output json")).unwrap();
    assert_eq!((&json[2]["remaining"], &json[2]["computeInstances"][1]["sms"]), (&json!(3), &json!(26)));
}

#[test]
fn driver_loaded_anew_has_no_instances_and_only_an_a100_keeps_its_mode() {
    for (preset, kept) in [("dgx-a100", true), ("dgx-h100", false)] {
        let (_dir, folder) = node(preset);
        let dir = folder.dir();
        mig(dir, "mig mode --gpu 0 on");
        mig(dir, "reset --gpu 0");
        mig(dir, "mig create --gpu 0 3g.40gb");
        mig(dir, "reload");
        let list = listed(dir);
        assert_eq!(list[0]["current"], json!(kept), "{preset}");
        assert!(list[0]["gpuInstances"].as_array().is_none_or(Vec::is_empty), "{list}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_reason_and_changes_nothing() {
    let (_dir, folder) = node("dgx-h100");
    let dir = folder.dir();
    let off = refused(dir, "mig create --gpu 0 1g.10gb");
    assert!(
        off.contains("GPU 0 refuses it with NOT_SUPPORTED (3): it cannot do MIG, or MIG is off"),
        "{off}"
    );
    mig(dir, "mig mode --gpu 0 on");
    let before = folder.state().unwrap();
    for (words, part) in [
        ("mig create --gpu 0 1g.5gb", "no MIG profile `1g.5gb` there; it has 1g.10gb, 1g.10gb+me"),
        ("mig create --gpu 0 3g.40gb@x", "such as 3g.40gb@4"),
        ("mig create --gpu 0 3g.40gb@2", "no such profile or place there"),
        ("mig create --gpu 0 3g.40gb 3g.40gb 1g.10gb", "INSUFFICIENT_RESOURCES (23)"),
        ("mig create --gpu 0 --gi 3 1c", "NOT_FOUND (6)"),
        ("mig destroy --gpu 0 --gi 3", "there is no such instance"),
        ("mig mode --gpu 9 on", "there are indexes 0 to 7"),
        ("mig create --gpu 0 --gi 3 --no-compute 1c", "cannot be used with"),
    ] {
        let said = refused(dir, words);
        assert!(said.contains(part), "{words}: {said}");
    }
    assert_eq!(folder.state().unwrap(), before);
    let (_dir, folder) = node("t4");
    assert!(refused(folder.dir(), "mig mode --gpu 0 on").contains("cannot do MIG"));
    assert!(refused(folder.dir(), "mig create --gpu 0 1g").contains("it has none"));
    mig(folder.dir(), "reset --gpu 0");
    assert!(mig(folder.dir(), "mig list --gpu 0").contains("unable"));
}
