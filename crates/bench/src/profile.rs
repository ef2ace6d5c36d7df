//! How long the simulated driver's calls take.

use std::time::Duration;

use nvml_sim::{Delay, Latency};

/// A latency profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Every call takes so long.
    Uniform(Duration),
    /// Topology is slow, as on NVLink machines. Not a trace of one: reports speak of up to 600 ms per NVLink query
    /// (k8s-device-plugin #774) and of a fraction of a millisecond for plain getters, and this keeps their shape at
    /// delays that a run can wait for.
    Recorded,
}

/// Delay of every call that [`SLOW`] does not name.
const PLAIN: Duration = Duration::from_micros(100);

/// What is slow in the recorded profile.
const SLOW: [(&str, Duration); 2] = [
    ("nvmlDeviceGetTopologyCommonAncestor", Duration::from_millis(20)),
    ("nvmlDeviceGetNvLink*", Duration::from_millis(5)),
];

impl Profile {
    /// No latency at all.
    pub const NONE: Profile = Profile::Uniform(Duration::ZERO);

    /// Those of the design.
    pub const ALL: [Profile; 4] = [
        Profile::NONE,
        Profile::Uniform(Duration::from_micros(100)),
        Profile::Uniform(Duration::from_millis(1)),
        Profile::Recorded,
    ];

    /// As the simulated driver takes it.
    pub fn latency(self) -> Latency {
        match self {
            Profile::Uniform(delay) => Latency { default: Delay(delay).into(), ..Latency::default() },
            Profile::Recorded => Latency {
                default: Delay(PLAIN).into(),
                functions: SLOW
                    .iter()
                    .map(|(function, delay)| ((*function).to_owned(), Delay(*delay).into()))
                    .collect(),
                ..Latency::default()
            },
        }
    }

    /// In words.
    pub fn title(self) -> String {
        match self {
            Profile::Uniform(delay) if delay.is_zero() => "NVML calls take no time".to_owned(),
            Profile::Uniform(delay) => format!("NVML calls take {}", Delay(delay)),
            Profile::Recorded => {
                let [(_, ancestor), (_, link)] = SLOW;
                format!(
                    "slow topology: NVML calls take {}, common ancestors {}, NVLink {}",
                    Delay(PLAIN),
                    Delay(ancestor),
                    Delay(link)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_profile_is_slow_in_topology_alone() {
        let latency = Profile::Recorded.latency();
        assert_eq!(latency.of("nvmlDeviceGetUUID", None).mean(), Duration::from_micros(100));
        assert_eq!(latency.of("nvmlDeviceGetTopologyCommonAncestor", None).mean(), Duration::from_millis(20));
        assert_eq!(latency.of("nvmlDeviceGetNvLinkState", None).mean(), Duration::from_millis(5));
    }

    #[test]
    fn profiles_have_titles_that_a_reader_understands() {
        let titles = Profile::ALL.map(Profile::title);
        assert_eq!(titles[..3], ["NVML calls take no time", "NVML calls take 100us", "NVML calls take 1ms"]);
        assert_eq!(titles[3], "slow topology: NVML calls take 100us, common ancestors 20ms, NVLink 5ms");
    }
}
