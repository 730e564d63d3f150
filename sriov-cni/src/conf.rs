//! The network configuration of `sriov`, parsed once into what can be done.
//! It must not look at the node.

use cni::{Args, Request, fold_keys};
use netlink::{LinkState, MacAddr, ParseMacError, VlanError, VlanId, VlanProto};
use pci::{ParseAddressError, PciAddress};
use serde::Deserialize;
use serde_json::Value;

/// A configuration that makes sense. `None` leaves the attribute as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Conf {
    pub(crate) device: PciAddress,
    pub(crate) vlan: Option<Vlan>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) rate: Option<Rate>,
    pub(crate) spoofchk: Option<bool>,
    pub(crate) trust: Option<bool>,
    pub(crate) link_state: Option<LinkState>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Vlan {
    pub(crate) id: VlanId,
    pub(crate) qos: u8,
    pub(crate) proto: VlanProto,
}

/// Mbit/s; 0 is no guarantee and no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// A configuration that does not make sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfError {
    #[error("VF pci addr is required")]
    NoDevice,
    #[error("{0}")]
    Device(#[from] ParseAddressError),
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
    #[error("vlan id must be configured to set vlan QoS to a non-nil value")]
    QosWithoutVlan,
    #[error("vlan id must be configured to set vlan proto to a non-nil value")]
    ProtoWithoutVlan,
    #[error(transparent)]
    Vlan(#[from] VlanError),
    #[error("vlan QoS PCP {found} invalid: value must be in the range 0-7")]
    Qos { found: i64 },
    #[error("non-zero vlan id must be configured to set vlan QoS to a non-zero value")]
    QosOnVlanZero,
    #[error("vlan Proto {found} invalid: value must be '802.1Q' or '802.1ad'")]
    Proto { found: String },
    #[error("non-zero vlan id must be configured to set vlan proto 802.1ad")]
    ProtoOnVlanZero,
    #[error("invalid link_state value: {found}")]
    LinkState { found: String },
    #[error(transparent)]
    Mac(#[from] ParseMacError),
    #[error("MAC address {found} cannot be a station's: wanted six bytes, neither zero nor multicast")]
    NotUnicast { found: MacAddr },
}

/// The keys as they come: everything optional, nothing checked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
    vlan: Option<i64>,
    #[serde(rename = "vlanQoS")]
    vlan_qos: Option<i64>,
    #[serde(rename = "vlanProto")]
    vlan_proto: Option<String>,
    mac: Option<String>,
    spoofchk: Option<String>,
    trust: Option<String>,
    link_state: Option<String>,
    min_tx_rate: Option<u32>,
    max_tx_rate: Option<u32>,
    #[serde(rename = "runtimeConfig")]
    runtime: Option<Runtime>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Runtime {
    mac: Option<String>,
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
}

const KEYS: [&str; 11] = [
    "deviceID",
    "vlan",
    "vlanQoS",
    "vlanProto",
    "mac",
    "spoofchk",
    "trust",
    "link_state",
    "min_tx_rate",
    "max_tx_rate",
    "runtimeConfig",
];

impl Conf {
    /// Reads the request's configuration; `args` may hold a MAC.
    pub(crate) fn parse(request: &Request, args: &Args) -> Result<Self, ConfError> {
        let mut raw = request.conf.raw.clone();
        fold_keys(&mut raw, &KEYS);
        serde_json::from_value::<Wire>(Value::Object(raw))?.validate(args.get("MAC"))
    }
}

impl Wire {
    fn validate(self, mac_in_args: Option<&str>) -> Result<Conf, ConfError> {
        let vlan = self.vlan()?;
        let runtime = self.runtime.unwrap_or_default();
        let device = filled(self.device_id).or(filled(runtime.device_id)).ok_or(ConfError::NoDevice)?;
        // The more specific wins: the pod's annotation over the arguments over the network.
        let mac = filled(runtime.mac).or(filled(mac_in_args.map(str::to_owned))).or(filled(self.mac));
        let mac = mac.map(|text| text.parse::<MacAddr>()).transpose()?;
        if let Some(found) = mac.clone().filter(|mac| !mac.is_unicast()) {
            return Err(ConfError::NotUnicast { found });
        }
        Ok(Conf {
            device: device.parse()?,
            vlan,
            mac,
            rate: (self.min_tx_rate.is_some() || self.max_tx_rate.is_some())
                .then(|| Rate { min: self.min_tx_rate.unwrap_or(0), max: self.max_tx_rate.unwrap_or(0) }),
            spoofchk: switch(self.spoofchk),
            trust: switch(self.trust),
            link_state: filled(self.link_state).map(link_state).transpose()?,
        })
    }

    fn vlan(&self) -> Result<Option<Vlan>, ConfError> {
        let Some(number) = self.vlan else {
            return match (&self.vlan_qos, &self.vlan_proto) {
                (Some(_), _) => Err(ConfError::QosWithoutVlan),
                (None, Some(_)) => Err(ConfError::ProtoWithoutVlan),
                (None, None) => Ok(None),
            };
        };
        let id = VlanId::try_from(number)?;
        let found = self.vlan_qos.unwrap_or(0);
        let qos = u8::try_from(found).ok().filter(|qos| *qos <= 7).ok_or(ConfError::Qos { found })?;
        if qos > 0 && id.is_untagged() {
            return Err(ConfError::QosOnVlanZero);
        }
        let proto = self.vlan_proto.as_deref().map_or(Ok(VlanProto::Q), vlan_proto)?;
        if proto == VlanProto::Ad && id.is_untagged() {
            return Err(ConfError::ProtoOnVlanZero);
        }
        Ok(Some(Vlan { id, qos, proto }))
    }
}

/// An empty text is an absent one, as in Go.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// `on` is on; whatever else is there is off.
fn switch(text: Option<String>) -> Option<bool> {
    filled(text).map(|text| text == "on")
}

fn vlan_proto(text: &str) -> Result<VlanProto, ConfError> {
    match text.to_ascii_lowercase().as_str() {
        "802.1q" => Ok(VlanProto::Q),
        "802.1ad" => Ok(VlanProto::Ad),
        _ => Err(ConfError::Proto { found: text.to_owned() }),
    }
}

fn link_state(text: String) -> Result<LinkState, ConfError> {
    match text.as_str() {
        "auto" => Ok(LinkState::Auto),
        "enable" => Ok(LinkState::Enable),
        "disable" => Ok(LinkState::Disable),
        _ => Err(ConfError::LinkState { found: text }),
    }
}

#[cfg(test)]
mod tests;
