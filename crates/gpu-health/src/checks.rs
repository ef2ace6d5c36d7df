//! Which evidence counts: NVIDIA's two environment variables, and classes of XIDs that differ from the table.
//!
//! Text to settings; where the text comes from is not known here.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::xid::{self, Proof, XidClass, XidScope};

/// What is acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthChecks {
    /// Nothing but a person takes a GPU away: what would is told as Degraded.
    pub off: bool,
    /// What XIDs mean that no other rule names; none means the table.
    every: Option<XidClass>,
    /// `DP_DISABLE_HEALTHCHECKS` and, over it, `DP_ENABLE_HEALTHCHECKS`.
    listed: BTreeMap<u64, XidClass>,
    /// Our own setting, over all others.
    own: BTreeMap<u64, XidClass>,
    /// The config file's, over the table alone.
    file: BTreeMap<u64, XidClass>,
}

/// What one XID means under the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Its class; none for an XID that neither the table nor a setting knows.
    pub class: Option<XidClass>,
    /// What it concerns.
    pub scope: XidScope,
    /// What ends it where it makes a GPU Unhealthy.
    pub proof: Proof,
}

/// A word of a setting that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HealthChecksError {
    /// In one of NVIDIA's variables.
    #[error("{variable}: {word:?} is no XID: expected numbers from 1, separated by commas, `all` or `xids`")]
    Word {
        /// The variable.
        variable: &'static str,
        /// The word.
        word: String,
    },
    /// In our own setting.
    #[error("{word:?}: expected NUMBER=CLASS, such as 109=critical: {reason}")]
    Class {
        /// The word.
        word: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The variable that switches checks off.
pub const DISABLE: &str = "DP_DISABLE_HEALTHCHECKS";

/// The variable that makes XIDs fatal.
pub const ENABLE: &str = "DP_ENABLE_HEALTHCHECKS";

/// The most numbers that one setting may list: there are fewer than 200 XIDs.
const MAX_LISTED: usize = 1024;

impl HealthChecks {
    /// Reads NVIDIA's variables as NVIDIA's plugin does: lower or upper case, blanks and empty words skipped. Words that
    /// mean nothing come back beside the settings, which do without them.
    ///
    /// `disable=xids` acts on no XID, `all` on nothing at all, numbers not on these. `enable` wins over it: each of its
    /// XIDs takes the GPU, with `all` every one.
    pub fn from_variables(disable: &str, enable: &str) -> (HealthChecks, Vec<HealthChecksError>) {
        let (mut checks, mut errors) = (HealthChecks::default(), Vec::new());
        for word in words(disable) {
            match word.as_str() {
                "all" => (checks.off, checks.every) = (true, Some(XidClass::Application)),
                "xids" => checks.every = Some(XidClass::Application),
                _ => checks.list(DISABLE, word, XidClass::Application, &mut errors),
            }
        }
        for word in words(enable) {
            // Somebody who wants an XID to take its GPU wants health checks.
            checks.off = false;
            match word.as_str() {
                "all" | "xids" => {
                    checks.every = Some(XidClass::Critical);
                    checks.listed.clear();
                }
                _ => checks.list(ENABLE, word, XidClass::Critical, &mut errors),
            }
        }
        (checks, errors)
    }

    fn list(
        &mut self,
        variable: &'static str,
        word: String,
        class: XidClass,
        errors: &mut Vec<HealthChecksError>,
    ) {
        match word.parse() {
            Ok(xid) if xid > 0 && self.listed.len() < MAX_LISTED => {
                self.listed.insert(xid, class);
            }
            _ => errors.push(HealthChecksError::Word { variable, word }),
        }
    }

    /// Takes classes over from `setting`: `NUMBER=CLASS`, separated by commas.
    ///
    /// # Errors
    /// With the first word that is wrong; then nothing is taken over.
    pub fn reclassify(&mut self, setting: &str) -> Result<(), HealthChecksError> {
        let mut own = self.own.clone();
        for word in words(setting) {
            let wrong = |reason: String| HealthChecksError::Class { word: word.clone(), reason };
            let (number, class) =
                word.split_once('=').ok_or_else(|| wrong("it has no equals sign".to_owned()))?;
            let number = number.trim().parse::<u64>().ok().filter(|xid| *xid > 0);
            let number = number.ok_or_else(|| wrong("XIDs are numbers from 1".to_owned()))?;
            let class = class.trim().parse::<XidClass>().map_err(|error| wrong(error.to_string()))?;
            if own.len() >= MAX_LISTED {
                return Err(wrong(format!("more than {MAX_LISTED} XIDs")));
            }
            own.insert(number, class);
        }
        self.own = own;
        Ok(())
    }

    /// The same, with a config file's classes instead of those of an earlier one: they count where no flag or variable says
    /// anything.
    pub fn with_file(&self, file: BTreeMap<u64, XidClass>) -> HealthChecks {
        HealthChecks { file, ..self.clone() }
    }

    /// What `xid` means.
    pub fn ruling(&self, xid: u64) -> Ruling {
        let row = xid::row_of(xid);
        let set = self.own.get(&xid).or_else(|| self.listed.get(&xid)).copied();
        Ruling {
            class: set.or(self.every).or_else(|| self.file.get(&xid).copied()).or(row.map(|row| row.class)),
            scope: row.map_or(XidScope::Instance, |row| row.scope),
            proof: row.map_or(Proof::DriverContent, |row| row.proof),
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(checks: &HealthChecks, xid: u64) -> Option<XidClass> {
        checks.ruling(xid).class
    }

    #[test]
    fn nothing_set_is_the_table() {
        let (checks, errors) = HealthChecks::from_variables("", " , ");
        assert_eq!((&checks, errors.len()), (&HealthChecks::default(), 0));
        assert_eq!(class(&checks, 79), Some(XidClass::Critical));
        assert_eq!(class(&checks, 999), None);
    }

    #[test]
    fn disabled_xids_say_nothing_and_enabled_ones_are_critical_and_win() {
        let (checks, errors) = HealthChecks::from_variables("79, 48", "48,13");
        assert!(errors.is_empty());
        assert_eq!(class(&checks, 79), Some(XidClass::Application));
        assert_eq!(class(&checks, 48), Some(XidClass::Critical));
        assert_eq!(class(&checks, 13), Some(XidClass::Critical));
        assert_eq!(class(&checks, 95), Some(XidClass::Critical));
    }

    #[test]
    fn file_counts_before_the_table_and_after_all_that_flags_and_variables_say() {
        let file = |xids: &[u64]| xids.iter().map(|xid| (*xid, XidClass::Notice)).collect();
        let (mut checks, _) = HealthChecks::from_variables("", "48");
        checks.reclassify("95=degraded").unwrap();
        let checks = checks.with_file(file(&[48, 79, 95, 999]));
        for (xid, expected) in [
            (48, XidClass::Critical),
            (79, XidClass::Notice),
            (95, XidClass::Degraded),
            (999, XidClass::Notice),
        ] {
            assert_eq!(class(&checks, xid), Some(expected), "{xid}");
        }
        // The next file says nothing of what the one before did.
        assert_eq!(class(&checks.with_file(file(&[999])), 79), Some(XidClass::Critical));
        let (off, _) = HealthChecks::from_variables("xids", "");
        assert_eq!(class(&off.with_file([(79, XidClass::Critical)].into()), 79), Some(XidClass::Application));
    }

    #[test]
    fn disable_xids_leaves_other_evidence_and_disable_all_leaves_none() {
        let (xids, _) = HealthChecks::from_variables("XIDs", "");
        assert_eq!(
            (xids.off, class(&xids, 79), class(&xids, 999)),
            (false, Some(XidClass::Application), Some(XidClass::Application))
        );
        let (all, _) = HealthChecks::from_variables("all", "");
        assert_eq!((all.off, class(&all, 79)), (true, Some(XidClass::Application)));
        let (but_one, _) = HealthChecks::from_variables("all", "79");
        assert_eq!(
            (but_one.off, class(&but_one, 79), class(&but_one, 95)),
            (false, Some(XidClass::Critical), Some(XidClass::Application))
        );
        let (every, _) = HealthChecks::from_variables("13", "all");
        assert_eq!(class(&every, 13), Some(XidClass::Critical));
    }

    #[test]
    fn word_that_is_no_xid_is_told_with_its_variable_and_the_others_count() {
        let (checks, errors) = HealthChecks::from_variables("79,xid48,0", "-1");
        assert_eq!(class(&checks, 79), Some(XidClass::Application));
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3);
        assert!(told[0].starts_with("DP_DISABLE_HEALTHCHECKS: \"xid48\""), "{told:?}");
        assert!(told[2].starts_with("DP_ENABLE_HEALTHCHECKS: \"-1\""), "{told:?}");
    }

    #[test]
    fn own_classes_win_over_all_and_a_wrong_one_changes_nothing() {
        let (mut checks, _) = HealthChecks::from_variables("109", "");
        checks.reclassify("109=critical, 63=notice").unwrap();
        assert_eq!(
            (class(&checks, 109), class(&checks, 63)),
            (Some(XidClass::Critical), Some(XidClass::Notice))
        );
        let before = checks.clone();
        for wrong in ["79", "79=fatal", "x=critical", "0=notice", "95=notice,79"] {
            let error = checks.reclassify(wrong).unwrap_err().to_string();
            assert!(error.contains("expected NUMBER=CLASS"), "{error}");
        }
        assert_eq!(checks, before);
    }

    proptest! {
        #[test]
        fn settings_of_any_text_never_panic(disable: String, enable: String, own: String, xid: u64) {
            let (mut checks, _) = HealthChecks::from_variables(&disable, &enable);
            let _ = checks.reclassify(&own);
            let _ = checks.ruling(xid);
        }
    }
}
