//! Node files: what presets say, and what is said of wrong ones.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nvml_sim::{CommonAncestor, Link, Node, presets};

use crate::sim::nvml_sim;

fn preset(name: &str) -> Node {
    Node::parse(Path::new(name), presets::find(presets::NODES, name).unwrap().yaml).unwrap()
}

/// The message for a T4 node in which `line` stands for the line that begins with `key`.
fn message(key: &str, line: &str) -> String {
    let yaml = presets::find(presets::NODES, "t4").unwrap().yaml;
    let changed =
        |old: &str| if old.trim_start().starts_with(key) { line.to_owned() } else { old.to_owned() };
    let yaml: Vec<String> = yaml.lines().map(changed).collect();
    Node::parse(Path::new("mine.yaml"), &yaml.join("\n")).unwrap_err().to_string()
}

#[test]
fn presets_are_nodes_with_distinct_identities() {
    let mut uuids = BTreeSet::new();
    for preset in presets::NODES {
        let node = Node::parse(Path::new(preset.name), preset.yaml).unwrap();
        assert!(!node.gpus.is_empty(), "{}", preset.name);
        for gpu in &node.gpus {
            assert!(uuids.insert(gpu.uuid.clone()), "{}", gpu.uuid);
        }
    }
}

#[test]
fn every_preset_file_is_a_preset_of_its_name() {
    for (folder, presets) in [("nodes", presets::NODES), ("gpus", presets::GPUS)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets").join(folder);
        let mut texts = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let file = entry.file_name().into_string().unwrap();
            let name = file.strip_suffix(".yaml").unwrap();
            let preset = presets::find(presets, name).expect("a preset for each file");
            assert_eq!(fs::read_to_string(entry.path()).unwrap(), preset.yaml, "{file}");
            texts.insert(preset.name);
        }
        assert_eq!(texts.len(), presets.len(), "each preset has a file: {texts:?}");
    }
}

#[test]
fn vgpu_whose_host_has_a_long_version_is_refused_with_its_place() {
    let said = message(
        "gpus:",
        "gpus:\n  - {model: T4, pci: \"0000:09:00.0\", vgpu: {host-version: 535.129.030, host-branch: r}}",
    );
    assert!(said.contains("gpus[0].vgpu.host-version: "), "{said}");
}

#[test]
fn identities_do_not_change_between_releases() {
    // People's goldens hold these.
    assert_eq!(preset("t4").gpus[0].uuid, "GPU-3df640ae-dda3-a15f-46e4-0fadbed1687a");
    assert_eq!(preset("dgx-a100").gpus[7].uuid, "GPU-ed36647d-ee45-dea6-e337-70908b85b0fe");
}

#[test]
fn abilities_follow_from_the_architecture_unless_the_file_says_otherwise() {
    let model = |name: &str| preset(name).gpus[0].model.clone();
    let (turing, ampere, hopper) = (model("t4"), model("dgx-a100"), model("dgx-h100"));
    assert_eq!([&turing, &ampere, &hopper].map(|model| model.page_retirement), [true, false, false]);
    assert_eq!([&turing, &ampere, &hopper].map(|model| model.row_remapping), [false, true, true]);
    assert_eq!([&turing, &ampere, &hopper].map(|model| model.gpm), [false, false, true]);
    assert_eq!([&turing, &ampere, &hopper].map(|model| model.fabric), [false, false, true]);
    assert_eq!([&turing, &ampere, &hopper].map(|model| model.nvlink_mbps), [0, 25_000, 26_562]);
    assert_eq!((ampere.decoders, ampere.jpeg_decoders, ampere.power_limit_max_watts), (5, 1, 400));
    let clocks = ampere.clocks_graphics_mhz();
    assert_eq!((clocks[..2].to_vec(), clocks.last()), (vec![1410, 1395], Some(&210)));
    assert_eq!([&turing, &ampere, &hopper].map(|model| model.row_remapper_banks), [0, 1280, 2560]);

    let yaml = presets::find(presets::NODES, "t4").unwrap().yaml;
    let yaml =
        format!("{yaml}    overrides: {{gpm: true, page-retirement: false, power-limit-max-watts: 75}}\n");
    let model = Node::parse(Path::new("mine.yaml"), &yaml).unwrap().gpus[0].model.clone();
    assert_eq!((model.gpm, model.page_retirement, model.power_limit_max_watts), (true, false, 75));
}

#[test]
fn dgx_a100_spreads_twelve_links_over_six_switches() {
    let node = preset("dgx-a100");
    for gpu in &node.gpus {
        assert_eq!(gpu.links.len(), 12);
        for switch in &node.nvswitches {
            assert_eq!(gpu.links.iter().filter(|link| **link == Link::Switch(*switch)).count(), 2);
        }
    }
    assert_eq!(preset("dgx-h100").gpus[0].links.len(), 18);
}

#[test]
fn nvlinks_end_where_the_machines_do() {
    let links = |name: &str, from: usize| preset(name).gpus[from].links.clone();
    let to = |links: &[Link], gpu| links.iter().filter(|link| **link == Link::Gpu(gpu)).count();
    // `nvidia-smi topo -m` of a DGX-1V: NV1 and NV2, and nothing between GPUs that are two steps apart.
    let cube = links("dgx-v100", 0);
    assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|gpu| to(&cube, gpu)), [1, 1, 2, 2, 0, 0, 0]);
    assert_eq!(to(&links("h100-nvl", 2), 3), 12);
    assert_eq!(links("gb200-nvl72", 3), [Link::Fabric; 18]);
    assert_eq!(links("dgx-b200", 0), [Link::Fabric; 18]);
    assert_eq!(links("gh200", 0), []);
    assert_eq!(links("l4", 0), []);
}

#[test]
fn memory_is_a_numa_node_of_its_own_only_with_c2c() {
    let yaml = presets::find(presets::NODES, "gb200-nvl72").unwrap().yaml;
    for (old, new, hint) in [
        ("memory-numa: 2,", "memory-numa: 1,", "that `cpus` does not name"),
        ("memory-numa: 2,", "memory-numa: 1024,", "from 0 to 1023"),
        ("memory-numa: 2,", "memory-numa: 2, overrides: {c2c: false},", "only a GPU with `c2c: true`"),
        ("memory-numa: 10,", "memory-numa: 2,", "each GPU needs its own"),
    ] {
        let message =
            Node::parse(Path::new("mine.yaml"), &yaml.replacen(old, new, 1)).unwrap_err().to_string();
        assert!(message.contains(".memory-numa: ") && message.contains(hint), "{message}");
    }
}

#[test]
fn common_ancestor_is_symmetric_and_never_internal_for_two_gpus() {
    for node in presets::NODES.iter().map(|known| preset(known.name)) {
        for one in &node.gpus {
            for other in node.gpus.iter().filter(|other| other.index != one.index) {
                let ancestor = one.common_ancestor(other);
                assert_eq!(ancestor, other.common_ancestor(one));
                assert!(ancestor > CommonAncestor::Internal);
            }
        }
    }
}

#[test]
fn wrong_values_are_named_with_file_path_value_and_hint() {
    let cases = [
        ("- model:", "  - modell: T4", "mine.yaml:11:", "gpus[0].modell", "expected one of model, pci"),
        ("- model:", "  - model: T5", "mine.yaml: ", "gpus[0].model", "there are V100-SXM2-16GB, T4, A30"),
        ("pci:", "    pci: one", "mine.yaml:12:10", "gpus[0].pci", "such as 0000:07:00.0"),
        ("numa:", "    numa: 4", "mine.yaml: ", "gpus[0].numa", "no NUMA node 4 in `cpus`; there are 0"),
        ("numa:", "    numa: [1]", "mine.yaml:13:", "gpus[0].numa", "numa: [1]"),
        ("pcie:", "    pcie: 0/0", "mine.yaml:14:", "gpus[0].pcie", "such as 0/3/0/0"),
        ("pcie:", "    uuid: GPU-12", "mine.yaml: ", "gpus[0].uuid", "8-4-4-4-12"),
        ("pcie:", "    overrides: {memory: 12}", "mine.yaml:14:", "gpus[0].overrides.memory: ", "15360MiB"),
        (
            "pcie:",
            "    overrides: {ecc: perhaps}",
            "mine.yaml:14:",
            "gpus[0].overrides.ecc: ",
            "true (on), false (off) or unsupported",
        ),
        ("pcie:", "    pci: \"0000:00:1e.0\"", "mine.yaml:14:", "gpus[0].pci", "duplicate"),
        ("cuda:", "  cuda: thirteen", "mine.yaml: ", "driver.cuda", "such as \"13.0\""),
        (
            "numa:",
            "    numa: -1",
            "mine.yaml:13:",
            "gpus[0].numa",
            "not a whole number from 0 up (at `numa: -1`)",
        ),
        ("version:", "  version: soon", "mine.yaml: ", "driver.version", "`soon` is not a driver version"),
        ("version:", "  version: ../../1.2", "mine.yaml: ", "driver.version", "such as 580.95.05"),
        ("0:", "  0: 9-3", "mine.yaml:9:", "cpus.0", "such as 0-7,64-71"),
    ];
    for (key, line, file, path, hint) in cases {
        let message = message(key, line);
        for part in [file, path, hint] {
            assert!(message.contains(part), "`{line}` says `{message}`, without `{part}`");
        }
    }
}

#[test]
fn impossible_values_are_named_with_their_path_and_what_can_be() {
    let long = "x".repeat(200);
    let overrides = [
        ("nvlinks: 4294967295", "nvlinks", "from 0 to 18"),
        ("power-limit-watts: 4294967295", "power-limit-watts", "from 1 to 10000"),
        ("power-limit-watts: 50", "power-limit-min-watts", "at most 50"),
        ("clock-memory-mhz: 0", "clock-memory-mhz", "from 1 to 20000"),
        ("temperature-max-celsius: 201", "temperature-max-celsius", "from 0 to 200"),
        ("pcie-generation: 7", "pcie-generation", "from 1 to 6"),
        ("pci-class: 0x1000000", "pci-class", "from 0 to 16777215"),
        ("memory: 17592186044415GiB", "memory", "15360MiB or 80GiB"),
        ("memory: 16385GiB", "memory", "from 1MiB to 16384GiB"),
        ("mig-devices-max: 7", "mig-devices-max", "`mig` has no profiles"),
        ("power-limit-max-watts: 69", "power-limit-max-watts", "at least 70"),
        ("clocks-memory-mhz: [5001, 5001]", "clocks-memory-mhz", "falling numbers that begin with 5001"),
        ("clocks-memory-mhz: [405]", "clocks-memory-mhz", "falling numbers that begin with 5001"),
        ("ecc: unsupported, ecc-default: true", "ecc-default", "write false"),
        ("row-remapping: true, row-remapper-banks: 0", "row-remapper-banks", "write at least 1"),
        ("decoders: 65", "decoders", "from 0 to 64"),
        ("memory-reserved: 16GiB", "memory-reserved", "at most 15GiB"),
        ("bar1: 1B", "bar1", "from 1MiB to 16384GiB"),
        (&format!("name: {long}"), "name", "one line of 1 to 95 bytes"),
        ("name: \"two\\nlines\"", "name", "one line of 1 to 95 bytes"),
        ("vbios: \"\"", "vbios", "one line of 1 to 31 bytes"),
        (&format!("inforom: {long}"), "inforom", "one line of 1 to 15 bytes"),
    ];
    for (value, key, hint) in overrides {
        let message = message("pcie:", &format!("    overrides: {{{value}}}"));
        let path = format!("gpus[0].overrides.{key}: ");
        assert!(message.contains(&path) && message.contains(hint), "`{value}` says `{message}`");
    }
    let others = [
        ("pcie:", format!("    serial: {long}"), "gpus[0].serial: ", "1 to 29 bytes"),
        ("pcie:", "    minor: 254".to_owned(), "gpus[0].minor: ", "0 to 253"),
        ("numa:", "    numa: 4294967295".to_owned(), "gpus[0].numa: ", "0 to 1023"),
        ("machine:", format!("machine: {long}"), "machine: ", "1 to 64 bytes"),
        ("version:", format!("  version: {}1", "1.".repeat(60)), "driver.version: ", "such as 580.95.05"),
        ("nvml:", format!("  nvml: {}.1", "1".repeat(80)), "driver.nvml: ", "such as 13.580.95.05"),
        ("nvml:", "  nvml: thirteen".to_owned(), "driver.nvml: ", "such as 13.580.95.05"),
        ("0:", "  4294967295: 0-15".to_owned(), "cpus.4294967295: ", "0 to 1023"),
        (
            "machine:",
            "fabric: {cluster-uuid: nowhere}".to_owned(),
            "fabric.cluster-uuid: ",
            "write 8-4-4-4-12 hexadecimal digits",
        ),
    ];
    for (key, line, path, hint) in others {
        let message = message(key, &line);
        assert!(message.contains(path) && message.contains(hint), "`{line}` says `{message}`");
    }
}

#[test]
fn device_at_the_address_of_another_is_refused() {
    let yaml = presets::find(presets::NODES, "dgx-a100").unwrap().yaml;
    for (old, new, path) in [
        ("\"0000:c5:00.0\"", "\"c4:00.0\"", "nvswitches[1]"),
        ("\"0000:c9:00.0\"", "\"0000:bd:00.0\"", "nvswitches[5]"),
    ] {
        let message = Node::parse(Path::new("mine.yaml"), &yaml.replacen(old, new, 1)).unwrap_err();
        let message = message.to_string();
        assert!(message.contains(path) && message.contains("each needs its own"), "{message}");
    }
}

#[test]
fn wrong_value_is_named_by_its_whole_path_in_every_style_of_yaml() {
    let head = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: x\n";
    let cases = [
        ("gpus:\n  - {model: T4, pci: one}\n", "mine.yaml:4:22: gpus[0].pci: `one` is not"),
        ("gpus: [{model: T4, pci: \"0:1:0.0\"}, {model: T4, pci: one}]\n", "mine.yaml:3:54: gpus[1].pci: "),
        ("nvswitches:\n  - \"0000:c4:00.0\"\n  - \"0000:zz:00.0\"\n", "mine.yaml:5:5: nvswitches[1]: "),
        // An item may begin on a line of its own, and a value hold what looks like a key.
        (
            "gpus:\n-\n  model: T4\n  pci: 0:1:0.0\n-\n  model: T4\n  pci: one\n",
            "mine.yaml:9:8: gpus[1].pci: ",
        ),
        ("latency:\n  functions: {nvmlInit_v2: soon}\n", "mine.yaml:4:28: latency.functions.nvmlInit_v2: "),
    ];
    for (rest, beginning) in cases {
        let message = Node::parse(Path::new("mine.yaml"), &format!("{head}{rest}")).unwrap_err().to_string();
        assert!(message.starts_with(beginning), "{message}");
    }
}

#[test]
fn mig_tables_that_cannot_be_are_refused_with_place_and_hint() {
    let yaml = |mig: &str| {
        format!(
            "driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: x\ngpus:\n\
             - model: T4\n  pci: \"0000:01:00.0\"\n  overrides:\n    mig-devices-max: 4\n    mig:\n{mig}"
        )
    };
    let table = "      slices: 4\n      engines: {copy: 4}\n      gpu-instances:\n      - {profile: 0, id: 14, name: 1g.4gb, \
                 slices: 1, count: 4, sms: 10, memory: 3GiB, size: 1, starts: [0, 1, 2, 3], engines: {copy: 1}}\n\
                 \x20     compute-instances:\n      - {profile: 0, id: 0, slices: 1, sms: 10, of: [0]}\n";
    Node::parse(Path::new("mine.yaml"), &yaml(table)).unwrap();
    for (old, new, place, hint) in [
        ("slices: 4", "slices: 65", "", "from 1 to 64"),
        ("profile: 0, id: 14", "profile: 18, id: 14", "gpu-instances[0]", "from 0 to 17"),
        ("memory: 3GiB", "memory: 16GiB", "gpu-instances[0]", "the GPU has 15GiB"),
        ("size: 1", "size: 3", "gpu-instances[0]", "a divisor of the 4 slices"),
        ("[0, 1, 2, 3]", "[0, 4]", "gpu-instances[0]", "ascending multiples of 1 below 4"),
        ("[0, 1, 2, 3]", "[0, 0]", "gpu-instances[0]", "ascending"),
        ("count: 4", "count: 0", "gpu-instances[0]", "at least 1"),
        ("{copy: 1}", "{copy: 5}", "gpu-instances[0]", "more than the GPU has"),
        ("of: [0]", "of: [1]", "compute-instances[0]", "no GPU instance profile 1"),
        ("id: 0, slices: 1", "id: 0, slices: 2", "compute-instances[0]", "has 2 compute slices"),
    ] {
        assert!(table.contains(old), "{old}");
        let message = Node::parse(Path::new("mine.yaml"), &yaml(&table.replacen(old, new, 1))).unwrap_err();
        let message = message.to_string();
        assert!(message.starts_with("mine.yaml: gpus[0].overrides.mig: "), "{message}");
        assert!(message.contains(place) && message.contains(hint), "{message}");
    }
}

#[test]
fn duplicate_key_is_told_without_advice_to_programmers() {
    let yaml = "seed: x\nseed: y\n";
    let message = Node::parse(Path::new("mine.yaml"), yaml).unwrap_err().to_string();
    assert_eq!(message, "mine.yaml:2:1: seed: duplicate mapping key: seed (at `seed: y`)");
}

/// The message for a node of two GPUs of a model, of which each says something more.
fn message_of_two(model: &str, first: &str, second: &str) -> String {
    let yaml = format!(
        "driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: x\ngpus:\n\
         - {{model: {model}, {first}}}\n- {{model: {model}, {second}}}\n"
    );
    Node::parse(Path::new("mine.yaml"), &yaml).unwrap_err().to_string()
}

#[test]
fn what_two_gpus_cannot_share_is_refused_by_path() {
    let uuid = "uuid: GPU-3df640ae-dda3-a15f-46e4-0fadbed1687a";
    for (first, second, key) in [
        ("", ", pci: \"01:00.0\"", "pci"),
        (uuid, &uuid.replace("3df640ae", "3DF640AE"), "uuid"),
        ("minor: 1", "serial: x", "minor"),
        ("serial: \"1320000000000\"", "serial: \"1320000000000\"", "serial"),
    ] {
        let address = if second.contains("pci") { "" } else { ", pci: \"0000:02:00.0\"" };
        let first = format!("pci: \"0000:01:00.0\", {first}");
        let second = format!("{}{address}", second.trim_start_matches(", "));
        let message = message_of_two("T4", first.trim_end_matches(", "), &second);
        let path = format!("mine.yaml: gpus[1].{key}: ");
        assert!(message.starts_with(&path) && message.contains("each GPU needs its own"), "{message}");
    }
}

#[test]
fn nvlinks_that_cannot_be_are_refused_by_path() {
    for (model, first, second, path, hint) in [
        (
            "V100-SXM2-16GB",
            "[2]",
            "[]",
            "gpus[0].nvlink-peers",
            "`2` is not the index of another GPU; write 0 to 1",
        ),
        ("V100-SXM2-16GB", "[0]", "[]", "gpus[0].nvlink-peers", "and not 0 itself"),
        (
            "V100-SXM2-16GB",
            "[1, 1]",
            "[0]",
            "gpus[0].nvlink-peers",
            "names GPU 0 1 times; write each link at both ends",
        ),
        ("V100-SXM2-16GB", "[1, 1, 1, 1, 1, 1, 1]", "[]", "gpus[0].nvlink-peers", "the model has 6"),
        ("T4", "[1]", "[0]", "gpus[0].nvlink-peers", "the model has 0"),
    ] {
        let gpu = |bus: u8, peers: &str| format!("pci: \"0000:0{bus}:00.0\", nvlink-peers: {peers}");
        let message = message_of_two(model, &gpu(1, first), &gpu(2, second));
        assert!(message.contains(path) && message.contains(hint), "{message}");
    }
}

#[test]
fn mig_instances_that_a_gpu_cannot_have_are_refused_by_path() {
    let message = |model: &str, layout: &str| {
        let first = format!("pci: \"0000:01:00.0\", mig-instances: {layout}");
        message_of_two(model, &first, "pci: \"0000:02:00.0\"")
    };
    for (layout, index, hint) in [
        ("[9g.1gb]", 0, "no MIG profile `9g.1gb` there; it has 1g.10gb, 1g.10gb+me"),
        (
            "[3g.40gb, 4g.40gb@0, 1g.10gb]",
            2,
            "`1g.10gb` finds no room beside those before it; it begins at 0, 1, 2",
        ),
        ("[1g.10gb+me, 1g.10gb+me]", 1, "finds no room"),
        ("[3g.40gb@2]", 0, "cannot begin there; it begins at 0, 4"),
        ("[3g.40gb@four]", 0, "after the @ stands the slice"),
        ("[3g.40gb/9c]", 0, "no MIG profile `9c` there; it has 1c.3g.40gb, 2c.3g.40gb"),
        ("[3g.40gb/2c/2c]", 0, "`3g.40gb/2c/2c` finds no room"),
        ("[3g.40gb@4/2c@1]", 0, "or a compute instance of it cannot begin there"),
    ] {
        let message = message("A100-SXM4-80GB", layout);
        let path = format!("mine.yaml: gpus[0].mig-instances[{index}]: ");
        assert!(message.starts_with(&path) && message.contains(hint), "{message}");
    }
    let message = message("T4", "[]");
    assert!(message.contains("gpus[0].mig-instances: Tesla T4 cannot do MIG"), "{message}");
}

#[test]
fn sockets_that_contradict_each_other_are_refused() {
    let yaml = presets::find(presets::NODES, "dgx-a100").unwrap().yaml;
    for (old, new, path, hint) in [
        ("[4, 5, 6, 7]", "[4, 5, 6, 9]", "sockets[1][3]", "no NUMA node 9 in `cpus`"),
        ("[4, 5, 6, 7]", "[4, 5, 6, 7, 0]", "sockets[1][4]", "NUMA node 0 stands twice"),
        ("0/3/0/0", "1/3/0/0", "gpus[0].pcie", "NUMA node 3 is on socket 0"),
    ] {
        let yaml = yaml.replacen(old, new, 1).replace("# pcie", "#");
        let message = Node::parse(Path::new("mine.yaml"), &yaml).unwrap_err().to_string();
        assert!(message.contains(path) && message.contains(hint), "{message}");
    }
}

#[test]
fn links_to_peers_replace_switches() {
    let yaml = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: x\ngpus:\n\
                - {model: A100-SXM4-80GB, pci: \"0000:01:00.0\", nvlink-peers: [1, 1]}\n\
                - {model: A100-SXM4-80GB, pci: \"0000:02:00.0\", nvlink-peers: [0, 0]}\n";
    let node = Node::parse(Path::new("mine.yaml"), yaml).unwrap();
    assert_eq!(node.gpus[0].links, [Link::Gpu(1), Link::Gpu(1)]);
    let message =
        Node::parse(Path::new("mine.yaml"), &yaml.replace("[0, 0]", "[0, 5]")).unwrap_err().to_string();
    assert!(message.contains("gpus[1].nvlink-peers") && message.contains('5'), "{message}");
    assert!(message.contains("write 0 to 1, and not 1 itself"), "{message}");
    for one_sided in [yaml.replace("[0, 0]", "[0]"), yaml.replace(", nvlink-peers: [0, 0]", "")] {
        let message = Node::parse(Path::new("mine.yaml"), &one_sided).unwrap_err().to_string();
        assert!(message.contains("gpus[0].nvlink-peers: 2 links to GPU 1"), "{message}");
    }
}

#[test]
fn node_file_in_the_documentation_is_a_node() {
    let text = include_str!("../../../../docs/simulator.md");
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole: Vec<_> = blocks.filter(|block| block.starts_with("driver:")).collect();
    assert_eq!(whole.len(), 1);
    let node = Node::parse(Path::new("simulator.md"), whole[0]).unwrap();
    assert_eq!(node.gpus[1].model.name, "NVIDIA A100-SXM4-40GB");
}

/// The message for a node of eight GPUs with one fault.
fn fault_message(fault: &str) -> String {
    let yaml = presets::find(presets::NODES, "dgx-a100").unwrap().yaml;
    let yaml = format!("{yaml}faults:\n  - {{{fault}}}\n");
    Node::parse(Path::new("mine.yaml"), &yaml).unwrap_err().to_string()
}

#[test]
fn wrong_faults_are_told_by_path_value_and_hint() {
    for (fault, place, hint) in [
        ("hang: nvmlDeviceGetNmae", "faults[0].hang", "did you mean `nvmlDeviceGetName`"),
        ("hang: nvmlInit_v2, crash: nvmlInit_v2", "faults[0]", "2 effects; write one of"),
        ("gpu: 3", "faults[0]", "0 effects; write one of"),
        ("return: nvmlInit_v2", "faults[0].code", "a name such as GPU_IS_LOST"),
        ("return: nvmlInit_v2, code: GPU_IS_LATE", "faults[0].code", "`GPU_IS_LATE` is no NVML error"),
        ("crash: nvmlInit_v2, code: 3", "faults[0].code", "`3` is returned by `return` only"),
        ("return: nvmlErrorString, code: 3", "faults[0].return", "`nvmlErrorString` returns no code"),
        ("hang: nvmlDeviceGetName, gpu: 8", "faults[0].gpu", "no GPU `8`"),
        ("hang: nvmlInit_v2, gpu: 0", "faults[0].gpu", "leave the GPU out"),
        ("hang: nvmlInit_v2, times: 0", "faults[0].times", "write a number from 1"),
        ("hang: nvmlInit_v2, times: -1", "faults[0].times", "not a whole number from 0 up"),
        ("hang: nvmlInit_v2, at: soon", "faults[0].at", "`soon` is no moment"),
        ("hang: nvmlInit_v2, probability: 1.5", "faults[0].probability", "`1.5` is no probability"),
        ("hang: nvmlInit_v2, seed: 7", "faults[0].seed", "add `probability`"),
        ("xid: 79", "faults[0].gpu", "which GPU?"),
        ("xid: 79, after: 3", "faults[0].gpu", "which GPU?"),
        ("xid: 79, gpu: 8", "faults[0].gpu", "no GPU `8`"),
        ("xid: 79, hang: nvmlDeviceGetName", "faults[0]", "2 effects"),
        ("xid: 79, gpu: 3, code: 3, after: 1", "faults[0].code", "`3` is returned by `return` only"),
        ("xid: 79, gpu: 3, code: 3", "faults[0].code", "`3` is returned by `return` only"),
        ("xid: 79, gpu: 3, seed: 3", "faults[0].seed", "add `probability`"),
        ("xid: 79, gpu: 3, ci: 3", "faults[0].gi", "add `gi`"),
        ("lose: lost, gpu: 3, gi: 3", "faults[0].gi", "leave `gi` and `ci` out"),
        ("count: ecc.dram, gpu: 3", "faults[0].count", "`ecc.dram` is no counter; write ecc.corrected.PLACE"),
        ("count: ecc.corrected.sram-parity, gpu: 3", "faults[0].count", "is no counter"),
        ("count: pages.correctable, gpu: 3", "faults[0].count", "remaps rows (rows.uncorrectable)"),
        ("count: nvlink.12.replay, gpu: 3", "faults[0].count", "has 12 NVLinks, counted from 0"),
        ("count: pcie.replays, gpu: 3, settled: true", "faults[0].count", "waits for no reset"),
        ("count: pcie.replays, gpu: 3, by: 0", "faults[0].by", "write a number from 1"),
        ("count: pcie.replays, gpu: 3, gi: 1", "faults[0].gi", "are counted by MIG instance; leave `gi` out"),
        ("count: pcie.replays, gpu: 3, xid: 48", "faults[0]", "2 effects"),
        ("xid: 48, gpu: 3, by: 2", "faults[0].by", "say how `count` counts"),
        ("memory-error: contained", "faults[0].gpu", "which GPU?"),
        ("memory-error: contained, gpu: 3, gi: 1, ci: 0", "faults[0].gi", "leave `gi` and `ci` out"),
        (
            "crash: nvmlInit_v2, uninterruptible: true",
            "faults[0].uninterruptible",
            "only a `hang` can be beyond the reach of signals",
        ),
        ("nvlink-down: [12], gpu: 3", "faults[0].nvlink-down", "12 links of this"),
        ("recover: return, gpu: 3, no-recovery-action: true", "faults[0].no-recovery-action", "leave it out"),
        ("set: {temperature: 900}, gpu: 3", "faults[0].set", "`900` is no value for temperature"),
        ("set: {colour: red}, gpu: 3", "faults[0].set", "known keys are temperature"),
        ("reload: newest", "faults[0].reload", "write same, or one such as 580.105.08"),
        ("reload: same, gpu: 3", "faults[0].gpu", "leave `gpu` out"),
        ("drain: true", "faults[0].gpu", "which GPU?"),
        ("drain: true, gpu: 3", "faults[0].drain", "`{set: {persistence-mode: off}, gpu: 3}`"),
        ("remove: true, gpu: 3", "faults[0].remove", "`{drain: true, gpu: 3}`"),
        ("drain: true, gpu: 3, keep-device: true", "faults[0].keep-device", "only `remove` can leave"),
        ("discover: true, gpu: 3, after: 1", "faults[0].gpu", "no call reaches a GPU that was removed"),
        ("garbage: nvmlErrorString", "faults[0].garbage", "returns no code"),
        ("lose: gone, gpu: 3", "faults[0].lose", "unknown variant `gone`"),
        ("hang: nvmlInit_v2, colour: red", "faults[0].colour", "unknown field"),
    ] {
        let message = fault_message(fault);
        assert!(message.contains(&format!("{place}: ")) && message.contains(hint), "{fault}: {message}");
    }
}

#[test]
fn wrong_latencies_are_told_by_path_value_and_hint() {
    for (latency, place, hint) in [
        ("default: soon", "latency.default", "uniform(1ms, 5ms)"),
        ("default: \"uniform(5ms, 1ms)\"", "latency.default", "`uniform(5ms, 1ms)` is no time span"),
        ("default: \"lognormal(0, 1ms)\"", "latency.default", "with median and 99th percentile"),
        ("default: \"recorded()\"", "latency.default", "recorded(1ms, 1ms, 7ms)"),
        ("functions: {nvmlInit_v3: 1ms}", "latency.functions.nvmlInit_v3", "did you mean `nvmlInit_v2`"),
        ("gpus: {1: {default: 1ms}}", "latency.gpus.1", "there is one, index 0"),
        (
            "gpus: {0: {functions: {nvmlInit_v2: 1ms}}}",
            "latency.gpus.0.functions.nvmlInit_v2",
            "leave the GPU out",
        ),
        ("gpus: {0: {}, \"0000:00:1e.0\": {}}", "latency.gpus.0000:00:1e.0", "stands twice"),
        ("seed: x", "latency.seed", "not a whole number"),
    ] {
        let yaml = presets::find(presets::NODES, "t4").unwrap().yaml;
        let yaml = format!("{yaml}latency: {{{latency}}}\n");
        let message = Node::parse(Path::new("mine.yaml"), &yaml).unwrap_err().to_string();
        assert!(message.contains(&format!("{place}: ")) && message.contains(hint), "{latency}: {message}");
    }
}

#[test]
fn hang_beyond_signals_is_refused_to_all_but_root_when_the_node_is_made() {
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = dir.path().join("node.yaml");
    let yaml = presets::find(presets::NODES, "t4").unwrap().yaml;
    let line = "faults: [{xid: 48, gpu: 0, at: 9m}, {hang: nvmlDeviceGetName, uninterruptible: true}]";
    fs::write(&file, format!("{yaml}{line}\n")).unwrap();
    assert!(Node::parse(&file, &fs::read_to_string(&file).unwrap()).is_ok(), "its clients are not root");
    let node = dir.path().join("node");
    let mut command = nvml_sim(&node);
    command.arg("init").arg("--file").arg(&file);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // As root it runs only where nobody may reach the program.
    let Ok(output) = command.output() else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("faults[1].uninterruptible: only root can freeze"), "{said}");
    assert_eq!((output.status.code(), node.exists()), (Some(2), false));
}
