//! Why a selector refuses a device, in words: what was found and what was wanted.
//! It must not decide anything.

use std::fmt;

use pci::PciAddress;
use serde::Serialize;

use crate::inventory::Device;

use super::{Key, Selector};

/// A key that refused a device.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Refusal {
    /// The key.
    pub key: Key,
    /// What the device has.
    pub found: String,
    /// What the key wants.
    pub wanted: String,
}

impl Selector {
    /// As [`Selector::refused_by`], in words.
    pub fn refusal(&self, device: &Device) -> Option<Refusal> {
        let key = self.refused_by(device)?;
        Some(Refusal { key, found: found(key, device), wanted: self.wanted(key) })
    }

    fn wanted(&self, key: Key) -> String {
        match key {
            Key::Vendors => self.vendors.to_string(),
            Key::Devices => self.devices.to_string(),
            Key::Drivers => self.drivers.to_string(),
            Key::PciAddresses => self.pci_addresses.to_string(),
            Key::AcpiIndexes => self.acpi_indexes.to_string(),
            Key::AuxTypes => self.aux_types.to_string(),
            Key::PfNames => self.pf_names.to_string(),
            Key::RootDevices => self.root_devices.to_string(),
            Key::LinkTypes => self.link_types.to_string(),
            Key::DdpProfiles => self.ddp_profiles.to_string(),
            Key::PKeys => self.p_keys.to_string(),
            Key::IsRdma => "an RDMA device".to_owned(),
            Key::VdpaType => self.vdpa_type.clone().unwrap_or_default(),
        }
    }
}

fn found(key: Key, device: &Device) -> String {
    let function = &device.function;
    match key {
        Key::Vendors => function.vendor.clone(),
        Key::Devices => function.device.clone(),
        Key::Drivers => or_none(function.driver.as_deref()),
        Key::PciAddresses => function.address.to_string(),
        Key::AcpiIndexes => or_none(function.acpi_index.as_deref()),
        Key::AuxTypes => or_none(device.aux_type()),
        Key::PfNames => below(device.pf_name.clone(), device),
        Key::RootDevices => below(device.root().as_ref().map(PciAddress::to_string), device),
        Key::LinkTypes => or_none(device.link_type.as_deref()),
        Key::DdpProfiles => or_none(device.ddp_profile.as_deref()),
        Key::PKeys => or_none(device.pkey.as_deref()),
        Key::IsRdma => "none".to_owned(),
        Key::VdpaType => or_none(device.vdpa_type()),
    }
}

fn below(pf: Option<String>, device: &Device) -> String {
    match (pf, device.index()) {
        (Some(pf), Some(index)) => format!("{pf}#{index}"),
        (Some(pf), None) => pf,
        (None, _) => "no PF".to_owned(),
    }
}

fn or_none(text: Option<&str>) -> String {
    text.unwrap_or("none").to_owned()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, wanted {}", self.key, self.found, self.wanted)
    }
}
