//! What is odd in a configuration and does no harm: the file is used, and the operator is told.
//! It must not refuse anything.

use crate::inventory::Kind;
use crate::selector::{RangeError, Selector, Wanted};

use super::wire;

/// One oddity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Warning {
    /// No such key.
    #[error("{path}: no such key; it is passed over")]
    UnknownKey {
        /// Where.
        path: String,
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
    #[error("{path}: {source}; it selects nothing")]
    Address {
        /// Where.
        path: String,
        /// What is wrong.
        source: pci::ParseAddressError,
    },
    /// A range that cannot be read to its end.
    #[error("{path}: {source}")]
    Range {
        /// Where.
        path: String,
        /// What is wrong.
        source: RangeError,
    },
}

/// The selector for a kind of function, with what is odd about it put aside.
pub(super) fn selector(wire: wire::Selector, kind: Kind, warnings: &mut Vec<Warning>) -> Selector {
    let path = wire.path.clone();
    warnings.extend(wire.unknown.into_iter().map(|path| Warning::UnknownKey { path }));
    let mut wanted = Wanted {
        vendors: wire.vendors,
        devices: wire.devices,
        drivers: wire.drivers,
        pci_addresses: wire.pci_addresses,
        acpi_indexes: wire.acpi_indexes,
        pf_names: wire.pf_names,
        root_devices: wire.root_devices,
    };
    if kind == Kind::Network && !wire.aux_types.is_empty() {
        warnings.push(Warning::NotForType { path: format!("{path}.auxTypes") });
    }
    if kind == Kind::Accelerator {
        let foreign = [
            ("acpiIndexes", &mut wanted.acpi_indexes),
            ("pfNames", &mut wanted.pf_names),
            ("rootDevices", &mut wanted.root_devices),
        ];
        for (key, list) in foreign {
            if !std::mem::take(list).is_empty() {
                warnings.push(Warning::NotForType { path: format!("{path}.{key}") });
            }
        }
    }
    let (selector, oddities) = Selector::new(wanted);
    warnings.extend(
        oddities
            .addresses
            .into_iter()
            .map(|source| Warning::Address { path: format!("{path}.pciAddresses"), source }),
    );
    warnings.extend(
        oddities
            .ranges
            .into_iter()
            .map(|(key, source)| Warning::Range { path: format!("{path}.{key}"), source }),
    );
    selector
}
