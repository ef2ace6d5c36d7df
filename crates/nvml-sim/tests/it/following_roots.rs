//! Host roots that follow their node: which files come and go with MIG instances, and what happens where they cannot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nvml_sim::{Gpu, MigState, StateFolder, root};

use crate::host_root::{lay, may_make_devices, tree};
use crate::sim::node;

/// MIG on, on GPU 1.
fn switch_on(folder: &StateFolder) {
    folder.change_mig("1", |mig, gpu| mig.set_mode(gpu, true)?).unwrap();
}

/// Makes a GPU instance with a compute instance that takes it all.
fn make(folder: &StateFolder, profile: u32, compute: u32) -> u32 {
    let steps = |mig: &mut MigState, gpu: &Gpu| {
        let instance = mig.create(gpu, profile, None)?;
        mig.create_compute(gpu, instance, compute, None)?;
        Ok(instance)
    };
    folder.change_mig("1", steps).unwrap()
}

fn end(folder: &StateFolder, instance: u32) {
    let steps = |mig: &mut MigState, gpu: &Gpu| {
        mig.destroy_compute(gpu, instance, 0)?;
        mig.destroy(gpu, instance)
    };
    folder.change_mig("1", steps).unwrap();
}

/// The capabilities that have a device node.
fn nodes(host: &Path) -> BTreeSet<u32> {
    let entries = fs::read_dir(host.join("dev/nvidia-caps")).unwrap();
    let number = |name: String| name.strip_prefix("nvidia-cap").unwrap().parse().unwrap();
    entries.map(|entry| number(entry.unwrap().file_name().into_string().unwrap())).collect()
}

/// Device number and inode of a capability's node; zeros where this process may make none.
fn device(host: &Path, capability: u32) -> (u64, u64) {
    let node = fs::metadata(host.join(format!("dev/nvidia-caps/nvidia-cap{capability}"))).unwrap();
    let is_real = may_make_devices(host.parent().unwrap());
    assert_eq!(node.file_type().is_char_device(), is_real, "{capability}");
    if is_real { (node.rdev(), node.ino()) } else { (0, 0) }
}

#[test]
fn capabilities_come_and_go_with_instances_and_keep_their_numbers() {
    let (dir, folder) = node("dgx-h100");
    let (host, other) = (dir.path().join("host"), dir.path().join("other"));
    lay(&folder, &host).unwrap();
    lay(&folder, &other).unwrap();
    let before = tree(&host);
    switch_on(&folder);
    assert_eq!((make(&folder, 9, 2), make(&folder, 19, 0)), (2, 7));
    // By the numbers of mig-minors: 3 + (1 * 15 + 2) * 9, and so on.
    assert_eq!(nodes(&host), BTreeSet::from([1, 2, 156, 157, 201, 202]));
    assert_eq!(nodes(&other), nodes(&host), "each root follows");
    let access = |name: &str| host.join("proc/driver/nvidia/capabilities/gpu1/mig").join(name).join("access");
    assert!(fs::read_to_string(access("gi7/ci0")).unwrap().starts_with("DeviceFileMinor: 202\n"));
    let stays = [device(&host, 201), device(&host, 202)];
    end(&folder, 2);
    assert_eq!(nodes(&host), BTreeSet::from([1, 2, 201, 202]));
    assert!(!access("gi2").exists() && !access("gi2").parent().unwrap().exists());
    assert_eq!(make(&folder, 19, 0), 8);
    let new = [device(&host, 210), device(&host, 211)];
    assert_eq!([device(&host, 201), device(&host, 202)], stays, "untouched");
    let numbers: BTreeSet<u64> = stays.iter().chain(&new).map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), if may_make_devices(dir.path()) { 4 } else { 1 }, "each has its own");
    lay(&folder, &host).unwrap();
    assert_eq!([device(&host, 201).0, device(&host, 210).0], [stays[0].0, new[0].0], "nor by laying again");
    folder.reset("1").unwrap();
    assert_eq!(tree(&host), before, "nothing is left");
}

#[test]
fn root_that_could_not_follow_does_so_when_someone_looks_again() {
    let (dir, folder) = node("dgx-h100");
    let (host, away) = (dir.path().join("host"), dir.path().join("away"));
    lay(&folder, &host).unwrap();
    switch_on(&folder);
    fs::rename(&host, &away).unwrap();
    make(&folder, 9, 2);
    assert_eq!(nodes(&away).len(), 2);
    fs::rename(&away, &host).unwrap();
    // Seen from a container, a part of it may be there.
    fs::rename(host.join(".nvml-sim-root"), dir.path().join("record")).unwrap();
    make(&folder, 19, 0);
    assert_eq!(nodes(&host).len(), 2, "not the whole root");
    fs::rename(dir.path().join("record"), host.join(".nvml-sim-root")).unwrap();
    // As after a writer that was killed before it came to the root.
    let mark = folder.dir().join("roots.behind");
    assert!(mark.exists());
    let looker = StateFolder::open(folder.dir()).unwrap();
    // While another test of this process changes its own node, a look leaves it to the next.
    look_until_in_step(&looker);
    assert!(!mark.exists());
    assert_eq!(nodes(&host), BTreeSet::from([1, 2, 156, 157, 201, 202]));
}

#[test]
fn root_that_nobody_could_bring_in_step_at_one_look_follows_at_a_later_one() {
    let (dir, folder) = node("dgx-h100");
    let host = dir.path().join("host");
    lay(&folder, &host).unwrap();
    fs::write(folder.dir().join("roots.behind"), b"").unwrap();
    fs::remove_file(host.join("proc/driver/nvidia/version")).unwrap();
    let looker = StateFolder::open(folder.dir()).unwrap();
    // Whoever changes a node of this process: the lock is taken at the first look.
    let own = fs::File::open("/proc/self").unwrap();
    rustix::fs::flock(&own, rustix::fs::FlockOperation::LockExclusive).unwrap();
    looker.state().unwrap();
    assert!(folder.dir().join("roots.behind").exists());
    rustix::fs::flock(&own, rustix::fs::FlockOperation::Unlock).unwrap();
    look_until_in_step(&looker);
    assert!(host.join("proc/driver/nvidia/version").exists());
}

/// Looks at a node until its roots are in step, or so often that they will never be.
pub fn look_until_in_step(looker: &StateFolder) {
    let is_in_step = || {
        looker.state().unwrap();
        std::thread::yield_now();
        !looker.dir().join("roots.behind").exists()
    };
    assert!((0..1_000_000).any(|_| is_in_step()), "the roots are still behind");
}

#[test]
fn files_of_a_removed_gpu_go_and_come_back() {
    let (dir, folder) = node("dgx-h100");
    let host = dir.path().join("host");
    lay(&folder, &host).unwrap();
    let before = tree(&host);
    let address = folder.node().unwrap().gpus[1].pci.to_string();
    let remove = |keep_device| {
        folder.set("1", "persistence-mode", "off").unwrap();
        folder.drain("1", true).unwrap();
        folder.remove_gpu("1", keep_device).unwrap();
        tree(&host)
    };
    let gone = remove(false);
    assert!(!gone.iter().any(|path| path.to_string_lossy().contains(&address)), "{gone:?}");
    assert!(host.join("dev/nvidia1").exists(), "no driver removes device nodes");
    folder.discover_gpus(None).unwrap();
    assert_eq!(tree(&host), before);
    // The operating system keeps the device, without a driver.
    remove(true);
    let device = host.join("sys/bus/pci/devices").join(&address);
    assert!(device.join("config").exists() && !device.join("driver").exists());
    assert!(!host.join("proc/driver/nvidia/gpus").join(&address).exists());
    folder.reload(None).unwrap();
    assert_eq!(tree(&host), before, "a driver that is loaded takes what is there");
}

#[test]
fn root_of_another_node_is_let_alone() {
    let (dir, former) = node("dgx-h100");
    let (_other, latter) = node("dgx-h100");
    let host = dir.path().join("host");
    lay(&former, &host).unwrap();
    lay(&latter, &host).unwrap();
    let before = tree(&host);
    switch_on(&former);
    make(&former, 9, 2);
    assert_eq!(tree(&host), before);
    assert_eq!(fs::read_to_string(former.dir().join("roots")).unwrap(), "", "forgotten");
    assert!(!former.dir().join("roots.behind").exists());
}

#[test]
fn state_folder_in_its_root_finds_it_wherever_both_are() {
    let dir = tempfile::tempdir().unwrap();
    let (host, moved) = (dir.path().join("host"), dir.path().join("moved"));
    let state = "var/lib/nvml-sim";
    let preset = nvml_sim::presets::find(nvml_sim::presets::NODES, "dgx-h100").unwrap();
    let folder = StateFolder::create(&host.join(state), "node.yaml".as_ref(), preset.yaml).unwrap();
    lay(&folder, &host).unwrap();
    fs::rename(&host, &moved).unwrap();
    let folder = StateFolder::open(&moved.join(state)).unwrap();
    switch_on(&folder);
    make(&folder, 9, 2);
    assert_eq!(nodes(&moved), BTreeSet::from([1, 2, 156, 157]));
    folder.reload(Some("580.105.08")).unwrap();
    let version = fs::read_to_string(moved.join("proc/driver/nvidia/version")).unwrap();
    assert!(version.contains("  580.105.08  "), "{version}");
    assert_eq!(nodes(&moved), BTreeSet::from([1, 2]));
    assert!(moved.join(root::LIBRARY_DIR).join("libcuda.so.580.95.05").exists(), "libraries do not follow");
}
