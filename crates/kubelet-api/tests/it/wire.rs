//! What other implementations put on the wire is read, and what we put there is steady.

use kubelet_api::{
    deviceplugin::v1beta1::{ContainerAllocateResponse, Device, NumaNode, TopologyInfo},
    podresources::v1::ClaimResource,
};
use prost::Message;

/// Field 1, text "gpu-0"; field 2, text "Healthy"; field 3, a message whose field 1 is a message whose field 1 is 1.
const DEVICE: &[u8] = b"\x0a\x05gpu-0\x12\x07Healthy\x1a\x04\x0a\x02\x08\x01";

#[test]
fn device_known_bytes_have_the_protocols_field_numbers() {
    let device = Device {
        id: "gpu-0".to_owned(),
        health: "Healthy".to_owned(),
        topology: Some(TopologyInfo { nodes: vec![NumaNode { id: 1 }] }),
    };
    assert_eq!(device.encode_to_vec(), DEVICE);
    assert_eq!(Device::decode(DEVICE).unwrap(), device);
}

#[test]
fn device_with_unknown_fields_is_read() {
    // Field 15, text "new"; field 200, varint 7: what a later release may add.
    let later = [DEVICE, b"\x7a\x03new\xc0\x0c\x07"].concat();
    assert_eq!(Device::decode(later.as_slice()).unwrap(), Device::decode(DEVICE).unwrap());
}

#[test]
fn maps_filled_in_any_order_encode_alike() {
    let with = |pairs: &[(&str, &str)]| ContainerAllocateResponse {
        envs: pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        ..Default::default()
    };
    let there = with(&[("A", "1"), ("B", "2"), ("C", "3")]);
    let back = with(&[("C", "3"), ("B", "2"), ("A", "1")]);
    assert_eq!(there.encode_to_vec(), back.encode_to_vec());
}

#[test]
fn optional_text_tells_absent_from_empty() {
    let absent = ClaimResource::default();
    let empty = ClaimResource { share_id: Some(String::new()), ..Default::default() };
    assert_eq!(ClaimResource::decode(absent.encode_to_vec().as_slice()).unwrap().share_id, None);
    assert_eq!(
        ClaimResource::decode(empty.encode_to_vec().as_slice()).unwrap().share_id,
        Some(String::new())
    );
}
