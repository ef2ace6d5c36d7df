//! Whether the device plugin is there, and for how long what it left behind counts when it is not. Pure.

use std::time::{Duration, Instant};

/// A plugin that is upgraded, or that crashes and waits for its next start, is back by then: a kubelet waits five minutes at
/// most between two starts.
const ABSENCE: Duration = Duration::from_secs(10 * 60);

/// The device plugin, as its sign of presence tells.
#[derive(Debug)]
pub struct Plugin {
    is_there: bool,
    last_seen: Instant,
    /// Whether a report counted when it was read last.
    is_heard: bool,
    /// The report that was read last.
    report: Option<String>,
    /// The report that counts no more.
    silenced: Option<String>,
}

impl Plugin {
    /// Before the first look: it may have been there until now, unless its report is the one that counted no more already for
    /// an earlier process.
    pub fn new(silenced: Option<String>, now: Instant) -> Plugin {
        Plugin { is_there: false, last_seen: now, is_heard: false, report: None, silenced }
    }

    /// It was looked for.
    pub fn seen(&mut self, is_there: bool, now: Instant) {
        self.is_there = is_there;
        if is_there {
            self.last_seen = now;
        }
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// Whether the report of this name counts; there may be none.
    pub fn counts(&mut self, report: Option<&str>, now: Instant) -> bool {
        let Some(report) = report else {
            self.is_heard = false;
            return false;
        };
        // Also one whose sign is missing was there to write it.
        if self.report.as_deref() != Some(report) {
            self.report = Some(report.to_owned());
            self.last_seen = now;
        }
        let is_silent = !self.is_there
            && (self.silenced.as_deref() == Some(report)
                || now.saturating_duration_since(self.last_seen) >= ABSENCE);
        self.silenced = is_silent.then(|| report.to_owned());
        self.is_heard = !is_silent;
        self.is_heard
    }

    /// The report that counts no more, for the next process.
    pub fn silenced(&self) -> Option<&str> {
        self.silenced.as_deref()
    }

    /// When a report that counts will count no more, if nothing changes.
    pub fn due(&self) -> Option<Instant> {
        (self.is_heard && !self.is_there).then(|| self.last_seen + ABSENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn report_of_a_plugin_that_is_gone_counts_for_ten_minutes_and_no_crash_or_upgrade_silences_it() {
        let begin = Instant::now();
        let mut plugin = Plugin::new(None, begin);
        // A crash loop: never there for long, never away for long.
        for at in (0..60).step_by(6) {
            plugin.seen(true, begin + MINUTE * at);
            plugin.seen(false, begin + MINUTE * (at + 1));
            assert!(plugin.counts(Some("one"), begin + MINUTE * (at + 5)));
        }
        let left = begin + MINUTE * 54;
        assert_eq!(plugin.due(), Some(left + MINUTE * 10));
        assert!(plugin.counts(Some("one"), left + MINUTE * 10 - Duration::from_millis(1)));
        assert!(!plugin.counts(Some("one"), left + MINUTE * 10));
        assert_eq!((plugin.silenced(), plugin.due()), (Some("one"), None));
        // It goes on writing, and could not leave the sign that it is there.
        let writes = left + MINUTE * 10;
        assert!(plugin.counts(Some("two"), writes));
        assert_eq!(plugin.due(), Some(writes + MINUTE * 10));
        assert!(!plugin.counts(Some("two"), writes + MINUTE * 10));
        plugin = Plugin::new(Some("one".to_owned()), left);
        assert!(!plugin.counts(Some("one"), left));
        // Its next start.
        plugin.seen(true, left + MINUTE * 11);
        assert!(plugin.counts(Some("one"), left + MINUTE * 11));
        plugin.seen(false, left + MINUTE * 12);
        assert!(plugin.counts(Some("one"), left + MINUTE * 12));
    }

    #[test]
    fn without_a_report_there_is_nothing_to_wait_for() {
        let begin = Instant::now();
        let mut plugin = Plugin::new(None, begin);
        assert!(!plugin.counts(None, begin));
        assert_eq!((plugin.due(), plugin.silenced()), (None, None));
    }

    #[test]
    fn restart_keeps_silent_what_was_silent_and_waits_for_what_was_not() {
        let begin = Instant::now();
        let mut plugin = Plugin::new(Some("one".to_owned()), begin);
        plugin.seen(false, begin);
        assert!(!plugin.counts(Some("one"), begin));
        assert!(plugin.counts(Some("another"), begin), "written since");
        let mut plugin = Plugin::new(None, begin);
        plugin.seen(false, begin);
        assert!(plugin.counts(Some("one"), begin));
    }
}
