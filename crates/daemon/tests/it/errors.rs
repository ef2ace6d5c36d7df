//! Chains of errors in one line.

use std::io;

use daemon::error_chain;
use thiserror::Error;

#[derive(Debug, Error)]
#[error("cannot write the spec")]
struct Outer(#[source] Middle);

#[derive(Debug, Error)]
enum Middle {
    #[error(transparent)]
    Wrapped(#[from] Inner),
}

#[derive(Debug, Error)]
#[error("syncing failed")]
struct Inner(#[source] io::Error);

#[test]
fn chain_names_every_cause_once() {
    let error = Outer(Inner(io::Error::other("disk on fire")).into());
    assert_eq!(error_chain(&error).to_string(), "cannot write the spec: syncing failed: disk on fire");
}

#[test]
fn chain_of_an_anyhow_error_is_the_same() {
    let error = anyhow::Error::new(Inner(io::Error::other("disk on fire"))).context("cannot start");
    assert_eq!(error_chain(&*error).to_string(), "cannot start: syncing failed: disk on fire");
}

#[derive(Debug, Error)]
#[error("{0}")]
struct Repeating(#[source] Inner);

#[test]
fn chain_with_a_link_that_repeats_its_cause_says_it_once() {
    let error = Repeating(Inner(io::Error::other("disk on fire")));
    assert_eq!(error_chain(&error).to_string(), "syncing failed: disk on fire");
}
