//! Which devices a selector accepts, and which of its keys refuses one first.
//! It must not read anything, and not know of pools: one selector and one device, nothing else.

use pci::{ParseAddressError, PciAddress};

use crate::inventory::Device;

mod covers;
mod key;
mod one_of;
mod ranged;
mod refusal;

pub use key::Key;
use one_of::OneOf;
pub use ranged::RangeError;
use ranged::Ranged;
pub use refusal::Refusal;

/// A selector object, checked. Every key that is set must accept a device; a key accepts what any of its entries does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    vendors: OneOf<String>,
    devices: OneOf<String>,
    drivers: OneOf<String>,
    pci_addresses: OneOf<PciAddress>,
    acpi_indexes: OneOf<String>,
    aux_types: OneOf<String>,
    pf_names: Ranged,
    root_devices: Ranged,
    link_types: OneOf<String>,
    ddp_profiles: OneOf<String>,
    p_keys: OneOf<String>,
    is_rdma: bool,
    need_vhost_net: bool,
    vdpa_type: Option<String>,
}

/// What a selector's keys say, as written. An empty list asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Four lower-case hexadecimal digits each.
    pub vendors: Vec<String>,
    /// Four lower-case hexadecimal digits each.
    pub devices: Vec<String>,
    /// Names of drivers.
    pub drivers: Vec<String>,
    /// In the kernel's full form.
    pub pci_addresses: Vec<String>,
    /// What the firmware numbers them.
    pub acpi_indexes: Vec<String>,
    /// Kinds of auxiliary device.
    pub aux_types: Vec<String>,
    /// PF network devices, each with VF numbers if need be: `ens1f0#0-3,7`.
    pub pf_names: Vec<String>,
    /// PF addresses, each with VF numbers if need be.
    pub root_devices: Vec<String>,
    /// `ether`, `infiniband`.
    pub link_types: Vec<String>,
    /// Names of dynamic device personalization profiles.
    pub ddp_profiles: Vec<String>,
    /// As the kernel prints them, `0x7fff`.
    pub p_keys: Vec<String>,
    /// RDMA devices alone, which come with their nodes.
    pub is_rdma: bool,
    /// With `/dev/vhost-net`.
    pub need_vhost_net: bool,
    /// `virtio` or `vhost`; empty for functions that need carry no vDPA device.
    pub vdpa_type: String,
}

/// What selects nothing, and is most likely not meant so.
#[derive(Clone, Debug, Default)]
pub struct Oddities {
    /// Entries of `pciAddresses` that no function can have, as written.
    pub addresses: Vec<(String, ParseAddressError)>,
    /// Entries that end at something unreadable, with their key.
    pub ranges: Vec<(Key, RangeError)>,
}

/// What a device that joins by a selector comes with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extras {
    /// RDMA nodes.
    pub rdma: bool,
    /// `/dev/vhost-net` and `/dev/net/tun`.
    pub vhost_net: bool,
    /// The vDPA device's node.
    pub vdpa: bool,
}

impl Selector {
    /// Takes what is written. Nothing in it is an error: what cannot be read selects nothing, as it does in the Go plugin.
    pub fn new(wanted: Wanted) -> (Self, Oddities) {
        let mut oddities = Oddities::default();
        let mut addresses = Vec::new();
        let pci_constrained = !wanted.pci_addresses.is_empty();
        for text in wanted.pci_addresses {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(error) => oddities.addresses.push((text, error)),
            }
        }
        let mut ranged = |key, texts: Vec<String>| {
            let (ranged, errors) = Ranged::parse(texts);
            oddities.ranges.extend(errors.into_iter().map(|error| (key, error)));
            ranged
        };
        let pf_names = ranged(Key::PfNames, wanted.pf_names);
        let root_devices = ranged(Key::RootDevices, wanted.root_devices);
        let selector = Self {
            vendors: wanted.vendors.into(),
            devices: wanted.devices.into(),
            drivers: wanted.drivers.into(),
            pci_addresses: OneOf::new(addresses, pci_constrained),
            acpi_indexes: wanted.acpi_indexes.into(),
            aux_types: wanted.aux_types.into(),
            pf_names,
            root_devices,
            link_types: wanted.link_types.into(),
            ddp_profiles: wanted.ddp_profiles.into(),
            p_keys: wanted.p_keys.into(),
            is_rdma: wanted.is_rdma,
            need_vhost_net: wanted.need_vhost_net,
            vdpa_type: Some(wanted.vdpa_type).filter(|kind| !kind.is_empty()),
        };
        (selector, oddities)
    }

    /// True where every key accepts the device.
    pub fn accepts(&self, device: &Device) -> bool {
        self.refused_by(device).is_none()
    }

    /// The first key that refuses the device.
    pub fn refused_by(&self, device: &Device) -> Option<Key> {
        Key::ALL.into_iter().find(|key| !self.key_accepts(*key, device))
    }

    /// True where every key but those behind and including `key` accepts the device: whether what costs much to know is
    /// worth knowing.
    pub fn accepts_before(&self, key: Key, device: &Device) -> bool {
        self.refused_by(device).is_none_or(|refusing| refusing >= key)
    }

    /// What a device that joins by this selector comes with.
    pub fn extras(&self) -> Extras {
        Extras { rdma: self.is_rdma, vhost_net: self.need_vhost_net, vdpa: self.vdpa_type.is_some() }
    }

    /// Whether the key is set.
    pub fn asks_for(&self, key: Key) -> bool {
        match key {
            Key::Vendors => self.vendors.is_set(),
            Key::Devices => self.devices.is_set(),
            Key::Drivers => self.drivers.is_set(),
            Key::PciAddresses => self.pci_addresses.is_set(),
            Key::AcpiIndexes => self.acpi_indexes.is_set(),
            Key::AuxTypes => self.aux_types.is_set(),
            Key::PfNames => self.pf_names.is_set(),
            Key::RootDevices => self.root_devices.is_set(),
            Key::LinkTypes => self.link_types.is_set(),
            Key::DdpProfiles => self.ddp_profiles.is_set(),
            Key::PKeys => self.p_keys.is_set(),
            Key::IsRdma => self.is_rdma,
            Key::VdpaType => self.vdpa_type.is_some(),
        }
    }

    fn key_accepts(&self, key: Key, device: &Device) -> bool {
        let function = &device.function;
        match key {
            Key::Vendors => self.vendors.accepts(Some(function.vendor.as_str())),
            Key::Devices => self.devices.accepts(Some(function.device.as_str())),
            Key::Drivers => self.drivers.accepts(function.driver.as_deref()),
            Key::PciAddresses => self.pci_addresses.accepts(Some(&function.address)),
            Key::AcpiIndexes => self.acpi_indexes.accepts(function.acpi_index.as_deref()),
            Key::AuxTypes => self.aux_types.accepts(device.aux_type()),
            Key::PfNames => self.pf_names.accepts(device.pf_name.as_deref(), device.index()),
            Key::RootDevices => self.root_devices.accepts_address(device.root(), device.index()),
            Key::LinkTypes => self.link_types.accepts(Some(device.link_type.as_deref().unwrap_or_default())),
            Key::DdpProfiles => {
                self.ddp_profiles.accepts(device.ddp_profile.as_deref().filter(|name| !name.is_empty()))
            }
            Key::PKeys => self.p_keys.accepts(device.pkey.as_deref()),
            Key::IsRdma => !self.is_rdma || device.is_rdma(),
            Key::VdpaType => self.vdpa_type.is_none() || self.vdpa_type.as_deref() == device.vdpa_type(),
        }
    }
}

#[cfg(test)]
mod tests;
