//! The fake API server judged by the suite that judges the real one.

mod conformance;
