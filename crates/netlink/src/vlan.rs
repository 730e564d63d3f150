//! The VLAN that a PF gives to a VF: its number and its protocol.
//! It must not know which VF.

use serde::{Deserialize, Serialize};

/// A VLAN number from 0 to 4094; 0 means untagged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct VlanId(u16);

/// A number that is no VLAN.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("vlan id {found} invalid: value must be in the range 0-4094")]
pub struct VlanError {
    found: i64,
}

impl VlanId {
    /// True for 0, which clears a VF's tag.
    pub fn is_untagged(self) -> bool {
        self.0 == 0
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.into()
    }
}

impl TryFrom<i64> for VlanId {
    type Error = VlanError;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        let id = u16::try_from(number).ok().filter(|id| *id <= 4094);
        id.map(Self).ok_or(VlanError { found: number })
    }
}

impl TryFrom<u32> for VlanId {
    type Error = VlanError;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        i64::from(number).try_into()
    }
}

impl From<VlanId> for u32 {
    fn from(id: VlanId) -> Self {
        id.get()
    }
}

/// The tag's protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum VlanProto {
    /// The customer tag, `0x8100`.
    #[default]
    #[serde(rename = "802.1q")]
    Q,
    /// The service tag of a provider bridge, `0x88a8`.
    #[serde(rename = "802.1ad")]
    Ad,
}

impl std::fmt::Display for VlanProto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Q => "802.1q",
            Self::Ad => "802.1ad",
        })
    }
}
