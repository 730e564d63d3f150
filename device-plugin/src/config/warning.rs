//! What is odd in a configuration and does no harm: the file is used, and the operator is told.
//! It must not refuse anything.

use crate::selector::{Key, RangeError, Selector, Wanted};

use super::keys;
use super::wire::{self, Unknown};

/// One oddity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Warning {
    /// No such key.
    #[error("{path}: no such key; it is passed over{}", meant(*nearest))]
    UnknownKey {
        /// Where.
        path: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// A key that other device types have.
    #[error("{path}: this device type has no such selector; it is passed over")]
    NotForType {
        /// Where.
        path: String,
    },
    /// `selectors` is missing or null.
    #[error("{path} has no selectors: it takes every function of its type; write {{}} if that is meant")]
    NoSelectors {
        /// The pool's place.
        path: String,
    },
    /// An address that no function can have.
    #[error("{path}: {source}; it selects nothing{}", in_full(short.as_deref()))]
    Address {
        /// Where.
        path: String,
        /// What is wrong.
        source: pci::ParseAddressError,
        /// The address as it would be written, where it can be told.
        short: Option<String>,
    },
    /// An id that no function can have.
    #[error("{path}: {found:?} selects nothing; wanted four lower-case hexadecimal digits, such as 8086{}", meant(instead.as_deref()))]
    Id {
        /// Where.
        path: String,
        /// What it says.
        found: String,
        /// What may have been meant.
        instead: Option<String>,
    },
    /// A range that cannot be read to its end.
    #[error("{path}: {source}")]
    Range {
        /// Where.
        path: String,
        /// What is wrong.
        source: RangeError,
    },
    /// Neither `virtio` nor `vhost`.
    #[error("{path}.vdpaType is {found:?}, which selects nothing; wanted virtio or vhost")]
    VdpaType {
        /// The selector's place.
        path: String,
        /// What it says.
        found: String,
    },
}

fn meant(instead: Option<&str>) -> String {
    instead.map(|instead| format!("; is {instead} meant?")).unwrap_or_default()
}

fn in_full(address: Option<&str>) -> String {
    address.map(|address| format!("; write {address}")).unwrap_or_default()
}

impl Warning {
    pub(super) fn unknown(Unknown { path, key }: Unknown, known: &[&'static str]) -> Self {
        Self::UnknownKey { path, nearest: keys::nearest(&key, known) }
    }
}

/// The selector, with what is odd about it put aside.
pub(super) fn selector(wire: wire::Selector, warnings: &mut Vec<Warning>) -> Selector {
    let path = wire.path;
    let known = keys::SELECTOR.map(|(key, _)| key);
    warnings.extend(wire.unknown.into_iter().map(|key| Warning::unknown(key, &known)));
    warnings.extend(wire.foreign.into_iter().map(|path| Warning::NotForType { path }));
    let wanted = Wanted {
        vendors: wire.vendors,
        devices: wire.devices,
        drivers: wire.drivers,
        pci_addresses: wire.pci_addresses,
        acpi_indexes: wire.acpi_indexes,
        aux_types: wire.aux_types,
        pf_names: wire.pf_names,
        root_devices: wire.root_devices,
        link_types: wire.link_types,
        ddp_profiles: wire.ddp_profiles,
        p_keys: wire.p_keys,
        is_rdma: wire.is_rdma,
        need_vhost_net: wire.need_vhost_net,
        vdpa_type: wire.vdpa_type,
    };
    ids(&wanted, &path, warnings);
    roots(&wanted, &path, warnings);
    if !["", "virtio", "vhost"].contains(&wanted.vdpa_type.as_str()) {
        warnings.push(Warning::VdpaType { path: path.clone(), found: wanted.vdpa_type.clone() });
    }
    let (selector, oddities) = Selector::new(wanted);
    warnings.extend(oddities.addresses.into_iter().map(|(text, source)| Warning::Address {
        path: format!("{path}.{}", Key::PciAddresses),
        source,
        short: in_kernels_form(&text),
    }));
    warnings.extend(
        oddities
            .ranges
            .into_iter()
            .map(|(key, source)| Warning::Range { path: format!("{path}.{key}"), source }),
    );
    selector
}

fn ids(wanted: &Wanted, path: &str, warnings: &mut Vec<Warning>) {
    let hex = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (key, list) in [(Key::Vendors, &wanted.vendors), (Key::Devices, &wanted.devices)] {
        for found in list {
            let digits = found.to_ascii_lowercase();
            let digits = digits.strip_prefix("0x").unwrap_or(&digits);
            if !hex(found) || found != digits {
                let instead = hex(digits).then(|| digits.to_owned());
                warnings.push(Warning::Id { path: format!("{path}.{key}"), found: found.clone(), instead });
            }
        }
    }
}

/// Capitals do not matter in the address of a PF; a domain does.
fn roots(wanted: &Wanted, path: &str, warnings: &mut Vec<Warning>) {
    for text in &wanted.root_devices {
        let address = text.split('#').next().unwrap_or_default();
        if let Err(source) = address.to_lowercase().parse::<pci::PciAddress>() {
            let (path, short) = (format!("{path}.{}", Key::RootDevices), in_kernels_form(address));
            warnings.push(Warning::Address { path, source, short });
        }
    }
}

/// What an address would be in lower case and with its domain.
fn in_kernels_form(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    [lower.clone(), format!("0000:{lower}")].into_iter().find(|text| text.parse::<pci::PciAddress>().is_ok())
}
