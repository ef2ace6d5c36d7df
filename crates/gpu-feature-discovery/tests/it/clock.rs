//! A wall clock that is set otherwise while the daemon runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sim_node::{Process, SimNode};

use crate::harness::{bare, file, file_says, in_file, start};
use crate::keeping::{COUNT, QUICK};

fn value(discovery: &Process, metric: &str) -> f64 {
    discovery.metric(&format!("gantry_feature_discovery_{metric}")).unwrap_or_default()
}

/// How long the file holds from `now` on.
fn holds(node: &SimNode, now: Timestamp) -> Result<SignedDuration, String> {
    let text = std::fs::read_to_string(file(node)).map_err(|error| error.to_string())?;
    let expiry = text.lines().next().and_then(|line| line.strip_prefix("# +expiry-time=")).unwrap();
    Ok(expiry.parse::<Timestamp>().unwrap().duration_since(now))
}

// Fails where looks or the header's renewal wait by the wall clock.
#[test]
fn clock_that_jumps_stops_no_look_changes_no_label_and_has_the_file_expire_a_day_from_then() {
    let node = bare().own_clock().build().unwrap();
    // The label with the time is that of the start.
    let discovery = start(&node, &[QUICK, "--no-timestamp=false"]);
    let labels = file_says(&node, COUNT, Some("8"));
    for (times, days) in [(2.0, 400), (3.0, -4000)] {
        node.set_clock(days * 24 * 60 * 60).unwrap();
        let before = value(&discovery, "looks_total{result=\"ok\"}");
        let check = || {
            let looks = value(&discovery, "looks_total{result=\"ok\"}") - before;
            let now = Timestamp::now() + SignedDuration::from_hours(days * 24);
            let holds = holds(&node, now)?;
            let is_good = holds > SignedDuration::from_hours(23) && holds <= SignedDuration::from_hours(24);
            let writes = value(&discovery, "output_writes_total{output=\"file\",result=\"ok\"}");
            if looks >= 3.0 && is_good && writes == times {
                Ok(())
            } else {
                Err(format!("{looks} looks, {writes} writes; it holds {holds}"))
            }
        };
        sim_node::eventually("it goes on", Duration::from_secs(30), check).unwrap();
        assert_eq!(in_file(&node).unwrap(), labels);
    }
    assert_eq!(value(&discovery, "label_changes_total"), 0.0);
}
