//! What the built file exports and needs, read from its ELF tables.

use std::collections::BTreeSet;

use nvml_sim_abi::{IMPLEMENTED, KNOWN, REASONS, REFUSED};

use crate::sim::library;

const DYNAMIC: u32 = 6;
const DYNAMIC_SYMBOLS: u32 = 11;

/// The few parts of an ELF file that these tests ask for.
struct Elf(Vec<u8>);

impl Elf {
    fn number(&self, at: usize, bytes: usize) -> usize {
        self.0[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn text(&self, at: usize) -> String {
        let end = self.0[at..].iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(self.0[at..at + end].to_vec()).unwrap()
    }

    /// Offset, size and the strings' offset of a section.
    fn section(&self, kind: u32) -> (usize, usize, usize) {
        let header = |index: usize| self.number(0x28, 8) + index * 64;
        let count = self.number(0x3C, 2);
        let at = (0..count).map(header).find(|at| self.number(at + 4, 4) == kind as usize).unwrap();
        let strings = header(self.number(at + 40, 4));
        (self.number(at + 24, 8), self.number(at + 32, 8), self.number(strings + 24, 8))
    }

    fn exported(&self) -> BTreeSet<String> {
        let (offset, size, strings) = self.section(DYNAMIC_SYMBOLS);
        let symbols = (0..size / 24).map(|index| offset + index * 24);
        let defined = symbols.filter(|at| self.number(at + 6, 2) != 0);
        defined.map(|at| self.text(strings + self.number(at, 4))).collect()
    }

    /// Values of a tag of the dynamic section, as texts.
    fn dynamic(&self, tag: usize) -> BTreeSet<String> {
        let (offset, size, strings) = self.section(DYNAMIC);
        let entries = (0..size / 16).map(|index| offset + index * 16);
        let wanted = entries.filter(|at| self.number(*at, 8) == tag);
        wanted.map(|at| self.text(strings + self.number(at + 8, 8))).collect()
    }
}

fn elf() -> Elf {
    Elf(std::fs::read(library()).unwrap())
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn implemented_and_refused_functions_together_are_all_and_overlap_nowhere() {
    let implemented: BTreeSet<String> = IMPLEMENTED.iter().flat_map(|names| set(names)).collect();
    let refused = set(REFUSED);
    assert_eq!(implemented.intersection(&refused).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(implemented.union(&refused).cloned().collect::<BTreeSet<_>>(), set(KNOWN));
    assert!(implemented.len() > 100, "{}", implemented.len());
}

#[test]
fn function_that_refuses_has_one_documented_reason_and_no_reason_is_idle() {
    for name in REFUSED {
        let reasons = REASONS.iter().filter(|reason| reason.is_of(name)).count();
        assert_eq!(reasons, 1, "{name}");
    }
    for reason in REASONS {
        assert!(reason.documented.contains("NVML"), "{reason:?}");
        for pattern in reason.functions {
            let refused = REFUSED.iter().any(|name| reason.is_of(name) && fits(pattern, name));
            assert!(refused, "{pattern} refuses nothing");
        }
    }
}

/// Whether a name begins as a pattern does.
fn fits(pattern: &str, name: &str) -> bool {
    name.starts_with(pattern.split('*').next().unwrap_or_default())
}

#[test]
fn library_exports_every_function_of_nvml_and_its_marker_alone() {
    let mut expected = set(KNOWN);
    expected.insert("nvmlSimulatedByGantry".to_owned());
    assert_eq!(elf().exported(), expected);
}

#[test]
fn library_has_the_name_and_the_needs_of_a_real_one() {
    let elf = elf();
    assert_eq!(elf.dynamic(14), set(&["libnvidia-ml.so.1"]));
    let needed = elf.dynamic(1);
    for library in ["libpthread.so.0", "libm.so.6", "libdl.so.2", "librt.so.1", "libgcc_s.so.1", "libc.so.6"]
    {
        assert!(needed.contains(library), "{library} is missing from {needed:?}");
    }
}
