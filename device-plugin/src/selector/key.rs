//! The keys of a selector that choose, in the order in which they are asked.
//! It must not know what they hold.

use std::fmt;

use serde::{Serialize, Serializer};

/// A key that can refuse a device. `needVhostNet` cannot.
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
    /// `auxTypes`.
    AuxTypes,
    /// `pfNames`.
    PfNames,
    /// `rootDevices`.
    RootDevices,
    /// `linkTypes`.
    LinkTypes,
    /// `ddpProfiles`.
    DdpProfiles,
    /// `pKeys`.
    PKeys,
    /// `isRdma`.
    IsRdma,
    /// `vdpaType`.
    VdpaType,
}

impl Key {
    /// All of them, in their order.
    pub const ALL: [Self; 13] = [
        Self::Vendors,
        Self::Devices,
        Self::Drivers,
        Self::PciAddresses,
        Self::AcpiIndexes,
        Self::AuxTypes,
        Self::PfNames,
        Self::RootDevices,
        Self::LinkTypes,
        Self::DdpProfiles,
        Self::PKeys,
        Self::IsRdma,
        Self::VdpaType,
    ];

    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vendors => "vendors",
            Self::Devices => "devices",
            Self::Drivers => "drivers",
            Self::PciAddresses => "pciAddresses",
            Self::AcpiIndexes => "acpiIndexes",
            Self::AuxTypes => "auxTypes",
            Self::PfNames => "pfNames",
            Self::RootDevices => "rootDevices",
            Self::LinkTypes => "linkTypes",
            Self::DdpProfiles => "ddpProfiles",
            Self::PKeys => "pKeys",
            Self::IsRdma => "isRdma",
            Self::VdpaType => "vdpaType",
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
