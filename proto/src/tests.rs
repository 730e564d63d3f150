//! The bytes are the contract: each message is checked against an encoding written out by hand from upstream's field numbers.

use std::collections::BTreeMap;

use prost::Message;

use super::{device_plugin as dp, plugin_registration as pr, pod_resources as res};

/// One length-delimited field.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(payload.len()).unwrap()];
    bytes.extend(payload);
    bytes
}

#[test]
fn allocate_response() {
    let response = dp::ContainerAllocateResponse {
        envs: BTreeMap::from([("K".into(), "v".into())]),
        mounts: vec![dp::Mount { container_path: "c".into(), host_path: "h".into(), read_only: true }],
        devices: vec![dp::DeviceSpec {
            container_path: "c".into(),
            host_path: "h".into(),
            permissions: "rw".into(),
        }],
        annotations: BTreeMap::from([("a".into(), "b".into())]),
        cdi_devices: vec![dp::CdiDevice { name: "n".into() }],
    };
    let wanted = [
        field(1, &[field(1, b"K"), field(2, b"v")].concat()),
        field(2, &[field(1, b"c"), field(2, b"h"), vec![3 << 3, 1]].concat()),
        field(3, &[field(1, b"c"), field(2, b"h"), field(3, b"rw")].concat()),
        field(4, &[field(1, b"a"), field(2, b"b")].concat()),
        field(5, &field(1, b"n")),
    ];
    assert_eq!(response.encode_to_vec(), wanted.concat());
}

#[test]
fn device_with_topology() {
    let device = dp::Device {
        id: "i".into(),
        health: dp::HEALTHY.into(),
        topology: Some(dp::TopologyInfo { nodes: vec![dp::NumaNode { id: 1 }] }),
    };
    let wanted = [field(1, b"i"), field(2, b"Healthy"), field(3, &field(1, &[1 << 3, 1]))];
    assert_eq!(device.encode_to_vec(), wanted.concat());
}

#[test]
fn registration() {
    let request = dp::RegisterRequest {
        version: dp::VERSION.into(),
        endpoint: "e".into(),
        resource_name: "r".into(),
        options: Some(dp::DevicePluginOptions {
            pre_start_required: true,
            get_preferred_allocation_available: true,
        }),
    };
    let wanted = [field(1, b"v1beta1"), field(2, b"e"), field(3, b"r"), field(4, &[1 << 3, 1, 2 << 3, 1])];
    assert_eq!(request.encode_to_vec(), wanted.concat());

    let info = pr::PluginInfo {
        r#type: pr::DEVICE_PLUGIN.into(),
        name: "n".into(),
        endpoint: "e".into(),
        supported_versions: vec!["v1beta1".into()],
    };
    let wanted = [field(1, b"DevicePlugin"), field(2, b"n"), field(3, b"e"), field(4, b"v1beta1")];
    assert_eq!(info.encode_to_vec(), wanted.concat());
}

#[test]
fn preferred_allocation() {
    let request = dp::ContainerPreferredAllocationRequest {
        available_device_ids: vec!["a".into()],
        must_include_device_ids: vec!["m".into()],
        allocation_size: 2,
    };
    assert_eq!(request.encode_to_vec(), [field(1, b"a"), field(2, b"m"), vec![3 << 3, 2]].concat());
}

#[test]
fn pod_resources() {
    let container = res::ContainerResources {
        name: "c".into(),
        devices: vec![res::ContainerDevices {
            resource_name: "r".into(),
            device_ids: vec!["d".into()],
            topology: None,
        }],
        cpu_ids: vec![],
        memory: vec![],
        dynamic_resources: vec![res::DynamicResource {
            claim_name: "n".into(),
            claim_namespace: "s".into(),
            claim_resources: vec![res::ClaimResource {
                cdi_devices: vec![res::CdiDevice { name: "x".into() }],
                driver_name: "d".into(),
                pool_name: "p".into(),
                device_name: "e".into(),
                share_id: Some("i".into()),
            }],
        }],
    };
    let claim = [field(1, &field(1, b"x")), field(2, b"d"), field(3, b"p"), field(4, b"e"), field(5, b"i")];
    let dynamic = [field(2, b"n"), field(3, b"s"), field(4, &claim.concat())];
    let wanted =
        [field(1, b"c"), field(2, &[field(1, b"r"), field(2, b"d")].concat()), field(5, &dynamic.concat())];
    assert_eq!(container.encode_to_vec(), wanted.concat());
}
