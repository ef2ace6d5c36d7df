//! Tests of the protocol code: that it is what `proto/` says, and how it behaves on the wire.

#[path = "../../examples/protocols/generator.rs"]
mod generator;

mod drift;
mod wire;
