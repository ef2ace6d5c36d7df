//! The named loads as curves. Their shapes are (assumed): what training and serving large models look like in published
//! traces, in round figures.

use std::sync::LazyLock;

use super::activity::{Activity, NOTHING};
use super::curve::{Block, Curve, Phase, Then};

const MS: u64 = 1000;
const HOUR_US: u64 = 3_600_000 * MS;

/// GPUs that train together keep step within this.
pub const TRAINING_SKEW_US: u64 = 20 * MS;
/// GPUs that serve get their requests independently; by this their bursts are apart.
pub const INFERENCE_SKEW_US: u64 = 8000 * MS;

const fn phase(us: u64, activity: Activity) -> Phase {
    Phase { us, activity }
}

/// Nothing runs.
pub fn idle() -> &'static Curve {
    static CURVE: LazyLock<Curve> = LazyLock::new(|| {
        let phases = vec![phase(1000 * MS, NOTHING)];
        Curve::new(vec![Block { times: 1, phases }], Then::Repeat)
    });
    &CURVE
}

/// Ten minutes of steps of half a second, then a checkpoint of twelve seconds.
pub fn training() -> &'static Curve {
    static CURVE: LazyLock<Curve> = LazyLock::new(|| {
        let held = Activity { memory_used: 850, ..NOTHING };
        let load = Activity { busy: 300, sm: 100, occupancy: 60, dram: 150, pcie_rx: 500, ..held };
        let compute = Activity {
            busy: 1000,
            sm: 920,
            occupancy: 450,
            tensor: 620,
            integer: 90,
            fp32: 120,
            fp16: 60,
            dram: 520,
            pcie_tx: 10,
            pcie_rx: 20,
            nvlink_tx: 80,
            nvlink_rx: 80,
            ..held
        };
        let reduce = Activity {
            busy: 1000,
            sm: 400,
            occupancy: 200,
            tensor: 100,
            integer: 50,
            fp32: 60,
            dram: 350,
            nvlink_tx: 700,
            nvlink_rx: 700,
            ..held
        };
        let optimise = Activity { busy: 1000, sm: 850, occupancy: 500, fp32: 350, dram: 900, ..held };
        let step = vec![
            phase(20 * MS, load),
            phase(350 * MS, compute),
            phase(100 * MS, reduce),
            phase(30 * MS, optimise),
        ];
        let save = Activity { busy: 50, sm: 20, occupancy: 10, dram: 80, pcie_tx: 300, ..held };
        let checkpoint = vec![phase(12_000 * MS, save)];
        Curve::new(
            vec![Block { times: 1200, phases: step }, Block { times: 1, phases: checkpoint }],
            Then::Repeat,
        )
    });
    &CURVE
}

/// For each hour of the day, UTC, how much of the time requests are served, in thousandths.
const HOURS: [u64; 24] = [
    300, 250, 200, 180, 180, 220, 350, 500, 700, 850, 950, 1000, 980, 950, 960, 940, 900, 850, 800, 750, 700,
    600, 500, 400,
];

/// Bursts every eight seconds, as long as the hour says: reading the prompts, then writing the answers.
pub fn inference() -> &'static Curve {
    static CURVE: LazyLock<Curve> = LazyLock::new(|| {
        let held = Activity { memory_used: 900, ..NOTHING };
        let prefill = Activity {
            busy: 1000,
            sm: 900,
            occupancy: 400,
            tensor: 550,
            integer: 80,
            fp32: 100,
            fp16: 50,
            dram: 450,
            pcie_rx: 40,
            nvlink_tx: 150,
            nvlink_rx: 150,
            ..held
        };
        let decode = Activity {
            busy: 950,
            sm: 550,
            occupancy: 250,
            tensor: 180,
            integer: 60,
            fp32: 60,
            fp16: 40,
            dram: 820,
            pcie_tx: 15,
            nvlink_tx: 60,
            nvlink_rx: 60,
            ..held
        };
        let cycle = INFERENCE_SKEW_US;
        let hour = |served: &u64| {
            let (first, second) = (cycle * served / 1000 / 8, cycle * served / 1000 * 6 / 8);
            let phases = vec![
                phase(first, prefill),
                phase(second, decode),
                phase(cycle.saturating_sub(first + second), held),
            ];
            Block { times: HOUR_US / cycle, phases }
        };
        Curve::new(HOURS.iter().map(hour).collect(), Then::Repeat)
    });
    &CURVE
}
