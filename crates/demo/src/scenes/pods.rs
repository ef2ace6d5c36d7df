//! Pods come: near GPUs are preferred, CDI carries them into the container, and what does not fit is refused.

use anyhow::Result;
use fake_kubelet::{Allocation, PodRequest};

use crate::stage::{RESOURCE, Stage};
use crate::wording::{list, span};

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    // Preferences are answered once the topology, which is slow to ask on NVLink machines, is known.
    stage.log_line(&["topology known"])?;
    let train = admit(stage, "train", 2)?;
    show_injection(stage, &train)?;
    admit(stage, "serve", 4)?;
    stage.show_strip()?;

    let free = stage.free()?.len();
    let wanted = 4;
    stage.act(&format!("pod batch asks for {wanted} GPUs; {free} are free"))?;
    let refused = stage.node.kubelet().allocate(PodRequest::new("batch", "main", RESOURCE, wanted));
    let refusal = refused.as_ref().err().and_then(|error| error.refusal()).map(str::to_owned);
    if let Some(words) = &refusal {
        stage.screen.quote("kubelet", words)?;
    }
    let is_unchanged = stage.free()?.len() == free;
    stage.expect(
        refusal.is_some() && is_unchanged,
        "it does not fit and takes nothing; on a cluster it stays Pending",
    )
}

/// Admits a pod, shows what it got, and checks that nothing nearer was free.
fn admit(stage: &mut Stage, pod: &str, count: usize) -> Result<Allocation> {
    stage.act(&format!("pod {pod} asks for {count} GPUs"))?;
    let free = stage.free()?;
    let allocation = stage.node.kubelet().allocate(PodRequest::new(pod, "main", RESOURCE, count))?;
    let got = stage.gpus.indexes(&allocation.devices);
    let preferred = allocation.preferred_took.map_or("not asked for".to_owned(), span);
    let allocated = allocation.allocate_took.map_or("not asked for".to_owned(), span);
    stage
        .screen
        .fact("got", &format!("GPUs {} (preference in {preferred}, Allocate in {allocated})", list(&got)))?;
    let bond = stage.gpus.bond(&got);
    stage.screen.fact("why these", &bond)?;
    let is_nearest = stage.gpus.spread(&got) == stage.gpus.least_spread(&free, count);
    let is_ours = got.len() == count && got.iter().all(|gpu| free.contains(gpu));
    stage.expect(is_ours && is_nearest, &format!("no {count} free GPUs are nearer to each other"))?;
    Ok(allocation)
}

/// Shows what the container runtime makes of the plugin's answer.
fn show_injection(stage: &mut Stage, allocation: &Allocation) -> Result<()> {
    let names = &allocation.injection.cdi_devices;
    for (at, name) in names.iter().enumerate() {
        stage.screen.fact(if at == 0 { "CDI names" } else { "" }, name)?;
    }

    let view = stage.node.resolve_cdi(names)?;
    let (gpu_nodes, control): (Vec<_>, Vec<_>) =
        view.device_nodes.iter().cloned().partition(|path| is_gpu_node(path));
    let control_names = control.iter().map(|path| path.trim_start_matches("/dev/"));
    stage.screen.fact("container", &gpu_nodes.join(" "))?;
    stage.screen.fact("", &format!("and {}", list(control_names)))?;
    stage.screen.fact(
        "",
        &format!(
            "{} mounts: the driver's libraries and programs; {} hooks",
            view.mounts.len(),
            view.hooks.len()
        ),
    )?;
    stage.screen.fact("", &view.env.join(" "))?;

    let node = stage.gpus.node();
    let held = stage.gpus.indexes(&allocation.devices);
    let mut expected: Vec<String> = held
        .iter()
        .filter_map(|index| node.gpus.get(*index))
        .map(|gpu| format!("/dev/nvidia{}", gpu.minor))
        .collect();
    let mut found = gpu_nodes;
    expected.sort();
    found.sort();
    let has_control =
        ["/dev/nvidiactl", "/dev/nvidia-uvm"].iter().all(|path| control.iter().any(|node| node == path));
    let has_libraries = ["libcuda.so.1", "libnvidia-ml.so.1"]
        .iter()
        .all(|name| view.mounts.iter().any(|path| path.ends_with(name)));
    let is_void = view.env.iter().any(|entry| entry == "NVIDIA_VISIBLE_DEVICES=void");
    stage.expect(
        found == expected && has_control && has_libraries && is_void,
        "its own GPUs' device nodes and no others, with the driver's libraries",
    )
}

fn is_gpu_node(path: &str) -> bool {
    let digits = path.strip_prefix("/dev/nvidia").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
