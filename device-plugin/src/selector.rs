//! Which devices a selector accepts, and which of its keys refuses one first.
//! It must not read anything, and not know of pools: one selector and one device, nothing else.

use std::fmt;

use pci::{ParseAddressError, PciAddress};

use crate::inventory::Device;

mod ranged;

pub use ranged::RangeError;
use ranged::Ranged;

/// A selector object, checked. Every key that is set must accept a device; a key accepts what any of its entries does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    vendors: OneOf<String>,
    devices: OneOf<String>,
    drivers: OneOf<String>,
    pci_addresses: OneOf<PciAddress>,
    acpi_indexes: OneOf<String>,
    pf_names: Ranged,
    root_devices: Ranged,
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
    /// PF network devices, each with VF numbers if need be: `ens1f0#0-3,7`.
    pub pf_names: Vec<String>,
    /// PF addresses, each with VF numbers if need be.
    pub root_devices: Vec<String>,
}

/// What selects nothing, and is most likely not meant so.
#[derive(Clone, Debug, Default)]
pub struct Oddities {
    /// Entries of `pciAddresses` that no function can have.
    pub addresses: Vec<ParseAddressError>,
    /// Entries that end at something unreadable, with their key.
    pub ranges: Vec<(Key, RangeError)>,
}

/// The keys, in the order in which they are asked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// `vendors`.
    Vendors,
    /// `devices`.
    Devices,
    /// `drivers`.
    Drivers,
    /// `pciAddresses`.
    PciAddresses,
    /// `acpiIndexes`.
    AcpiIndexes,
    /// `pfNames`.
    PfNames,
    /// `rootDevices`.
    RootDevices,
}

/// A key that refused a device.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Refusal {
    /// The key.
    pub key: Key,
    /// What the device has.
    pub found: String,
    /// What the key wants.
    pub wanted: String,
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
                Err(error) => oddities.addresses.push(error),
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
            pf_names,
            root_devices,
        };
        (selector, oddities)
    }

    /// True where every key accepts the device.
    pub fn accepts(&self, device: &Device) -> bool {
        self.refused_by(device).is_none()
    }

    /// The first key that refuses the device.
    pub fn refused_by(&self, device: &Device) -> Option<Key> {
        let function = &device.function;
        let index = function.vf_index();
        if !self.vendors.accepts(Some(&function.vendor)) {
            Some(Key::Vendors)
        } else if !self.devices.accepts(Some(&function.device)) {
            Some(Key::Devices)
        } else if !self.drivers.accepts(function.driver.as_ref()) {
            Some(Key::Drivers)
        } else if !self.pci_addresses.accepts(Some(&function.address)) {
            Some(Key::PciAddresses)
        } else if !self.acpi_indexes.accepts(function.acpi_index.as_ref()) {
            Some(Key::AcpiIndexes)
        } else if !self.pf_names.accepts(device.pf_name.as_deref(), index) {
            Some(Key::PfNames)
        } else if !self.root_devices.accepts_address(function.pf(), index) {
            Some(Key::RootDevices)
        } else {
            None
        }
    }

    /// As [`Selector::refused_by`], in words.
    pub fn refusal(&self, device: &Device) -> Option<Refusal> {
        let key = self.refused_by(device)?;
        let function = &device.function;
        let below = |pf: Option<String>| match (pf, function.vf_index()) {
            (Some(pf), Some(index)) => format!("{pf}#{index}"),
            (Some(pf), None) => pf,
            (None, _) => "no PF".to_owned(),
        };
        let (found, wanted) = match key {
            Key::Vendors => (function.vendor.clone(), self.vendors.to_string()),
            Key::Devices => (function.device.clone(), self.devices.to_string()),
            Key::Drivers => (name(function.driver.as_ref()), self.drivers.to_string()),
            Key::PciAddresses => (function.address.to_string(), self.pci_addresses.to_string()),
            Key::AcpiIndexes => (name(function.acpi_index.as_ref()), self.acpi_indexes.to_string()),
            Key::PfNames => (below(device.pf_name.clone()), self.pf_names.to_string()),
            Key::RootDevices => {
                (below(function.pf().map(|pf| pf.to_string())), self.root_devices.to_string())
            }
        };
        Some(Refusal { key, found, wanted })
    }
}

fn name(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "none".to_owned())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vendors => "vendors",
            Self::Devices => "devices",
            Self::Drivers => "drivers",
            Self::PciAddresses => "pciAddresses",
            Self::AcpiIndexes => "acpiIndexes",
            Self::PfNames => "pfNames",
            Self::RootDevices => "rootDevices",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, wanted {}", self.key, self.found, self.wanted)
    }
}

/// A list of which one must match; without a list everything does.
#[derive(Clone, Debug, Eq, PartialEq)]
struct OneOf<T>(Option<Vec<T>>);

impl<T> Default for OneOf<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Ord> OneOf<T> {
    /// `constrained` lists accept what is in them, be they empty; others accept everything.
    fn new(mut list: Vec<T>, constrained: bool) -> Self {
        list.sort_unstable();
        Self(constrained.then_some(list))
    }

    fn accepts(&self, found: Option<&T>) -> bool {
        let Self(Some(list)) = self else { return true };
        found.is_some_and(|found| list.binary_search(found).is_ok())
    }
}

impl<T: Ord> From<Vec<T>> for OneOf<T> {
    fn from(list: Vec<T>) -> Self {
        let constrained = !list.is_empty();
        Self::new(list, constrained)
    }
}

impl<T: fmt::Display> fmt::Display for OneOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let Self(Some(list)) = self else { return f.write_str("anything") };
        if list.is_empty() {
            return f.write_str("nothing that there is");
        }
        for (index, item) in list.iter().take(SHOWN).enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { " or " })?;
        }
        if list.len() > SHOWN { write!(f, " or {} more", list.len() - SHOWN) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
