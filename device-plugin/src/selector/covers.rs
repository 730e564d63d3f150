//! What can be said of selectors without any device: that one can never match, or that another takes all of it.
//! It must be sure: where it cannot tell, it says no.

use super::{Key, Selector};
use crate::inventory::is_link_type;

impl Selector {
    /// The first key that no device can ever meet.
    pub fn impossible(&self) -> Option<Key> {
        let id = |text: &String| is_hex(text);
        let never = |key| match key {
            Key::Vendors => self.vendors.none_can(id),
            Key::Devices => self.devices.none_can(id),
            Key::PciAddresses => self.pci_addresses.none_can(|_| true),
            Key::Drivers => self.drivers.none_can(|name| !name.is_empty()),
            Key::AcpiIndexes => self.acpi_indexes.none_can(|index| !index.is_empty()),
            Key::AuxTypes => self.aux_types.none_can(|kind| kind == "sf"),
            Key::PfNames => self.pf_names.selects_nothing(|name| !name.is_empty()),
            Key::RootDevices => {
                self.root_devices.selects_nothing(|text| text.parse::<pci::PciAddress>().is_ok())
            }
            Key::DdpProfiles => self.ddp_profiles.none_can(|name| !name.is_empty()),
            // Only InfiniBand functions have one.
            Key::PKeys => {
                self.p_keys.none_can(|key| key.strip_prefix("0x").is_some_and(is_hex))
                    || self.p_keys.is_set() && !self.link_types.accepts(Some("infiniband"))
            }
            Key::LinkTypes => self.link_types.none_can(|name| is_link_type(name)),
            Key::IsRdma => false,
            Key::VdpaType => {
                self.vdpa_type.as_deref().is_some_and(|kind| kind != "virtio" && kind != "vhost")
            }
        };
        Key::ALL.into_iter().find(|key| never(*key))
    }

    /// Whether this accepts every device that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        self.vendors.covers(&other.vendors)
            && self.devices.covers(&other.devices)
            && self.drivers.covers(&other.drivers)
            && self.pci_addresses.covers(&other.pci_addresses)
            && self.acpi_indexes.covers(&other.acpi_indexes)
            && self.aux_types.covers(&other.aux_types)
            && self.pf_names.covers(&other.pf_names)
            && self.root_devices.covers(&other.root_devices)
            && self.link_types.covers(&other.link_types)
            && self.ddp_profiles.covers(&other.ddp_profiles)
            && self.p_keys.covers(&other.p_keys)
            && (!self.is_rdma || other.is_rdma)
            && (self.vdpa_type.is_none() || self.vdpa_type == other.vdpa_type)
    }
}

/// The digits of ids and partition keys, as the kernel prints them.
fn is_hex(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Wanted;

    fn selector(wanted: Wanted) -> Selector {
        Selector::new(wanted).0
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_can_never_match() {
        let cases = [
            (Wanted { devices: texts(&["154C"]), ..Wanted::default() }, Some(Key::Devices)),
            (Wanted { devices: texts(&["154C", "154c"]), ..Wanted::default() }, None),
            (Wanted { vendors: texts(&["0x8086"]), ..Wanted::default() }, Some(Key::Vendors)),
            (Wanted { pci_addresses: texts(&["01:10.0"]), ..Wanted::default() }, Some(Key::PciAddresses)),
            (Wanted { pf_names: texts(&["pf0#0#1"]), ..Wanted::default() }, Some(Key::PfNames)),
            (Wanted { pf_names: texts(&["pf0#0#1", "pf1"]), ..Wanted::default() }, None),
            (Wanted { root_devices: texts(&["3b:00.0"]), ..Wanted::default() }, Some(Key::RootDevices)),
            (Wanted { root_devices: texts(&["0000:3B:00.0#1"]), ..Wanted::default() }, None),
            (Wanted { ddp_profiles: texts(&[""]), ..Wanted::default() }, Some(Key::DdpProfiles)),
            (Wanted { vdpa_type: "vdpa".into(), ..Wanted::default() }, Some(Key::VdpaType)),
            (Wanted { vdpa_type: "vhost".into(), ..Wanted::default() }, None),
            (
                Wanted { p_keys: texts(&["0x7fff"]), link_types: texts(&["ether"]), ..Wanted::default() },
                Some(Key::PKeys),
            ),
            (Wanted { p_keys: texts(&["0x7fff"]), ..Wanted::default() }, None),
            (Wanted { p_keys: texts(&["0x7FFF", "7fff", "0x7ff"]), ..Wanted::default() }, Some(Key::PKeys)),
            (Wanted { p_keys: texts(&["0x7FFF", "0x7fff"]), ..Wanted::default() }, None),
            (Wanted { link_types: texts(&["Ether", "ethernet"]), ..Wanted::default() }, Some(Key::LinkTypes)),
            (Wanted { link_types: texts(&["Ether", "infiniband"]), ..Wanted::default() }, None),
            (Wanted { link_types: texts(&[""]), ..Wanted::default() }, None),
            (Wanted { link_types: texts(&["unknown7"]), ..Wanted::default() }, None),
            (Wanted::default(), None),
        ];
        for (wanted, key) in cases {
            assert_eq!(selector(wanted.clone()).impossible(), key, "{wanted:?}");
        }
    }

    #[test]
    fn one_takes_all_of_another() {
        let intel = selector(Wanted { vendors: texts(&["8086", "15b3"]), ..Wanted::default() });
        let narrow = selector(Wanted {
            vendors: texts(&["8086"]),
            pf_names: texts(&["pf0#1-2"]),
            is_rdma: true,
            ..Wanted::default()
        });
        assert!(intel.covers(&narrow) && !narrow.covers(&intel));
        assert!(selector(Wanted::default()).covers(&intel));
        let range = |text: &str| selector(Wanted { pf_names: texts(&[text]), ..Wanted::default() });
        assert!(range("pf0").covers(&range("PF0#3")));
        assert!(range("pf0#0-3,5").covers(&range("pf0#1,2-3")));
        assert!(!range("pf0#0-3").covers(&range("pf0#2-4")));
        assert!(!range("pf0#0-3").covers(&range("pf1#2")));
        assert!(!range("pf0#0-3").covers(&range("pf0")));
    }
}
