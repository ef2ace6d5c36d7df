//! The steps of a sequence, and how they are drawn. A step names things by numbers that any state can make sense of,
//! so that a sequence from which steps are taken away is one too.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// What a process is to play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Initialise, in one of the ways that there are.
    Init(u8),
    /// Undo one initialisation, or one too many.
    Shutdown,
    /// Call a getter.
    Ask(Ask),
    /// Ask for a MIG mode.
    SetMig(u8, bool),
    /// Make a GPU instance: GPU, profile, and place where the maker chooses.
    Create(u8, u8, Option<u8>),
    /// Make a compute instance: GPU instance, profile.
    CreateCompute(u8, u8),
    /// End a GPU instance; of those that are gone too.
    Destroy(u8),
    /// End a compute instance; of those that are gone too.
    DestroyCompute(u8),
    /// Make an event set, wait without waiting, free it; with the set of before, gone or never there.
    Events(u8, bool),
    /// Take GPM samples of a GPU, and so many metrics.
    Samples(u8, u8),
    /// Let a GPU drain, remove it, and discover it again, in one of the ways that there are.
    Remove(u8, u8),
    /// Several threads misuse the library while this one makes and ends instances.
    Crowd(u64),
}

/// A call of a getter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Which, of those of the table.
    pub getter: u16,
    /// About which GPU or instance.
    pub about: u8,
    /// Its numbers of the caller's choice.
    pub numbers: [u8; 3],
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flaw {
    /// Nothing.
    None,
    /// A null pointer, at one of its places.
    Null(u8),
    /// A handle that is null, of another kind, of something gone, or any number.
    Handle(u64),
    /// A struct with another version word.
    Version(u32),
    /// Less room than there is to write.
    Short(u8),
    /// A count that says more than there is memory.
    Huge,
    /// A number of the caller's choice that means nothing.
    Number(u32),
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        3 => Just(Flaw::None),
        3 => any::<u8>().prop_map(Flaw::Null),
        3 => prop_oneof![0..64_u64, any::<u64>()].prop_map(Flaw::Handle),
        2 => prop_oneof![0..8_u32, any::<u32>()].prop_map(Flaw::Version),
        2 => any::<u8>().prop_map(Flaw::Short),
        1 => Just(Flaw::Huge),
        1 => prop_oneof![200..400_u32, Just(u32::MAX), any::<u32>()].prop_map(Flaw::Number),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    (any::<u16>(), any::<u8>(), any::<[u8; 3]>(), flaw()).prop_map(|(getter, about, numbers, flaw)| Ask {
        getter,
        about,
        numbers,
        flaw,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Init),
        2 => Just(Step::Shutdown),
        60 => ask().prop_map(Step::Ask),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(gpu, on)| Step::SetMig(gpu, on)),
        8 => (any::<u8>(), any::<u8>(), any::<Option<u8>>()).prop_map(|(gpu, profile, place)| Step::Create(gpu, profile, place)),
        5 => (any::<u8>(), any::<u8>()).prop_map(|(instance, profile)| Step::CreateCompute(instance, profile)),
        4 => any::<u8>().prop_map(Step::Destroy),
        3 => any::<u8>().prop_map(Step::DestroyCompute),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(set, free)| Step::Events(set, free)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(gpu, metrics)| Step::Samples(gpu, metrics)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(gpu, how)| Step::Remove(gpu, how)),
        1 => any::<u64>().prop_map(Step::Crowd),
    ]
}

/// Sequences of up to so many steps.
pub fn cases(most: usize) -> impl Strategy<Value = Case> {
    // Most sequences begin as programs do.
    (0..8_u8, prop::collection::vec(step(), 1..most)).prop_map(|(way, mut steps)| {
        if way != 0 {
            steps.insert(0, Step::Init(way));
        }
        Case { steps }
    })
}
