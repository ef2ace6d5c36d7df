//! A part of something in whole percent, as people write it (`40%`). It knows nothing of what it is a part of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// From 0 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

/// Text that is not a percentage.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a percentage; write 0% to 100%, such as 40%")]
pub struct ParsePercentError(String);

impl Percent {
    /// The whole.
    const WHOLE: u32 = 100;

    /// The number before the sign.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Both together, the whole at most.
    pub fn plus(self, other: Percent) -> Percent {
        Percent((self.0 + other.0).min(Percent::WHOLE))
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Percent {
    type Err = ParsePercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok();
        let number = number.filter(|number| *number <= Percent::WHOLE);
        number.map(Percent).ok_or_else(|| ParsePercentError(text.to_owned()))
    }
}

impl TryFrom<String> for Percent {
    type Error = ParsePercentError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> String {
        percent.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}
