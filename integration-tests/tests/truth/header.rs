//! `header-check`: NVML's own header, read by a C compiler, against what our library takes for layouts, constants and
//! prototypes, and against the symbols that it exports.
//!
//! The header comes from NVIDIA's go-nvml module, or from the path in `NVML_HEADER`; it is never kept here.

mod c;
mod rust;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use c::Assertion;
use integration_tests::fetch::{finish, module_of, workspace};
use rust::Interface;

/// Names another header than that of go-nvml.
const HEADER: &str = "NVML_HEADER";

/// Where the bindings (of header 13.0) rightly differ from a newer header: why, and which facts. One that is no longer
/// found has to go.
const GROWN: &[(&str, &[&str])] = &[
    (
        "a count has grown with what it counts; the library has its own",
        &[
            "NVML_BRAND_COUNT is 18",
            "NVML_COMPUTE_INSTANCE_PROFILE_COUNT is 8",
            "NVML_FI_MAX is 274",
            "NVML_GPM_METRIC_MAX is 210",
            "NVML_GPU_INSTANCE_PROFILE_COUNT is 17",
            "NVML_NVLINK_MAX_LINKS is 18",
            "NVML_POWER_PROFILE_MAX is 15",
            "NVML_POWER_SMOOTHING_NUM_PROFILE_PARAMS is 4",
            "NVML_TEMPERATURE_COUNT is 1",
        ],
    ),
    (
        "its last member is an array of NVML_GPM_METRIC_MAX",
        &["place of nvmlGpmMetricsGet_t.metrics", "size of nvmlGpmMetricsGet_t"],
    ),
    (
        "fields 251 to 273 have other numbers since driver 580.82; the library goes by the node's driver",
        &[
            "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN is 253",
            "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN is 252",
            "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN is 251",
            "NVML_FI_DEV_POWER_SYNC_BALANCING_AF is 255",
            "NVML_FI_DEV_POWER_SYNC_BALANCING_FREQ is 254",
            "NVML_FI_PWR_SMOOTHING_ACTIVE_PRESET_PROFILE is 269",
            "NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_PERCENT_TMP_FLOOR is 270",
            "NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_DOWN_HYST_VAL is 273",
            "NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_DOWN_RATE is 272",
            "NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_UP_RATE is 271",
            "NVML_FI_PWR_SMOOTHING_APPLIED_TMP_CEIL is 259",
            "NVML_FI_PWR_SMOOTHING_APPLIED_TMP_FLOOR is 260",
            "NVML_FI_PWR_SMOOTHING_ENABLED is 256",
            "NVML_FI_PWR_SMOOTHING_HW_CIRCUITRY_PERCENT_LIFETIME_REMAINING is 263",
            "NVML_FI_PWR_SMOOTHING_IMM_RAMP_DOWN_ENABLED is 258",
            "NVML_FI_PWR_SMOOTHING_MAX_NUM_PRESET_PROFILES is 264",
            "NVML_FI_PWR_SMOOTHING_MAX_PERCENT_TMP_FLOOR_SETTING is 261",
            "NVML_FI_PWR_SMOOTHING_MIN_PERCENT_TMP_FLOOR_SETTING is 262",
            "NVML_FI_PWR_SMOOTHING_PRIV_LVL is 257",
            "NVML_FI_PWR_SMOOTHING_PROFILE_PERCENT_TMP_FLOOR is 265",
            "NVML_FI_PWR_SMOOTHING_PROFILE_RAMP_DOWN_HYST_VAL is 268",
            "NVML_FI_PWR_SMOOTHING_PROFILE_RAMP_DOWN_RATE is 267",
            "NVML_FI_PWR_SMOOTHING_PROFILE_RAMP_UP_RATE is 266",
        ],
    ),
];

/// A symbol of the library that is no function of NVML.
const MARKER: &str = "nvmlSimulatedByGantry";

#[test]
fn layouts_constants_and_prototypes_are_those_of_the_header() {
    let header = header();
    let text = fs::read_to_string(&header).unwrap();
    let (bindings, own) = (rust::bindings(), rust::own());
    assert!(bindings.records.len() > 130 && own.functions.len() > 100, "too little was found to compare");
    let words = words(&text);
    let assertions: Vec<Assertion> = c::of_bindings(&bindings, &words)
        .into_iter()
        .chain(c::of_own(&own, &bindings, &words))
        .chain(c::of_codes(nvml_sim::Code::ALL))
        .collect();
    println!("{}: {} facts compared", header.display(), assertions.len());

    let wrong = c::failing(&header, &bindings, &own, &assertions);
    let allowed: BTreeSet<&str> = GROWN.iter().flat_map(|(_, labels)| labels.iter().copied()).collect();
    let unexpected: Vec<_> = wrong.iter().filter(|label| !allowed.contains(label.as_str())).collect();
    assert!(unexpected.is_empty(), "not as in {}: {unexpected:#?}", header.display());
    let settled: Vec<_> = allowed.iter().filter(|label| !wrong.contains(**label)).collect();
    assert!(settled.is_empty(), "no longer different, so not to be listed: {settled:#?}");
}

#[test]
fn library_exports_what_the_header_declares() {
    let header = header();
    let declared = declared(&header);
    let exported = exported();
    let mut ours = exported.clone();
    assert!(ours.remove(MARKER), "the library does not say what it is: no symbol {MARKER}");
    let missing: Vec<_> = declared.difference(&ours).collect();
    assert!(missing.is_empty(), "declared by {}, not exported: {missing:#?}", header.display());
    let unknown: Vec<_> = ours.difference(&declared).collect();
    assert!(unknown.is_empty(), "exported, not declared by {}: {unknown:#?}", header.display());
}

fn header() -> PathBuf {
    match std::env::var_os(HEADER) {
        Some(path) => PathBuf::from(path),
        None => module_of("go-walk", "github.com/NVIDIA/go-nvml").join("pkg/nvml/nvml.h"),
    }
}

/// All identifiers in a text.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The functions that a header declares, older versions included.
fn declared(header: &Path) -> BTreeSet<String> {
    let told = finish(Command::new("gcc").args(["-E", "-P", "-DNVML_NO_UNVERSIONED_FUNC_DEFS"]).arg(header));
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let before_bracket = text.split('(').map(|before| before.trim_end());
    let names = before_bracket.filter_map(|before| {
        let name = before.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next();
        name.filter(|name| name.strip_prefix("nvml").is_some_and(|rest| rest.starts_with(char::is_uppercase)))
    });
    names.map(str::to_owned).collect()
}

fn exported() -> BTreeSet<String> {
    let library = sim_node::find("libnvml_sim_abi.so").unwrap();
    let told = finish(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

/// The folder of the simulated library's sources.
fn sources() -> PathBuf {
    workspace().join("crates/nvml-sim-abi/src")
}

/// A fact compiled without its header, as a test of the comparison itself.
#[test]
fn comparison_tells_a_layout_and_a_prototype_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let header = folder.path().join("nvml.h");
    let text = "typedef int nvmlReturn_t;\ntypedef struct { unsigned int b; unsigned long long a; } nvmlThing_t;\n\
                #define NVML_THING 7\nnvmlReturn_t nvmlThingGet(nvmlThing_t *thing);\n";
    fs::write(&header, text).unwrap();
    let own = Interface::parse(
        "#[repr(C)] struct nvmlThing_t { a: u32, b: u64 } const NVML_THING: u32 = 8; type nvmlReturn_t = i32;",
        "fn nvmlThingGet(thing: *mut nvmlThing_t, length: u32) => |call| ();",
    );
    let words = words(text);
    let assertions: Vec<Assertion> =
        c::of_bindings(&own, &words).into_iter().chain(c::of_own(&own, &own, &words)).collect();
    let mut wrong: Vec<String> =
        c::failing(&header, &own, &Interface::default(), &assertions).into_iter().collect();
    wrong.sort();
    println!("{wrong:#?}");
    for part in ["nvmlThing_t.a", "nvmlThing_t.b", "NVML_THING", "nvmlThingGet"] {
        assert!(wrong.iter().any(|label| label.contains(part)), "{part} is missing from {wrong:#?}");
    }
}
