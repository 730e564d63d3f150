//! What is wrong with a network configuration, with the texts that people match on.
//! It must not say what is wrong with the node.

use attachment::{TrunkError, VlanSet};
use netlink::{MacAddr, ParseIfNameError, ParseMacError, VlanError};
use pci::ParseAddressError;

use super::warning::Warning;

/// A configuration that does not make sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfError {
    #[error("VF pci addr is required")]
    NoDevice,
    #[error("failed to get VF information: \"{0}\"")]
    Device(#[from] ParseAddressError),
    #[error("the VF is not named alike: {}; all that are there must be the same", join(found))]
    Devices { found: Vec<(&'static str, String)> },
    #[error("the PF is not named alike: if0 {if0}, master {master}; leave one of them out")]
    Pfs { if0: String, master: String },
    #[error("the PF {found:?}: {source}")]
    PfName { found: String, source: ParseIfNameError },
    #[error("{key}: {source}")]
    Shape { key: String, source: serde_json::Error },
    #[error("{key}: wanted an object")]
    NoObject { key: &'static str },
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
    #[error("vlanTrunk {found}: wanted VLANs and ranges of 1 to 4094 such as \"100-200,300\"")]
    TrunkForm { found: String },
    #[error(
        "vlanTrunk and a vlan above 0 exclude each other: a PF puts one tag on a VF's frames, or lets it tag them"
    )]
    TrunkWithVlan,
    #[error(
        "vlanTrunk {found} cannot be kept: {source}; Linux gives a VF one VLAN or none (IFLA_VF_VLAN_LIST takes one entry): in \
         switchdev mode a bridge that filters VLANs keeps such a list, and without vlan the VF may use any tag"
    )]
    Trunk { found: VlanSet, source: TrunkError },
    #[error("invalid link_state value: {found}")]
    LinkState { found: String },
    #[error(transparent)]
    Mac(#[from] ParseMacError),
    #[error("MAC address {found} cannot be a station's: wanted six bytes, neither zero nor multicast")]
    NotUnicast { found: MacAddr },
    #[error("mtu {found} invalid: wanted 68 or more")]
    Mtu { found: u32 },
    #[error("mtu {mtu} is above the {found} of the PF {pf}; raise the PF's first")]
    MtuAbovePf { mtu: u32, pf: String, found: u32 },
    #[error(
        "driver {found:?} cannot be bound for a pod: wanted \"vfio-pci\", or no driver key to take the VF as it is"
    )]
    Driver { found: String },
    #[error(
        "allmulti needs \"trust\": \"on\": a PF passes no foreign multicast to a VF that it does not trust"
    )]
    AllmultiWithoutTrust,
    #[error("\"if0name\" {found} belongs to another interface of the pod: not eth0, eth1 or lo")]
    If0Name { found: String },
    #[error("if0name: {0}")]
    IfName(#[from] ParseIfNameError),
    #[error("strict: {}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Strict { mistakes: Vec<Warning> },
}

fn join(found: &[(&'static str, String)]) -> String {
    found.iter().map(|(way, device)| format!("{way} {device}")).collect::<Vec<_>>().join(", ")
}
