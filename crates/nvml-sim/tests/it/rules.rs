//! Rules as properties: texts that come back, faults that strike as often as said, events that are seen once.

use std::time::Duration;

use nvml_sim::{Befall, Counted, Counter, Damage, Incident, Loss, Node, Report, State, presets};
use nvml_sim::{
    Bytes, Delay, Distribution, EventKind, EventLog, EventRecord, GpuLatency, Latency, PciAddress,
    RegisteredEvents,
};
use nvml_sim::{CallSite, Chance, Clock, Effect, Fault, Moment, Occurrence, Probability, strike};
use proptest::prelude::*;

fn event(gpu: u8, data: u64) -> EventRecord {
    EventRecord {
        sequence: 0,
        gpu: gpu.to_string(),
        kind: EventKind::Xid,
        data,
        before: None,
        time_us: 0,
        gpu_instance: None,
        compute_instance: None,
    }
}

fn call(function: &str) -> CallSite<'_> {
    CallSite { function, gpu: None, now_us: 0 }
}

proptest! {
    #[test]
    fn bytes_printed_parse_back(bytes: u64) {
        prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
    }

    #[test]
    fn pci_address_printed_parses_back(domain: u32, bus: u8, device in 0_u8..32, function in 0_u8..8) {
        let pci = PciAddress { domain, bus, device, function };
        for text in [pci.to_string(), pci.nvml_id()] {
            prop_assert_eq!(text.parse(), Ok(pci));
        }
    }

    #[test]
    fn delay_printed_parses_back(us in 0_u64..86_400_000_000) {
        let delay = Delay(Duration::from_micros(us));
        prop_assert_eq!(delay.to_string().parse(), Ok(delay));
    }

    #[test]
    fn distribution_printed_parses_back(a in 1_u64..1_000_000, b in 1_u64..1_000_000, kind in 0_usize..5) {
        let delay = |us| Delay(Duration::from_micros(us));
        let (low, high) = (delay(a.min(b)), delay(a.max(b)));
        let distribution = match kind {
            0 => Distribution::Fixed(low),
            1 => Distribution::Uniform(low, high),
            2 => Distribution::Normal(high, low),
            3 => Distribution::Lognormal(low, high),
            _ => Distribution::Recorded(vec![low, high, low]),
        };
        prop_assert_eq!(distribution.to_string().parse(), Ok(distribution));
    }

    #[test]
    fn draws_follow_from_the_seed_and_come_to_the_mean(seed: u64, kind in 0_usize..5) {
        let text = ["3ms", "uniform(1ms, 5ms)", "normal(5ms, 1ms)", "lognormal(5ms, 20ms)", "recorded(1ms, 1ms, 7ms)"];
        let distribution: Distribution = text[kind].parse().unwrap();
        let draws: Vec<Duration> = (0..4000).map(|number| distribution.draw(seed, number)).collect();
        prop_assert!(draws.iter().enumerate().all(|(number, drawn)| distribution.draw(seed, number as u64) == *drawn));
        let mean = draws.iter().sum::<Duration>() / 4000;
        let off = mean.abs_diff(distribution.mean());
        // Seven standard deviations of the mean of 4000 draws of the widest, the lognormal one.
        prop_assert!(off < Duration::from_micros(480), "{off:?} off {:?}", distribution.mean());
        let share = |most: &str| {
            let most = most.parse::<Delay>().unwrap().0;
            draws.iter().filter(|drawn| **drawn <= most).count() as f64 / 4000.0
        };
        let near = |share: f64, right: f64| (share - right).abs() < 0.06;
        match kind {
            0 => prop_assert_eq!(draws.iter().max(), draws.iter().min()),
            1 => prop_assert!(near(share("2ms"), 0.25) && near(share("4ms"), 0.75) && share("5ms") == 1.0),
            2 => prop_assert!(near(share("4ms"), 0.159) && near(share("6ms"), 0.841)),
            3 => prop_assert!(near(share("5ms"), 0.5) && near(share("20ms"), 0.99) && share("20ms") < 1.0),
            _ => prop_assert!(near(share("1ms"), 2.0 / 3.0) && near(share("6ms"), 2.0 / 3.0)),
        }
    }

    #[test]
    fn any_text_parses_or_is_refused_without_panic(text: String) {
        let _ = (text.parse::<Bytes>(), text.parse::<Delay>(), text.parse::<PciAddress>());
        let _ = (text.parse::<Moment>(), text.parse::<Probability>(), text.parse::<Distribution>());
    }

    #[test]
    fn fault_strikes_exactly_as_often_as_said(after in 0_u32..5, times in 1_u32..5, calls in 0_u32..20) {
        let occurrence = Occurrence::Times(times);
        let fault = Fault { after, occurrence, ..Fault::new("nvmlDeviceGet*", Effect::Hang) };
        let mut faults = vec![fault];
        let struck = (0..calls).filter(|_| strike(&mut faults, call("nvmlDeviceGetName")).is_some()).count() as u32;
        prop_assert_eq!(struck, calls.saturating_sub(after).min(times));
        prop_assert_eq!(faults.is_empty(), calls >= after + times);
        prop_assert_eq!(strike(&mut faults, call("nvmlShutdown")), None);
    }

    #[test]
    fn moment_printed_parses_back(us in 0_u64..4_000_000_000_000_000) {
        let moment = Moment::At(us);
        prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        prop_assert!(moment.is_reached(us) && !moment.is_reached(us.wrapping_sub(1)) || us == 0);
    }

    #[test]
    fn probability_printed_parses_back(millionths in 1_u32..=1_000_000) {
        let text = (f64::from(millionths) / 1e6).to_string();
        let probability: Probability = text.parse().unwrap();
        prop_assert_eq!(probability.to_string().parse(), Ok(probability));
        prop_assert_eq!(probability.to_string(), text);
    }

    #[test]
    fn improbable_fault_strikes_the_same_calls_wherever_they_are_counted(
        seed: u64, percent in 1_u32..100, after in 0_u32..3, kept in 1_usize..40,
    ) {
        let chance = Chance::new(format!("{percent}%").parse().unwrap(), seed);
        let fault = Fault { after, chance: Some(chance), ..Fault::new("nvml*", Effect::Hang) };
        let one = |faults: &mut Vec<Fault>| strike(faults, call("nvmlInit_v2")).is_some();
        let mut faults = vec![fault.clone()];
        let alone: Vec<bool> = (0..40).map(|_| one(&mut faults)).collect();
        // Another process goes on from what was kept.
        let mut faults = vec![fault];
        let mut shared: Vec<bool> = (0..kept).map(|_| one(&mut faults)).collect();
        let mut faults: Vec<Fault> = serde_json::from_str(&serde_json::to_string(&faults).unwrap()).unwrap();
        shared.extend((kept..40).map(|_| one(&mut faults)));
        prop_assert_eq!(&alone, &shared);
        prop_assert!(alone.iter().take(after as usize).all(|struck| !struck));
    }

    #[test]
    fn chance_strikes_about_as_often_as_said(seed: u64, percent in 1_u32..=100) {
        let mut chance = Chance::new(format!("{percent}%").parse().unwrap(), seed);
        let struck = (0..4000).filter(|_| chance.draw()).count() as i32;
        // Seven standard deviations of 4000 draws are below 222.
        prop_assert!((struck - percent as i32 * 40).abs() <= 222, "{struck} of 4000 at {percent} %");
        prop_assert!(percent < 100 || struck == 4000);
    }

    #[test]
    fn incidents_come_in_the_order_of_their_times_however_often_one_looks(
        incidents in prop::collection::vec((0_u8..4, prop::option::of(1_u64..100), 0_u64..1000), 0..12),
        looks in prop::collection::btree_set(0_u64..1000, 0..6),
    ) {
        let preset = presets::find(presets::NODES, "dgx-a100").unwrap();
        let node = Node::parse("dgx-a100".as_ref(), preset.yaml).unwrap();
        let uuid = |gpu: u8| node.gpus[usize::from(gpu)].uuid.clone();
        let mut often = State::initial(&node, 0);
        for (gpu, xid, at) in &incidents {
            let what = match xid {
                Some(xid) => Befall::Xid(Report { xid: *xid, ..Report::default() }),
                None => Befall::Lose { how: Loss::OffBus, report: Some(Report { xid: 79, ..Report::default() }) },
            };
            often.incidents.push(Incident { gpu: Some(uuid(*gpu)), what, at: Moment::At(*at) });
        }
        let mut once = often.clone();
        for now in looks {
            often.catch_up(&node, now);
            prop_assert!(often.incidents.iter().all(|incident| !incident.at.is_reached(now)));
        }
        often.catch_up(&node, 1000);
        once.catch_up(&node, 1000);
        prop_assert_eq!(&often, &once);
        let xids = often.events.records.iter().filter(|event| event.kind == EventKind::Xid);
        prop_assert_eq!(xids.count(), incidents.len());
        prop_assert!(often.events.records.is_sorted_by_key(|event| event.time_us));
        for (gpu, xid, _) in incidents {
            prop_assert!(xid.is_some() || often.lost.how(&uuid(gpu)) == Some(Loss::OffBus));
        }
    }

    #[test]
    fn counters_only_rise_but_for_a_reset_which_leaves_what_lasts(
        counts in prop::collection::vec((0_usize..8, 1_u32..40, prop::option::of(0_u32..3), any::<bool>()), 0..20),
    ) {
        let names = ["ecc.corrected.dram", "ecc.uncorrected.sram-parity.l2", "ecc.uncorrected.sram", "rows.correctable",
            "rows.failed", "pages.uncorrectable", "pcie.replays", "nvlink.3.crc-flit"];
        let mut damage = Damage::default();
        for (name, by, gpu_instance, settled) in counts {
            let counter: Counter = names[name].parse().unwrap();
            prop_assert_eq!(counter.to_string(), names[name]);
            let before = damage.clone();
            damage.count(Counted { counter, by, gpu_instance, settled }, 7, 1 << 30);
            for (counter, count) in &before.lasting {
                prop_assert!(damage.lasting[counter] >= *count);
            }
            prop_assert!(damage.pending.iter().all(|(counter, count)| damage.lasting[counter] >= *count));
            prop_assert_eq!(&damage.volatile, &damage.lasting);
        }
        let mut addresses: Vec<u64> = damage.pages.iter().map(|page| page.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        prop_assert_eq!(addresses.len(), damage.pages.len());
        prop_assert!(addresses.len() <= 64);
        let mut reset = damage.clone();
        reset.reset();
        prop_assert_eq!(reset, Damage { lasting: damage.lasting, pages: damage.pages, ..Damage::default() });
    }

    #[test]
    fn fault_of_a_later_time_strikes_from_then_on(at in 1_u64..1000, now in 0_u64..2000) {
        let mut fault = Fault { at: Some(Moment::In(Delay(Duration::from_micros(at)))), ..Fault::new("nvml*", Effect::Hang) };
        prop_assert_eq!(strike(&mut vec![fault.clone()], call("nvmlInit_v2")), None, "its time has not begun");
        fault.begin(500);
        let struck = strike(&mut vec![fault], CallSite { now_us: now, ..call("nvmlInit_v2") });
        prop_assert_eq!(struck.is_some(), now >= 500 + at);
    }

    #[test]
    fn each_event_of_a_registered_gpu_is_seen_once_and_in_order(
        before in prop::collection::vec((0_u8..4, 1_u64..100), 0..20),
        after in prop::collection::vec((0_u8..4, 1_u64..100), 0..20),
        registered in prop::collection::btree_set(0_u8..4, 0..4),
    ) {
        let mut log = EventLog::default();
        for (gpu, data) in &before {
            log.push(event(*gpu, *data));
        }
        let mut set = RegisteredEvents::default();
        for gpu in &registered {
            set.register(&gpu.to_string(), EventKind::Xid.bit(), log.last);
        }
        for (gpu, data) in &after {
            log.push(event(*gpu, *data));
        }
        let seen: Vec<String> = std::iter::from_fn(|| set.take(&log)).map(|event| event.gpu).collect();
        let expected: Vec<String> =
            after.iter().filter(|(gpu, _)| registered.contains(gpu)).map(|(gpu, _)| gpu.to_string()).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn clock_advanced_is_later_by_as_much(start in 0_u64..1_000_000, by in 0_u64..1_000_000, real in 0_u64..1_000_000) {
        let real = Duration::from_micros(real);
        for clock in [Clock::Real, Clock::Ahead(start), Clock::Frozen(start)] {
            let later = clock.advance(Duration::from_micros(by));
            prop_assert_eq!(later.at(real), clock.at(real) + by);
            for clock in [clock, later] {
                let running = clock.resume_at(real);
                prop_assert!(!matches!(running, Clock::Frozen(_)));
                prop_assert!(running.at(real) >= clock.at(real), "{clock:?} went back as {running:?}");
            }
        }
    }
}

#[test]
fn kind_registered_later_is_seen_from_then_on() {
    const ECC: u64 = 1;
    let (mut log, mut set) = (EventLog::default(), RegisteredEvents::default());
    set.register("0", ECC, log.last);
    log.push(event(0, 48));
    set.register("0", EventKind::Xid.bit(), log.last);
    assert_eq!(set.take(&log), None);
    log.push(event(0, 79));
    // Registered once more, it keeps what it has not read.
    set.register("0", EventKind::Xid.bit() | ECC, log.last);
    assert_eq!(set.take(&log).map(|event| event.data), Some(79));
    assert_eq!(set.take(&log), None);
}

#[test]
fn longest_name_that_fits_gives_the_latency() {
    let yaml_like = |text: &str| text.parse::<Distribution>().unwrap();
    let latency = Latency {
        default: yaml_like("1ms"),
        functions: [
            ("nvmlDevice*", "2ms"),
            ("nvmlDeviceGetNvLink*", "3ms"),
            ("nvmlDeviceGetName", "4ms"),
            // A whole name is nearer than the same as a beginning.
            ("nvmlDeviceGetName*", "5ms"),
            ("nvmlShutdown", "6ms"),
        ]
        .map(|(function, delay)| (function.to_owned(), yaml_like(delay)))
        .into(),
        gpus: [(
            "slow".to_owned(),
            GpuLatency {
                default: None,
                functions: [("nvmlDeviceGetN*".to_owned(), yaml_like("7ms"))].into(),
            },
        )]
        .into(),
        seed: 0,
    };
    for (function, ms) in [
        ("nvmlInit_v2", 1),
        ("nvmlDeviceGetUUID", 2),
        ("nvmlDeviceGetNvLinkState", 3),
        ("nvmlDeviceGetName", 4),
        ("nvmlShutdown", 6),
    ] {
        assert_eq!(
            latency.of(function, None),
            &Distribution::Fixed(Delay(Duration::from_millis(ms))),
            "{function}"
        );
    }
    // What is said of a GPU comes before a nearer name of all.
    assert_eq!(latency.of("nvmlDeviceGetName", Some("slow")), &yaml_like("7ms"));
    assert_eq!(latency.of("nvmlDeviceGetUUID", Some("slow")), &yaml_like("2ms"));
    assert_eq!(latency.of("nvmlDeviceGetName", Some("other")), &yaml_like("4ms"));
}

#[test]
fn fault_that_lets_calls_pass_hides_none_behind_it() {
    let fault = |function, code, after| Fault { after, ..Fault::new(function, Effect::Return(code)) };
    let mut faults = vec![fault("nvmlDevice*", 1, 2), fault("nvmlDeviceGetName", 2, 0)];
    let code = |faults: &mut Vec<Fault>, function| strike(faults, call(function)).map(|fault| fault.effect);
    assert_eq!(code(&mut faults, "nvmlDeviceGetName"), Some(Effect::Return(2)));
    assert_eq!(code(&mut faults, "nvmlDeviceGetUUID"), None);
    // What strikes is the fault as it is now: counted down, and so lasting.
    assert_eq!(strike(&mut faults, call("nvmlDeviceGetName")), Some(fault("nvmlDevice*", 1, 0)));
}

#[test]
fn event_log_keeps_the_newest() {
    let mut log = EventLog::default();
    for data in 1..=1000 {
        log.push(event(0, data));
    }
    assert_eq!(log.last, 1000);
    assert_eq!(log.records.last().map(|event| event.data), Some(1000));
    assert!(log.records.len() < 1000);
}
