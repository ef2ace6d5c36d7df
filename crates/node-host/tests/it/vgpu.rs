//! What a vGPU's configuration space tells, and that no bytes do harm.

use corpus::Corpus;
use node_host::pci::CONFIG_SPACE_BYTES;
use node_host::vgpu::{VgpuError, VgpuHostDriver, host_driver};
use proptest::prelude::*;

/// Where the capabilities stand in these tests.
const FIRST: usize = 0x34;
const AT: u8 = 0x80;

/// A configuration space with one capability, of the vendor.
fn space(capability: &[u8]) -> Vec<u8> {
    let mut space = vec![0; CONFIG_SPACE_BYTES];
    space[0x06] = 0x10;
    space[FIRST] = AT;
    let at = usize::from(AT);
    space[at] = 0x09;
    space[at + 2] = u8::try_from(3 + capability.len()).unwrap();
    space[at + 3..at + 3 + capability.len()].copy_from_slice(capability);
    space
}

/// The signature, and records of an id and bytes.
fn capability(records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = b"VF".to_vec();
    for (id, record) in records {
        bytes.extend([*id, u8::try_from(record.len() + 2).unwrap()]);
        bytes.extend_from_slice(record);
    }
    bytes
}

const HOST: &[u8] = b"460.16\0\0\0\0r460_00\0\0\0";

fn host() -> Option<VgpuHostDriver> {
    Some(VgpuHostDriver { version: "460.16".into(), branch: "r460_00".into() })
}

fn problem(space: &[u8]) -> String {
    match host_driver(space) {
        Err(error @ VgpuError::NoHostDriver { .. }) if error.is_vgpu() => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn host_driver_is_found_behind_other_records_and_capabilities() {
    assert_eq!(host_driver(&space(&capability(&[(0, HOST)]))), Ok(host()));
    let others = capability(&[(9, b"what"), (4, b""), (0, HOST)]);
    assert_eq!(host_driver(&space(&others)), Ok(host()));
    // A GPU's own vendor capability, with low bits set that are reserved, goes before the vGPU's.
    let mut two = space(&capability(&[(0, HOST)]));
    two[FIRST] = 0x40 | 0x03;
    two[0x40..0x44].copy_from_slice(&[0x09, AT | 0x01, 0x14, 0x01]);
    assert_eq!(host_driver(&two), Ok(host()));
}

#[test]
fn function_without_the_vgpus_capability_is_none() {
    let mut none = vec![0; CONFIG_SPACE_BYTES];
    assert_eq!(host_driver(&none), Ok(None));
    // Without capabilities the head tells, which everybody may read.
    assert_eq!(host_driver(&none[..64]), Ok(None));
    none[0x06] = 0x10;
    assert_eq!(host_driver(&none[..64]), Ok(None));
    assert_eq!(host_driver(&space(b"\x01\x00\x00")), Ok(None));
    // A capability too short for the letters that stand behind it.
    let mut short = space(b"VF");
    short[usize::from(AT) + 2] = 3;
    assert_eq!(host_driver(&short), Ok(None));
}

#[test]
fn head_that_everybody_may_read_is_too_short_to_tell() {
    let whole = space(&capability(&[(0, HOST)]));
    for bytes in [0, 6, 53, 64, usize::from(AT) + 5, usize::from(AT) + 26] {
        assert_eq!(host_driver(&whole[..bytes]), Err(VgpuError::Short { bytes }), "{bytes} bytes");
    }
    assert_eq!(host_driver(&whole[..usize::from(AT) + 27]), Ok(host()), "no more than is needed");
    assert!(!VgpuError::Short { bytes: 64 }.is_vgpu());
}

#[test]
fn vgpu_whose_records_make_no_sense_is_a_vgpu_without_a_host_driver() {
    for (records, expected) in [
        (&b"VF\x05\x00\x00\x16"[..], "shorter than its head"),
        (b"VF\x05\x01\x00\x16", "shorter than its head"),
        (b"VF\x05\x20\x00", "longer than the capability"),
        (b"VF\x05\x04ab", "no such record"),
        (b"VF", "no such record"),
        (b"VF\x00", "no such record"),
        (b"VF\x00\x0c460.16\0\0\0\0", "too short"),
    ] {
        let said = problem(&space(records));
        assert!(said.contains(expected) && said.contains("0x80"), "{said}");
    }
    let mut long = space(&capability(&[(0, HOST)]));
    long[usize::from(AT) + 2] = 0xff;
    assert!(problem(&long).contains("longer than the configuration space"));
}

#[test]
fn text_of_the_host_is_printable_whatever_it_wrote() {
    let wild = capability(&[(0, b"\x1b[2J\xff 1\n\0\0 r\"5\0garbage")]);
    let found = host_driver(&space(&wild)).unwrap().unwrap();
    assert_eq!((found.version.as_str(), found.branch.as_str()), ("\u{fffd}[2J\u{fffd} 1\u{fffd}", " r\"5"));
    let empty = host_driver(&space(&capability(&[(0, &[0; 20])]))).unwrap();
    assert_eq!(empty, Some(VgpuHostDriver { version: String::new(), branch: String::new() }));
}

#[test]
fn list_that_leads_nowhere_is_an_error_and_ends() {
    let at = |first: u8, next: u8| {
        let mut space = space(b"");
        (space[FIRST], space[usize::from(AT) + 1]) = (first, next);
        match host_driver(&space) {
            Err(error @ VgpuError::Capability { .. }) if !error.is_vgpu() => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(at(AT, AT).contains("comes back to itself"));
    assert!(at(AT, 0x3c).contains("0x80 makes no sense: the next one would be in the header"));
    assert!(at(0x10, 0).contains("0x34"));
    let off_the_bus = host_driver(&[0xff; 256]).unwrap_err();
    assert!(off_the_bus.to_string().contains("does not answer") && !off_the_bus.is_vgpu(), "{off_the_bus}");
}

/// Any bytes: it ends, and what it says is text, and is the same with bytes behind the configuration space.
fn target(data: &[u8]) {
    let found = host_driver(data);
    if let Ok(Some(VgpuHostDriver { version, branch })) = &found {
        let is_text = |text: &str| text.chars().count() <= 10 && !text.contains(char::is_control);
        assert!(is_text(version) && is_text(branch), "{found:?}");
    }
    if data.len() >= CONFIG_SPACE_BYTES {
        assert_eq!(host_driver(&data[..CONFIG_SPACE_BYTES]), found);
        assert!(!matches!(found, Err(VgpuError::Short { .. } | VgpuError::Unreadable { .. })), "{found:?}");
    }
}

#[test]
fn corpus_of_configuration_spaces_and_inputs_made_of_it_do_no_harm() {
    let pieces: [&[u8]; 8] = [
        b"\x09\x00\x1bVF",
        b"\x09\x80\x05VF",
        b"\x00\x16",
        b"\x00\x00",
        b"\x05\x02",
        b"\xff\xff",
        b"\xfc",
        b"VF",
    ];
    Corpus { package: env!("CARGO_MANIFEST_DIR"), name: "vgpu", pieces: &pieces }.strike(target);
}

proptest! {
    #[test]
    fn host_driver_is_read_back_wherever_it_stands(
        version in "[0-9.]{0,10}",
        branch in "r[0-9_]{0,9}",
        others in prop::collection::vec((1u8.., prop::collection::vec(any::<u8>(), 0..8)), 0..6),
        cut in 0usize..256,
    ) {
        let mut texts = [0; 20];
        texts[..version.len()].copy_from_slice(version.as_bytes());
        texts[10..10 + branch.len()].copy_from_slice(branch.as_bytes());
        let mut records: Vec<(u8, &[u8])> = others.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect();
        records.push((0, &texts));
        let whole = space(&capability(&records));
        let expected = Ok(Some(VgpuHostDriver { version, branch }));
        prop_assert_eq!(host_driver(&whole), expected.clone());
        // Of fewer bytes it says the same, or that they are too few.
        let some = host_driver(&whole[..cut]);
        prop_assert!(some == expected || some == Err(VgpuError::Short { bytes: cut }), "{:?}", some);
    }

    #[test]
    fn bytes_behind_a_chain_of_capabilities_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        heads in prop::collection::vec((16u8..64, any::<bool>(), any::<u8>()), 0..8),
    ) {
        let mut way = FIRST;
        for (slot, is_vendors, length) in heads {
            let at = usize::from(slot) * 4;
            if let Some(place) = bytes.get_mut(way) { *place = slot * 4; }
            let head = [if is_vendors { 0x09 } else { 0x05 }, 0, length, b'V', b'F'];
            if let Some(place) = bytes.get_mut(at..at + 5) { place.copy_from_slice(&head); }
            way = at + 1;
        }
        if let Some(place) = bytes.get_mut(0x06) { *place |= 0x10; }
        target(&bytes);
    }
}
