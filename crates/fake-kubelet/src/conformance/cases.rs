//! The cases. Each has a resource of its own and stands alone.

use std::{collections::BTreeSet, fs};

use kubelet_api::deviceplugin::{
    HEALTHY, KUBELET_SOCKET_NAME, MAX_MESSAGE_TO_KUBELET, UNHEALTHY,
    v1beta1::{DevicePluginOptions, RegisterRequest},
};

use super::{
    Case,
    plugin::{Call, PreferredQuestion, ScriptedPlugin, device, healthy},
    stage::Stage,
};

type Done = Result<(), String>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$(Case { name: stringify!($name), run: $name }),*] };
}

pub(super) const ALL: &[Case] = cases![
    register_serving_plugin_is_dialled_back_before_the_answer,
    register_failing_options_is_refused,
    register_wrong_version_is_refused_undialled,
    register_bad_resource_name_is_refused_undialled,
    register_unknown_fields_are_skipped,
    register_live_socket_again_is_refused,
    register_options_in_the_request_are_not_used,
    list_next_message_replaces_the_one_before,
    list_any_health_but_healthy_is_not_allocatable,
    list_above_the_message_limit_ends_the_stream,
    stream_end_keeps_capacity_and_takes_allocatable,
    plugin_death_keeps_capacity_and_takes_allocatable,
    newer_plugin_outlives_the_older_one,
    restart_wipes_sockets_and_keeps_files,
    restart_keeps_what_pods_hold,
    allocate_takes_the_count_from_healthy_free_devices,
    allocate_after_an_init_container_reuses_its_devices,
    allocate_error_rejects_the_pod,
    allocate_without_container_rejects_the_pod,
    pre_start_wanted_is_called_with_the_devices,
    preferred_choice_is_honoured,
    preferred_bad_answers_are_tolerated,
    preferred_error_rejects_the_pod,
    pod_resources_show_what_pods_hold,
    pod_resources_allocatable_is_what_is_healthy,
];

const PREFERENCES: DevicePluginOptions =
    DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true };

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn alike<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Done {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?}, wanted {wanted:?}")) }
}

fn refused(what: &str, plugin: &ScriptedPlugin, request: RegisterRequest) -> Done {
    match plugin.register(request) {
        Ok(()) => Err(format!("{what} was not refused")),
        Err(status) if status.code() == tonic::Code::Unknown => Ok(()),
        Err(status) => Err(format!("{what} was refused in another way: {status}")),
    }
}

fn register_serving_plugin_is_dialled_back_before_the_answer(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a", "b"]))?;
    plugin.register(plugin.request()).map_err(|status| status.to_string())?;
    alike("first call when Register was answered", &plugin.calls().first(), &Some(&Call::Options))?;
    stage.until_amounts(2, 2)?;
    alike("all calls", &plugin.calls(), &vec![Call::Options, Call::List])
}

fn register_failing_options_is_refused(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a"]))?;
    plugin.script().options = Err(());
    refused("a plugin without options", &plugin, plugin.request())?;
    alike("calls", &plugin.calls(), &vec![Call::Options])?;
    // It may come again on the same socket.
    plugin.script().options = Ok(DevicePluginOptions::default());
    plugin.register(plugin.request()).map_err(|status| status.to_string())?;
    stage.until_amounts(1, 1)
}

fn register_wrong_version_is_refused_undialled(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a"]))?;
    for version in ["v1beta2", "v1alpha", "V1BETA1", ""] {
        let version = version.to_owned();
        refused(&format!("version {version:?}"), &plugin, RegisterRequest { version, ..plugin.request() })?;
    }
    alike("calls", &plugin.calls(), &vec![])
}

fn register_bad_resource_name_is_refused_undialled(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a"]))?;
    let long = format!("gantry.dev/{}", "n".repeat(64));
    for name in [
        "",
        "gpu",
        "/gpu",
        "gantry.dev/",
        "kubernetes.io/gpu",
        "gpu.kubernetes.io/gpu",
        "requests.gantry.dev/gpu",
        "Gantry.dev/gpu",
        "gantry.dev/gpu/0",
        "gantry.dev/-gpu",
        "gantry..dev/gpu",
        "gantry.dev/g pu",
        long.as_str(),
    ] {
        let resource_name = name.to_owned();
        refused(&format!("name {name:?}"), &plugin, RegisterRequest { resource_name, ..plugin.request() })?;
    }
    alike("calls", &plugin.calls(), &vec![])
}

fn register_unknown_fields_are_skipped(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a"]))?;
    plugin.register_as_later_release().map_err(|status| status.to_string())?;
    stage.until_amounts(1, 1)
}

fn register_live_socket_again_is_refused(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a"]))?;
    refused("a second registration on a live socket", &plugin, plugin.request())?;
    // What it had is not taken from it.
    plugin.list(healthy(&["a", "b"]));
    stage.until_amounts(2, 2)?;
    // But the refusal made the kubelet forget whose end to wait for: the socket stays taken after it. Whatever comes
    // on another socket comes after the stream's end.
    plugin.end_streams();
    let newer = stage.plugin(healthy(&["a", "b", "c"]))?;
    newer.register(newer.request()).map_err(|status| status.to_string())?;
    stage.until_amounts(3, 3)?;
    refused("a socket whose end was not noticed", &plugin, plugin.request())
}

fn register_options_in_the_request_are_not_used(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a", "b"]))?;
    let request = RegisterRequest { options: Some(PREFERENCES), ..plugin.request() };
    plugin.register(request).map_err(|status| status.to_string())?;
    stage.until_amounts(2, 2)?;
    stage.taken(1)?;
    let asked = plugin.calls().iter().any(|call| matches!(call, Call::Preferred(_)));
    alike("asked for preferences", &asked, &false)
}

fn list_next_message_replaces_the_one_before(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b", "c"]))?;
    plugin.list(healthy(&["c", "d"]));
    stage.until_amounts(2, 2)?;
    stage.taken(2)?;
    alike("devices of a pod", &plugin.last_allocate()?, &vec![set(&["c", "d"])])?;
    plugin.list(Vec::new());
    stage.until_amounts(0, 0)?;
    plugin.list(healthy(&["e"]));
    stage.until_amounts(1, 1)
}

fn list_any_health_but_healthy_is_not_allocatable(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b", "c", "d"]))?;
    plugin.list(vec![
        device("a", HEALTHY, None),
        device("b", UNHEALTHY, None),
        device("c", "healthy", None),
        device("d", "", None),
    ]);
    stage.until_amounts(4, 1)?;
    stage.taken(1)?;
    alike("devices of a pod", &plugin.last_allocate()?, &vec![set(&["a"])])?;
    plugin.list(healthy(&["a", "b", "c", "d"]));
    stage.until_amounts(4, 4)
}

fn list_above_the_message_limit_ends_the_stream(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b"]))?;
    let long = "x".repeat(MAX_MESSAGE_TO_KUBELET);
    plugin.list(healthy(&["a", "b", long.as_str()]));
    stage.until_amounts(2, 0)?;
    // As after any other end, the same socket may come again.
    plugin.list(healthy(&["a"]));
    plugin.register(plugin.request()).map_err(|status| format!("Register after a long list: {status}"))?;
    stage.until_amounts(1, 1)
}

fn stream_end_keeps_capacity_and_takes_allocatable(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b"]))?;
    plugin.end_streams();
    stage.until_amounts(2, 0)?;
    plugin.register(plugin.request()).map_err(|status| format!("Register after a stream's end: {status}"))?;
    stage.until_amounts(2, 2)
}

fn plugin_death_keeps_capacity_and_takes_allocatable(stage: &mut Stage<'_>) -> Done {
    let mut plugin = stage.registered(healthy(&["a", "b"]))?;
    plugin.die();
    stage.until_amounts(2, 0)?;
    stage.registered(healthy(&["a", "b"]))?;
    Ok(())
}

fn newer_plugin_outlives_the_older_one(stage: &mut Stage<'_>) -> Done {
    let mut older = stage.registered(healthy(&["a", "b"]))?;
    let newer = stage.plugin(healthy(&["a", "b", "c"]))?;
    newer.register(newer.request()).map_err(|status| status.to_string())?;
    stage.until_amounts(3, 3)?;
    stage.taken(1)?;
    newer.last_allocate()?;
    older.die();
    // A list after the older one's end: were the end still to come, it would take this too.
    newer.list(healthy(&["a", "b", "c", "d"]));
    stage.until_amounts(4, 4)?;
    stage.taken(1)?;
    stage.until_amounts(4, 4)
}

fn restart_wipes_sockets_and_keeps_files(stage: &mut Stage<'_>) -> Done {
    let dir = stage.kubelet.plugin_dir();
    let plugin = stage.registered(healthy(&["a"]))?;
    let (file, folder) = (dir.join("conformance-file"), dir.join("conformance-folder"));
    fs::write(&file, "stays")
        .and_then(|()| fs::create_dir_all(&folder))
        .map_err(|error| error.to_string())?;
    let restarted = stage.kubelet.restart();
    let seen =
        (plugin.socket().exists(), file.exists(), folder.exists(), dir.join(KUBELET_SOCKET_NAME).exists());
    let tidied = fs::remove_file(&file).and_then(|()| fs::remove_dir(&folder));
    restarted?;
    alike("socket, file, folder, kubelet.sock are there", &seen, &(false, true, true, true))?;
    tidied.map_err(|error| error.to_string())?;
    stage.until_amounts(0, 0)?;
    stage.registered(healthy(&["a"]))?;
    Ok(())
}

fn restart_keeps_what_pods_hold(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b"]))?;
    stage.taken(1)?;
    let first = plugin.last_allocate()?;
    stage.kubelet.restart()?;
    // By the third one the amounts cannot be those of before the restart, and no pod gets it.
    let devices = [healthy(&["a", "b"]), vec![device("c", UNHEALTHY, None)]].concat();
    let plugin = stage.registered(devices)?;
    stage.taken(1)?;
    let second = plugin.last_allocate()?;
    let both: BTreeSet<String> = first.into_iter().chain(second).flatten().collect();
    alike("devices of the pods before and after", &both, &set(&["a", "b"]))
}

fn allocate_takes_the_count_from_healthy_free_devices(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b", "c", "d"]))?;
    let mut held = BTreeSet::new();
    let mut pods = Vec::new();
    for _ in 0..2 {
        pods.push(stage.taken(2)?);
        let requests = plugin.last_allocate()?;
        alike("devices per container request", &requests.iter().map(BTreeSet::len).collect(), &vec![2])?;
        held.extend(requests.into_iter().flatten());
    }
    alike("devices of both pods", &held, &set(&["a", "b", "c", "d"]))?;
    let freed = pods.pop().unwrap_or_default();
    let of_freed = plugin.last_allocate()?;
    stage.release(&freed)?;
    stage.taken(2)?;
    alike("devices after a release", &plugin.last_allocate()?, &of_freed)
}

fn allocate_after_an_init_container_reuses_its_devices(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b", "c", "d"]))?;
    stage.taken_after_init(3, 2)?;
    let asked: Vec<BTreeSet<String>> = plugin
        .calls()
        .into_iter()
        .filter_map(|call| if let Call::Allocate(requests) = call { Some(requests) } else { None })
        .flatten()
        .collect();
    let reused = matches!(asked.as_slice(), [init, main] if (init.len(), main.len()) == (3, 2) && main.is_subset(init));
    alike(&format!("two of three devices reused: {asked:?}"), &reused, &true)?;
    // Nothing else is free but the one that neither had.
    stage.taken(1)?;
    let other = plugin.last_allocate()?.into_iter().flatten().next();
    alike(
        "the fourth is free",
        &other.is_some_and(|other| !asked.iter().any(|ids| ids.contains(&other))),
        &true,
    )
}

fn allocate_error_rejects_the_pod(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a"]))?;
    plugin.script().allocate = Err(());
    stage.rejected(1)?;
    // The device was not lost with it.
    plugin.script().allocate = Ok(1);
    stage.taken(1)?;
    Ok(())
}

fn allocate_without_container_rejects_the_pod(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a"]))?;
    plugin.script().allocate = Ok(0);
    stage.rejected(1)
}

fn pre_start_wanted_is_called_with_the_devices(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.plugin(healthy(&["a"]))?;
    plugin.script().options =
        Ok(DevicePluginOptions { pre_start_required: true, get_preferred_allocation_available: false });
    plugin.register(plugin.request()).map_err(|status| status.to_string())?;
    stage.until_amounts(1, 1)?;
    stage.taken(1)?;
    let calls = plugin.calls();
    alike("called", &calls.contains(&Call::PreStart(set(&["a"]))), &true)
        .map_err(|e| format!("{e}; {calls:?}"))
}

fn with_preferences(stage: &mut Stage<'_>, ids: &[&str]) -> Result<ScriptedPlugin, String> {
    let plugin = stage.plugin(healthy(ids))?;
    plugin.script().options = Ok(PREFERENCES);
    plugin.register(plugin.request()).map_err(|status| status.to_string())?;
    stage.until_amounts(ids.len(), ids.len())?;
    Ok(plugin)
}

fn preferred_choice_is_honoured(stage: &mut Stage<'_>) -> Done {
    let plugin = with_preferences(stage, &["a", "b", "c", "d"])?;
    plugin.script().preferred = Ok(Some(vec!["b".to_owned(), "d".to_owned()]));
    stage.taken(2)?;
    alike("devices", &plugin.last_allocate()?, &vec![set(&["b", "d"])])?;
    let question =
        PreferredQuestion { available: set(&["a", "b", "c", "d"]), must_include: BTreeSet::new(), size: 2 };
    let asked = plugin.calls().into_iter().find(|call| matches!(call, Call::Preferred(_)));
    alike("question", &asked, &Some(Call::Preferred(vec![question])))
}

fn preferred_bad_answers_are_tolerated(stage: &mut Stage<'_>) -> Done {
    let plugin = with_preferences(stage, &["a", "b", "c", "d"])?;
    let ids = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    for (answer, wanted) in [
        (None, set(&[])),
        (ids(&[]), set(&[])),
        (ids(&["c"]), set(&["c"])),
        (ids(&["foreign", "b"]), set(&["b"])),
        (ids(&["foreign", "other"]), set(&[])),
        (ids(&["d", "d", "d"]), set(&["d"])),
        (ids(&["a", "b", "c", "d"]), set(&[])),
    ] {
        plugin.script().preferred = Ok(answer.clone());
        let pod = stage.taken(2)?;
        let got = plugin.last_allocate()?.into_iter().flatten().collect::<BTreeSet<_>>();
        let fine = got.len() == 2 && got.is_superset(&wanted) && got.is_subset(&set(&["a", "b", "c", "d"]));
        alike(&format!("{got:?} is a fair outcome of {answer:?}"), &fine, &true)?;
        stage.release(&pod)?;
    }
    Ok(())
}

fn preferred_error_rejects_the_pod(stage: &mut Stage<'_>) -> Done {
    let plugin = with_preferences(stage, &["a", "b"])?;
    plugin.script().preferred = Err(());
    stage.rejected(1)
}

fn pod_resources_show_what_pods_hold(stage: &mut Stage<'_>) -> Done {
    let list = vec![device("a", HEALTHY, Some(0)), device("b", HEALTHY, Some(1)), device("c", HEALTHY, None)];
    let _plugin = stage.registered(list)?;
    let pod = stage.taken(3)?;
    let mut seen: Vec<(Vec<String>, Option<i64>)> = stage
        .held()?
        .into_iter()
        .map(|devices| {
            let node = devices.topology.and_then(|topology| topology.nodes.first().map(|node| node.id));
            (devices.device_ids, node)
        })
        .collect();
    seen.sort();
    let one = |id: &str, node| (vec![id.to_owned()], node);
    alike("entries", &seen, &vec![one("a", Some(0)), one("b", Some(1)), one("c", None)])?;
    stage.release(&pod)?;
    stage.until("no entry after the pod's end", |stage| {
        let held = stage.held()?;
        if held.is_empty() { Ok(()) } else { Err(format!("{held:?}")) }
    })
}

fn pod_resources_allocatable_is_what_is_healthy(stage: &mut Stage<'_>) -> Done {
    let plugin = stage.registered(healthy(&["a", "b", "c"]))?;
    stage.taken(1)?;
    plugin.list(vec![device("a", HEALTHY, None), device("b", HEALTHY, None), device("c", UNHEALTHY, None)]);
    stage.until_amounts(3, 2)?;
    alike("allocatable ids, one of them held", &stage.allocatable()?, &set(&["a", "b"]))
}
