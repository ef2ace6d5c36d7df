//! Tests of CDI specs: the model, the builder's documents, the check against a host, the file.

#![expect(clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod fixture;
mod full_gpus;
mod mig;
mod spec;
mod spec_file;
mod validate;
mod workstation;
