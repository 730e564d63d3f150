//! What a PF holds for each of its VFs, read and set through the PF's link.
//! It must not touch the VF's own link.

use netlink_packet_core::{Emitable, NLM_F_ACK};
use netlink_packet_route::link::{
    LinkVfInfo, VfInfo, VfInfoLinkState, VfInfoMac, VfInfoRate, VfInfoSpoofCheck, VfInfoTrust, VfInfoVlan,
    VfLinkState, VfVlan, VfVlanInfo, VlanProtocol,
};
use serde::{Deserialize, Serialize};

use crate::attribute::{attributes, nested, onwards, push, word};
use crate::error::Error;
use crate::link::{HEADER_LEN, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, RTM_SETLINK, header};
use crate::mac::MacAddr;
use crate::socket::Netlink;
use crate::vlan::{VlanId, VlanProto};

/// One VF as its PF describes it. `None`: the driver does not say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vf {
    /// The VF's number.
    pub number: u32,
    /// The MAC that the PF holds; all zero where there is none. Whether an administrator or the VF itself set it, no
    /// driver tells.
    pub mac: MacAddr,
    /// The VLAN; 0 means untagged.
    pub vlan: VlanId,
    /// The VLAN's priority, 0 to 7.
    pub qos: u8,
    /// The VLAN's protocol.
    pub proto: VlanProto,
    /// Guaranteed rate in Mbit/s, 0 for none.
    pub min_tx_rate: u32,
    /// Highest rate in Mbit/s, 0 for no limit.
    pub max_tx_rate: u32,
    /// Whether frames with a foreign source are dropped.
    pub spoofchk: Option<bool>,
    /// Whether the VF may do what needs trust, such as promiscuous mode.
    pub trust: Option<bool>,
    /// How the VF sees the link.
    pub link_state: Option<LinkState>,
}

/// How a VF sees its link.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// As the PF's.
    Auto,
    /// Always up.
    Enable,
    /// Always down.
    Disable,
}

/// One attribute to set, alone in its message: the kernel stops at the first it refuses and takes none back
/// (`do_setvfinfo`, net/core/rtnetlink.c), so one at a time is the only way to know what was done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VfAttribute {
    /// The administrative MAC; all zero removes it.
    Mac(MacAddr),
    /// VLAN, priority and protocol.
    Vlan {
        /// The VLAN, 0 to clear.
        vlan: VlanId,
        /// Its priority, 0 to 7.
        qos: u8,
        /// Its protocol.
        proto: VlanProto,
    },
    /// Both rates in Mbit/s.
    Rate {
        /// Guaranteed, 0 for none.
        min: u32,
        /// Highest, 0 for no limit.
        max: u32,
    },
    /// Drop frames with a foreign source.
    Spoofchk(bool),
    /// Trust the VF.
    Trust(bool),
    /// How the VF sees the link.
    LinkState(LinkState),
}

impl Netlink {
    /// All VFs of the PF with that link index, in the kernel's order.
    pub fn vfs(&mut self, pf_index: u32) -> Result<Vec<Vf>, Error> {
        const REQUEST: &str = "list the PF's VFs";
        let mut request = header(pf_index, 0, 0);
        // Without the statistics a VF takes about 200 bytes of the at most 64 KiB that one attribute can hold.
        push(&mut request, IFLA_EXT_MASK, &(RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS).to_ne_bytes());
        let replies = self.ask(REQUEST, RTM_GETLINK, 0, &request)?;
        Ok(replies.first().map(|payload| list(payload)).unwrap_or_default())
    }

    /// The VF of that number.
    pub fn vf(&mut self, pf_index: u32, vf: u32) -> Result<Vf, Error> {
        self.vfs(pf_index)?.into_iter().find(|entry| entry.number == vf).ok_or(Error::NoVf { vf })
    }

    /// Sets one attribute of one VF.
    pub fn set_vf(&mut self, pf_index: u32, vf: u32, attribute: &VfAttribute) -> Result<(), Error> {
        let (request, info) = match attribute {
            VfAttribute::Mac(mac) => ("set VF MAC", VfInfo::Mac(VfInfoMac::new(vf, mac.bytes()))),
            VfAttribute::Vlan { vlan, qos, proto } => {
                return self.set_vlan(pf_index, vf, *vlan, u32::from(*qos), *proto);
            }
            VfAttribute::Rate { min, max } => ("set VF rate", VfInfo::Rate(VfInfoRate::new(vf, *min, *max))),
            VfAttribute::Spoofchk(on) => {
                ("set VF spoofchk", VfInfo::SpoofCheck(VfInfoSpoofCheck::new(vf, *on)))
            }
            VfAttribute::Trust(on) => ("set VF trust", VfInfo::Trust(VfInfoTrust::new(vf, *on))),
            VfAttribute::LinkState(state) => {
                ("set VF link state", VfInfo::LinkState(VfInfoLinkState::new(vf, (*state).into())))
            }
        };
        self.send_vf(pf_index, request, info)
    }

    /// A plain 802.1q tag goes out as the list form first, which alone says the protocol; drivers that know only the old
    /// form get that.
    fn set_vlan(&mut self, pf: u32, vf: u32, vlan: VlanId, qos: u32, proto: VlanProto) -> Result<(), Error> {
        const REQUEST: &str = "set VF VLAN";
        let protocol = match proto {
            VlanProto::Q => VlanProtocol::Ieee8021Q,
            VlanProto::Ad => VlanProtocol::Ieee8021Ad,
        };
        let list = vec![VfVlan::Info(VfVlanInfo::new(vf, vlan.get(), qos, protocol))];
        match self.send_vf(pf, REQUEST, VfInfo::VlanList(list)) {
            Err(error) if error.is_unsupported() && proto == VlanProto::Q => {
                self.send_vf(pf, REQUEST, VfInfo::Vlan(VfInfoVlan::new(vf, vlan.get(), qos)))
            }
            outcome => outcome,
        }
    }

    fn send_vf(&mut self, pf_index: u32, request: &'static str, info: VfInfo) -> Result<(), Error> {
        self.ask(request, RTM_SETLINK, NLM_F_ACK, &set_message(pf_index, info)).map(drop)
    }
}

fn set_message(pf_index: u32, info: VfInfo) -> Vec<u8> {
    let info = LinkVfInfo(vec![info]);
    let mut list = vec![0; info.buffer_len()];
    info.emit(&mut list);
    let mut message = header(pf_index, 0, 0);
    push(&mut message, IFLA_VFINFO_LIST, &list);
    message
}

impl From<LinkState> for VfLinkState {
    fn from(state: LinkState) -> Self {
        match state {
            LinkState::Auto => Self::Auto,
            LinkState::Enable => Self::Enable,
            LinkState::Disable => Self::Disable,
        }
    }
}

// Reading is by hand: the typed form of netlink-packet-route turns "the driver does not say" (all ones) into "on", and
// gives up a whole list for one odd attribute. Numbers are those of include/uapi/linux/if_link.h.
const RTEXT_FILTER_VF: u32 = 1;
const IFLA_NUM_VF: u16 = 21;
const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_VF_INFO: u16 = 1;
const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_VLAN: u16 = 2;
const IFLA_VF_SPOOFCHK: u16 = 4;
const IFLA_VF_LINK_STATE: u16 = 5;
const IFLA_VF_RATE: u16 = 6;
const IFLA_VF_TRUST: u16 = 9;
const IFLA_VF_VLAN_LIST: u16 = 12;
const ETH_P_8021AD: u16 = 0x88a8;

/// The VFs of a link message. A list of 64 KiB and more has only the lower 16 bits of its length in its head
/// (`nla_nest_end`, include/net/netlink.h), so that its end is told by the number of VFs, which the message says before it,
/// and by the first attribute that is no VF.
fn list(payload: &[u8]) -> Vec<Vf> {
    let link = payload.get(HEADER_LEN..).unwrap_or_default();
    let count = nested(link, IFLA_NUM_VF).next().and_then(|count| word(count, 0)?.try_into().ok());
    let infos = attributes(onwards(link, IFLA_VFINFO_LIST)).take(count.unwrap_or(usize::MAX));
    infos.take_while(|(kind, _)| *kind == IFLA_VF_INFO).filter_map(|(_, info)| one(info)).collect()
}

/// One `IFLA_VF_INFO`; `None` without the number, which every attribute of it begins with.
fn one(info: &[u8]) -> Option<Vf> {
    let (_, first) = attributes(info).next()?;
    let mut vf = Vf {
        number: word(first, 0)?,
        mac: MacAddr::zero(),
        vlan: VlanId::default(),
        qos: 0,
        proto: VlanProto::Q,
        min_tx_rate: 0,
        max_tx_rate: 0,
        spoofchk: None,
        trust: None,
        link_state: None,
    };
    for (kind, value) in attributes(info) {
        read(&mut vf, kind, value);
    }
    Some(vf)
}

/// Takes one attribute over. Each value begins with the VF's number, so that what is wanted starts at word 1.
fn read(vf: &mut Vf, kind: u16, value: &[u8]) -> Option<()> {
    match kind {
        IFLA_VF_MAC => vf.mac = MacAddr::from_bytes(value.get(4..10)?)?,
        IFLA_VF_VLAN => {
            (vf.vlan, vf.qos) = (word(value, 1)?.try_into().ok()?, word(value, 2)?.try_into().ok()?);
        }
        IFLA_VF_RATE => (vf.min_tx_rate, vf.max_tx_rate) = (word(value, 1)?, word(value, 2)?),
        IFLA_VF_SPOOFCHK => vf.spoofchk = setting(word(value, 1)?),
        IFLA_VF_TRUST => vf.trust = setting(word(value, 1)?),
        IFLA_VF_LINK_STATE => {
            vf.link_state = match word(value, 1)? {
                0 => Some(LinkState::Auto),
                1 => Some(LinkState::Enable),
                2 => Some(LinkState::Disable),
                _ => None,
            }
        }
        IFLA_VF_VLAN_LIST => {
            let info = attributes(value).next()?.1;
            let proto = u16::from_be_bytes(*info.get(12..)?.first_chunk()?);
            vf.proto = if proto == ETH_P_8021AD { VlanProto::Ad } else { VlanProto::Q };
        }
        _ => {}
    }
    Some(())
}

/// The kernel starts from -1 and lets the driver overwrite it (`rtnl_fill_vfinfo`, net/core/rtnetlink.c).
fn setting(word: u32) -> Option<bool> {
    match word {
        0 => Some(false),
        u32::MAX => None,
        _ => Some(true),
    }
}

#[cfg(test)]
mod tests;
