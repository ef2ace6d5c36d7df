//! Rules as properties: texts that come back, faults that strike as often as said, events that are seen once.

use std::time::Duration;

use nvml_sim::{Bytes, Delay, EventKind, EventLog, EventRecord, Latency, PciAddress, RegisteredEvents};
use nvml_sim::{Clock, Effect, Fault, Occurrence, strike};
use proptest::prelude::*;

fn event(gpu: u8, data: u64) -> EventRecord {
    EventRecord {
        sequence: 0,
        gpu: gpu.to_string(),
        kind: EventKind::Xid,
        data,
        time_us: 0,
        gpu_instance: None,
        compute_instance: None,
    }
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
    fn any_text_parses_or_is_refused_without_panic(text: String) {
        let _ = (text.parse::<Bytes>(), text.parse::<Delay>(), text.parse::<PciAddress>());
    }

    #[test]
    fn fault_strikes_exactly_as_often_as_said(after in 0_u32..5, times in 1_u32..5, calls in 0_u32..20) {
        let fault = Fault {
            function: "nvmlDeviceGet*".to_owned(),
            gpu: None,
            effect: Effect::Hang,
            after,
            occurrence: Occurrence::Times(times),
        };
        let mut faults = vec![fault];
        let struck = (0..calls).filter(|_| strike(&mut faults, "nvmlDeviceGetName", None).is_some()).count() as u32;
        prop_assert_eq!(struck, calls.saturating_sub(after).min(times));
        prop_assert_eq!(faults.is_empty(), calls >= after + times);
        prop_assert_eq!(strike(&mut faults, "nvmlShutdown", None), None);
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
        }
    }
}

#[test]
fn longest_name_that_fits_gives_the_latency() {
    let yaml_like = |text: &str| text.parse::<Delay>().unwrap();
    let latency = Latency {
        default: yaml_like("1ms"),
        functions: [("nvmlDevice*", "2ms"), ("nvmlDeviceGetNvLink*", "3ms"), ("nvmlDeviceGetName", "4ms")]
            .map(|(function, delay)| (function.to_owned(), yaml_like(delay)))
            .into(),
    };
    for (function, ms) in [
        ("nvmlInit_v2", 1),
        ("nvmlDeviceGetUUID", 2),
        ("nvmlDeviceGetNvLinkState", 3),
        ("nvmlDeviceGetName", 4),
    ] {
        assert_eq!(latency.of(function), Duration::from_millis(ms), "{function}");
    }
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
