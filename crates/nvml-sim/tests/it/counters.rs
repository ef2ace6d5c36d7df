//! Loads and counters as properties: sums are exact, counters only rise, readings stay in their ranges.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nvml_sim::{
    Clock, ClockKind, Delay, Direction, GpuView, Load, LoadTime, Node, Point, Quantity, Reason, Recording,
    Snapshot, State, presets,
};
use proptest::prelude::*;

/// 2026-01-01 in microseconds since 1970.
const START_US: u64 = 1_767_225_600_000_000;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn us(us: u64) -> Delay {
    Delay(Duration::from_micros(us))
}

/// A node with one GPU of each kind, and its state; what happens to them is settled as a state folder does it.
struct Machine {
    node: Arc<Node>,
    state: State,
}

impl Machine {
    fn new(preset: &str, load: Load) -> Machine {
        let mut node =
            Node::parse(Path::new("test.yaml"), presets::find(presets::NODES, preset).unwrap().yaml).unwrap();
        node.gpus[0].load = load;
        let mut state = State::initial(&node, START_US);
        state.clock = Clock::Frozen(START_US);
        Machine { node: Arc::new(node), state }
    }

    fn change(&mut self, change: impl FnOnce(&mut State, &str)) {
        let before = self.state.clone();
        change(&mut self.state, &self.node.gpus[0].uuid);
        if self.state.moves_counters(&before) {
            self.state.settle_counters(&before, &self.node.gpus);
        }
    }

    fn look<T>(&self, look: impl FnOnce(GpuView<'_>) -> T) -> T {
        let snapshot = Snapshot { node: Arc::clone(&self.node), state: Arc::new(self.state.clone()) };
        look(snapshot.view(&snapshot.node.gpus[0]).unwrap())
    }

    fn counted(&self) -> Vec<u64> {
        self.look(|gpu| {
            let totals = gpu.totals().0;
            Quantity::ALL.iter().map(|quantity| totals.get(*quantity)).collect()
        })
    }
}

#[test]
fn load_that_is_edited_in_the_node_file_counts_once_it_is_given_back() {
    let mut machine = Machine::new("t4", Load::Training);
    let twin = Machine::new("t4", Load::Training);
    Arc::get_mut(&mut machine.node).unwrap().gpus[0].load = Load::Idle;
    assert_eq!(machine.counted(), twin.counted(), "whoever initialises NVML after the edit sees the same");
    let before = machine.counted();
    let gpu = machine.node.gpus[0].clone();
    machine.change(|state, _| state.set(&gpu, &[("load".to_owned(), String::new())].into()).unwrap());
    assert_eq!(machine.counted(), before, "nothing jumps");
    machine.change(|state, _| state.clock = state.clock.advance(YEAR));
    assert!(
        machine.look(|gpu| gpu.power_average_milliwatts()) < twin.look(|gpu| gpu.power_average_milliwatts())
    );
    assert_eq!(machine.look(|gpu| gpu.utilization()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Load(Load),
    Power(Option<u32>),
    Busy(Option<u32>),
    Heat(Option<u32>),
    Limit(u32),
    Lock(u32, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u64..200_000_000).prop_map(Step::Advance),
        prop_oneof![
            Just(Load::Idle),
            Just(Load::Training),
            Just(Load::Inference),
            recording().prop_map(Load::Recorded)
        ]
        .prop_map(Step::Load),
        proptest::option::of(0_u32..1000).prop_map(Step::Power),
        proptest::option::of(0_u32..=100).prop_map(Step::Busy),
        proptest::option::of(0_u32..120).prop_map(Step::Heat),
        (100_000_u32..400_000).prop_map(Step::Limit),
        (0_u32..3000, 0_u32..3000).prop_map(|(low, high)| Step::Lock(low, high)),
    ]
}

fn recording() -> impl Strategy<Value = Recording> {
    let gaps = proptest::collection::vec((1_u64..40, 0_u32..=100, 0_u32..=100), 1..6);
    (gaps, proptest::option::of(1_u64..40)).prop_map(|(gaps, more)| {
        let mut at = 0;
        let mut points = Vec::new();
        for (gap, gpu, memory) in gaps {
            points.push(Point { at: us(at), gpu, memory, encoder: gpu, ..Point::default() });
            at += gap;
        }
        let last = points.last().unwrap().at;
        Recording::new(points, more.map(|more| Delay(last.0 + us(more).0))).unwrap()
    })
}

fn take(machine: &mut Machine, step: Step) {
    machine.change(|state, gpu| {
        let gpu = gpu.to_owned();
        match step {
            Step::Advance(by) => state.clock = state.clock.advance(Duration::from_micros(by)),
            Step::Load(load) => state.overrides.entry(gpu).or_default().load = Some(load),
            Step::Power(watts) => state.overrides.entry(gpu).or_default().power = watts,
            Step::Busy(percent) => state.overrides.entry(gpu).or_default().utilization_gpu = percent,
            Step::Heat(celsius) => state.overrides.entry(gpu).or_default().temperature = celsius,
            Step::Limit(milliwatts) => {
                state.modes.get_mut(&gpu).unwrap().power_limit_milliwatts = Some(milliwatts);
            }
            Step::Lock(low, high) => state.modes.get_mut(&gpu).unwrap().locked_graphics = Some((low, high)),
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn time_spent_is_what_each_microsecond_says(recording in recording(), from in 0_u64..150, span in 0_u64..300) {
        let load = Load::Recorded(recording);
        let time = LoadTime { begun_us: 10, seed: 0 };
        let mut told = 0;
        load.spent(time, from, from + span, |activity, us| told += u64::from(activity.busy) * us);
        let each: u64 = (from..from + span).map(|us| u64::from(load.at(time, us).busy)).sum();
        // Before it begins a series is at its first point, for no time.
        let before = (from..from + span).filter(|us| *us < 10).count() as u64;
        prop_assert_eq!(told, each - before * u64::from(load.at(time, 0).busy));
    }

    #[test]
    fn counters_rise_and_readings_stay_in_range_whatever_happens(steps in proptest::collection::vec(step(), 1..30)) {
        let mut machine = Machine::new("dgx-a100", Load::Training);
        for step in steps {
            let before = machine.counted();
            let is_time = matches!(step, Step::Advance(_));
            take(&mut machine, step);
            let after = machine.counted();
            for (quantity, (before, after)) in Quantity::ALL.iter().zip(before.iter().zip(&after)) {
                prop_assert!(before <= after, "{quantity:?} fell from {before} to {after}");
                prop_assert!(is_time || before == after, "{quantity:?} moved while time stood");
            }
            machine.look(|gpu| {
                let (busy, memory) = gpu.utilization();
                prop_assert!(busy <= 100 && memory <= 100);
                prop_assert!(gpu.clock_mhz(ClockKind::Sm) <= gpu.gpu.model.clock_graphics_mhz);
                let set = gpu.overrides();
                if set.is_none_or(|set| set.power.is_none()) {
                    prop_assert!(gpu.power_milliwatts() <= gpu.power_limit_milliwatts());
                }
                if set.is_none_or(|set| set.temperature.is_none()) {
                    prop_assert!(gpu.temperature() < gpu.gpu.model.temperature_max_celsius);
                }
                prop_assert_eq!(gpu.throttle_reasons().has(Reason::Idle), gpu.pace().activity.busy == 0);
                Ok(())
            })?;
        }
    }

    #[test]
    fn energy_is_the_power_of_each_time(
        load in prop_oneof![Just(Load::Training), Just(Load::Inference)], limit in 150_000_u32..400_000, at_ms in 0_u64..86_400_000,
    ) {
        let mut machine = Machine::new("dgx-a100", load);
        take(&mut machine, Step::Advance(at_ms * 1000));
        take(&mut machine, Step::Limit(limit));
        let before = machine.look(|gpu| gpu.energy_millijoules());
        let now = machine.state.clock.now_us();
        let sum: u64 = machine.look(|gpu| (0..3000).map(|ms| gpu.drive().at(now + ms * 1000).milliwatts).sum());
        take(&mut machine, Step::Advance(3_000_000));
        let energy = machine.look(|gpu| gpu.energy_millijoules()) - before;
        // At most thirty changes of power in three seconds, each seen up to one of the steps late.
        prop_assert!(energy.abs_diff(sum / 1000) <= 30 * 400, "{energy} mJ, but {} mJ", sum / 1000);
    }

    #[test]
    fn state_with_counters_written_reads_back(steps in proptest::collection::vec(step(), 1..10)) {
        let mut machine = Machine::new("dgx-a100", Load::Inference);
        for step in steps {
            take(&mut machine, step);
        }
        let text = serde_json::to_string(&machine.state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), machine.state);
    }
}

#[test]
fn ten_years_are_no_more_than_a_moment() {
    let all = Point { gpu: 100, memory: 100, tensor: 100, pcie_tx: 100, nvlink: 30, ..Point::default() };
    let all = Load::Recorded(Recording::new(vec![all], None).unwrap());
    for load in [Load::Training, Load::Inference, all] {
        let mut machine = Machine::new("dgx-h100", load);
        let before = machine.counted();
        machine.state.clock = machine.state.clock.advance(YEAR * 10);
        let after = machine.counted();
        assert!(before.iter().zip(&after).all(|(before, after)| before <= after));
        let nvlink = machine.look(|gpu| gpu.nvlink_bytes(0, Direction::Tx).unwrap());
        assert!(nvlink > 1 << 50 && nvlink < u64::MAX, "{nvlink}");
        take(&mut machine, Step::Power(Some(100)));
        assert_eq!(machine.counted(), after, "kept over a change");
    }
}

#[test]
fn training_is_busier_warmer_and_dearer_than_idling() {
    let read = |load| {
        let mut machine = Machine::new("dgx-a100", load);
        take(&mut machine, Step::Advance(300_000_000));
        machine.look(|gpu| {
            (gpu.utilization().0, gpu.temperature(), gpu.power_average_milliwatts(), gpu.memory_used().0)
        })
    };
    let (idle, training) = (read(Load::Idle), read(Load::Training));
    assert_eq!(idle, (0, 30, 60_000, 0));
    assert!(
        training.0 > 90 && training.1 > 50 && training.2 > 250_000 && training.3 > 1 << 35,
        "{training:?}"
    );
}

#[test]
fn power_at_the_limit_and_heat_are_told_as_reasons_and_counted() {
    let mut machine = Machine::new("dgx-a100", Load::Training);
    take(&mut machine, Step::Limit(200_000));
    take(&mut machine, Step::Advance(60_000_000));
    let capped = machine.look(|gpu| gpu.throttle_ns(Reason::PowerCap));
    assert!(capped > 40_000_000_000 && capped < 60_000_000_000, "{capped}");
    take(&mut machine, Step::Heat(Some(95)));
    take(&mut machine, Step::Advance(1_000_000));
    machine.look(|gpu| {
        let reasons = gpu.throttle_reasons();
        assert!(reasons.has(Reason::HwThermal) && reasons.has(Reason::HwSlowdown));
        assert_eq!(gpu.throttle_ns(Reason::HwThermal), 1_000_000_000);
        assert_eq!(gpu.violation(1).unwrap(), (1_000_000_000, START_US + 61_000_000));
    });
}

#[test]
fn driver_loaded_anew_counts_from_nothing() {
    let mut machine = Machine::new("dgx-a100", Load::Training);
    take(&mut machine, Step::Advance(1_000_000));
    machine.change(|state, _| state.driver.number += 1);
    assert!(machine.counted().iter().all(|count| *count == 0));
    take(&mut machine, Step::Advance(1_000_000));
    assert!(machine.look(|gpu| gpu.energy_millijoules()) > 50_000);
}
