//! What the Go plugin can do and this version cannot. A pool that asks for it is refused, never served by half.
//! It must shrink to nothing.

use super::DeviceType;
use super::wire::Selector;

/// The first thing that a pool asks for in vain.
pub(super) fn first(device_type: DeviceType, selectors: &[Selector]) -> Option<String> {
    match device_type {
        DeviceType::AuxNet => Some("deviceType auxNetDevice".to_owned()),
        // The other keys mean nothing for an accelerator, here and there.
        DeviceType::Accelerator => None,
        DeviceType::Net => selectors.iter().find_map(key),
    }
}

fn key(selector: &Selector) -> Option<String> {
    let keys = [
        ("linkTypes", !selector.link_types.is_empty()),
        ("ddpProfiles", !selector.ddp_profiles.is_empty()),
        ("pKeys", !selector.p_keys.is_empty()),
        ("isRdma", selector.is_rdma),
        ("needVhostNet", selector.need_vhost_net),
        ("vdpaType", !selector.vdpa_type.is_empty()),
    ];
    let (key, _) = keys.into_iter().find(|(_, used)| *used)?;
    Some(format!("{}.{key}", selector.path))
}
