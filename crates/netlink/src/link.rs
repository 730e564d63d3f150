//! Links: reading one, and changing several of its properties in one message.
//! It must not touch what belongs to a PF's VFs.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DecodeError, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};

use crate::attribute::{
    NLA_F_NESTED, OF_INET6, attributes, bytes_of, nested, push, push_text, text, text_of, word,
};
use crate::error::Error;
use crate::ifname::{IfName, LinkName};
use crate::ip_settings::IpSettings;
use crate::mac::MacAddr;
use crate::settings::{self, LinkSettings};
use crate::socket::Netlink;

/// What the kernel says of one link.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// The index, unique in its network namespace.
    pub index: u32,
    /// The name.
    pub name: String,
    /// The hardware address; `None` for links without one.
    pub mac: Option<MacAddr>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Set to take every multicast frame (`IFF_ALLMULTI`).
    pub allmulti: bool,
    /// Up and with a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// The alias; empty where none is set.
    pub alias: String,
    /// The alternative names, in the kernel's order.
    pub alt_names: Vec<String>,
    /// Those of them that are no text, and stand nowhere else.
    pub odd_alt_names: Vec<Vec<u8>>,
    /// The bus address of the parent device, such as a PCI address; the kernel tells since 5.14.
    pub parent: Option<String>,
    /// The kind of a virtual link, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
    /// The index of the bond, bridge or VRF whose port it is.
    pub master: Option<u32>,
    /// The kind of that.
    pub master_kind: Option<String>,
    /// The hardware address that it had before it became a bond's port, which the kernel gives back to it when it is one no more
    /// (`__bond_release_one`, `drivers/net/bonding/bond_main.c` of Linux 6.12).
    pub mac_before_bond: Option<MacAddr>,
    /// How the kernel makes its IPv6 link-local address (`IN6_ADDR_GEN_MODE_…`); `None` for a link without IPv6.
    pub addr_gen_mode: Option<u8>,
    /// What else an administrator sets on a link.
    pub settings: LinkSettings,
    /// The settings of IP, which belong to the link and its namespace.
    pub ip: IpSettings,
    /// How an XDP program is attached (`XDP_ATTACHED_…`); 0 for none.
    pub xdp: u8,
}

/// The properties to change; what is `None` stays.
#[derive(Clone, Default)]
pub struct LinkChange<'a> {
    /// Moves the link into this network namespace. The kernel does this first and the rest there, all under one hold of its
    /// lock (`do_setlink`, net/core/rtnetlink.c): a rename that fails leaves the link there under its old name.
    pub netns: Option<BorrowedFd<'a>>,
    /// The new name; `%d` in it asks the kernel for a free number.
    pub name: Option<&'a str>,
    /// The new hardware address.
    pub mac: Option<&'a MacAddr>,
    /// The new MTU in bytes.
    pub mtu: Option<u32>,
    /// The new alias; empty removes it.
    pub alias: Option<&'a str>,
    /// Up or down.
    pub up: Option<bool>,
    /// Takes every multicast frame, or those that somebody joined.
    pub allmulti: Option<bool>,
    /// The index of the bond, bridge or VRF whose port it is to be; 0 for none.
    pub master: Option<u32>,
    /// How the kernel is to make its IPv6 link-local address, which it does when the link comes up.
    pub addr_gen_mode: Option<u8>,
    /// Takes off the XDP program that is attached in this way (`XDP_ATTACHED_…`).
    pub without_xdp: Option<u8>,
}

// include/uapi/linux/rtnetlink.h, if_link.h and netlink.h.
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_SETLINK: u16 = 19;
const RTM_NEWLINKPROP: u16 = 108;
const RTM_DELLINKPROP: u16 = 109;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BOND_SLAVE_PERM_HWADDR: u16 = 4;
const IFLA_IFALIAS: u16 = 20;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IFLA_NET_NS_FD: u16 = 28;
pub(crate) const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_PARENT_DEV_NAME: u16 = 56;
/// Leaves the counters out, which are the greater part of what is told of a link.
pub(crate) const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;
const IFF_ALLMULTI: u32 = 0x200;
/// `struct ifinfomsg`: family and hardware type, index, flags, and which flags to change.
pub(crate) const HEADER_LEN: usize = 16;

impl Netlink {
    /// The link of that name, or of that alternative name: the kernel looks among both.
    pub fn link_by_name(&mut self, name: &IfName) -> Result<Link, Error> {
        let mut request = header(0, 0, 0);
        push_text(&mut request, IFLA_IFNAME, name.as_str());
        self.link(&request)
    }

    /// The link of that name or alternative name, of any length that either can have.
    pub fn link_by_any_name(&mut self, name: &LinkName) -> Result<Link, Error> {
        let mut request = header(0, 0, 0);
        let kind = if name.as_str().len() < libc::IFNAMSIZ { IFLA_IFNAME } else { IFLA_ALT_IFNAME };
        push_text(&mut request, kind, name.as_str());
        self.link(&request)
    }

    /// The link of that index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link, Error> {
        self.link(&header(index, 0, 0))
    }

    /// All links of this network namespace, in the kernel's order. Without their settings of IP, and without their counters, with
    /// which kernels before 6.15 leave `addr_gen_mode` out as well (`inet6_fill_ifla6_attrs`, net/ipv6/addrconf.c): one link
    /// tells these when it is asked for.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        const REQUEST: &str = "list links";
        let mut request = header(0, 0, 0);
        push(&mut request, IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
        let replies = self.ask(REQUEST, RTM_GETLINK, NLM_F_DUMP, &request)?;
        let links = replies.iter().map(|payload| parse(REQUEST, payload));
        links.map(|link| Ok(Link { ip: IpSettings::default(), ..link? })).collect()
    }

    /// Changes the link in one message.
    pub fn change_link(
        &mut self,
        index: u32,
        request: &'static str,
        change: &LinkChange<'_>,
    ) -> Result<(), Error> {
        self.ask(request, RTM_SETLINK, NLM_F_ACK, &change.message(index)).map(drop)
    }

    /// Gives one of a link's settings a value; one that nobody knows is left.
    pub fn set_link_setting(&mut self, index: u32, name: &str, value: u32) -> Result<(), Error> {
        let Some(put) = settings::put(name, value) else { return Ok(()) };
        let (flags, mask) = put.flags;
        let message = [header(index, flags, mask), put.attributes].concat();
        self.ask("put link back", RTM_SETLINK, NLM_F_ACK, &message).map(drop)
    }

    /// Gives the link another alternative name.
    pub fn add_alt_name(&mut self, index: u32, name: &str) -> Result<(), Error> {
        // The flags are those of `ip link property add`.
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
        self.ask("add alternative name", RTM_NEWLINKPROP, flags, &alt_name(index, name.as_bytes())).map(drop)
    }

    /// Takes an alternative name from the link, which need be no text. That it does not have it is no error.
    pub fn remove_alt_name(&mut self, index: u32, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let message = alt_name(index, name.as_ref());
        match self.ask("remove alternative name", RTM_DELLINKPROP, NLM_F_ACK, &message) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            removed => removed.map(drop),
        }
    }

    fn link(&mut self, message: &[u8]) -> Result<Link, Error> {
        const REQUEST: &str = "get link";
        let replies = match self.ask(REQUEST, RTM_GETLINK, 0, message) {
            Err(error) if error.is_no_link() => return Err(Error::NoLink),
            other => other?,
        };
        parse(REQUEST, replies.first().ok_or(Error::NoLink)?)
    }
}

impl Link {
    /// Whether a device is behind the link: virtual links tell their kind.
    pub fn is_hardware(&self) -> bool {
        self.kind.is_none()
    }

    /// Its hardware address, and for a bond's port the one that is its own; `None` for a team's, of which the kernel does not
    /// tell it.
    pub fn own_mac(&self) -> Option<&MacAddr> {
        match self.master_kind.as_deref() {
            Some("bond" | "team") => self.mac_before_bond.as_ref(),
            _ => self.mac.as_ref(),
        }
    }

    fn read_info(&mut self, info: &[u8]) {
        self.kind = text(info, IFLA_INFO_KIND);
        self.master_kind = text(info, IFLA_INFO_SLAVE_KIND);
        if self.master_kind.as_deref() == Some("bond") {
            let port = nested(info, IFLA_INFO_SLAVE_DATA);
            let mut before = port.flat_map(|port| nested(port, IFLA_BOND_SLAVE_PERM_HWADDR));
            self.mac_before_bond = before.next().and_then(MacAddr::from_bytes);
        }
    }
}

impl LinkChange<'_> {
    fn message(&self, index: u32) -> Vec<u8> {
        let (mut flags, mut mask) = (0, 0);
        for (flag, wanted) in [(IFF_UP, self.up), (IFF_ALLMULTI, self.allmulti)] {
            mask |= if wanted.is_some() { flag } else { 0 };
            flags |= if wanted == Some(true) { flag } else { 0 };
        }
        let mut bytes = header(index, flags, mask);
        if let Some(netns) = self.netns {
            push(&mut bytes, IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
        }
        if let Some(name) = self.name {
            push_text(&mut bytes, IFLA_IFNAME, name);
        }
        if let Some(mac) = self.mac {
            push(&mut bytes, IFLA_ADDRESS, mac.bytes());
        }
        if let Some(mtu) = self.mtu {
            push(&mut bytes, IFLA_MTU, &mtu.to_ne_bytes());
        }
        if let Some(alias) = self.alias {
            // Without the final zero, which the longest has no room for; but nothing at all is no attribute.
            push(&mut bytes, IFLA_IFALIAS, if alias.is_empty() { &[0] } else { alias.as_bytes() });
        }
        if let Some(master) = self.master {
            push(&mut bytes, IFLA_MASTER, &master.to_ne_bytes());
        }
        if let Some(attached) = self.without_xdp {
            let mut none = Vec::new();
            push(&mut none, IFLA_XDP_FD, &(-1_i32).to_ne_bytes());
            push(&mut none, IFLA_XDP_FLAGS, &xdp_flag(attached).to_ne_bytes());
            push(&mut bytes, IFLA_XDP | NLA_F_NESTED, &none);
        }
        if let Some(mode) = self.addr_gen_mode {
            let (mut inet6, mut families) = (Vec::new(), Vec::new());
            push(&mut inet6, IFLA_INET6_ADDR_GEN_MODE, &[mode]);
            push(&mut families, OF_INET6, &inet6);
            push(&mut bytes, IFLA_AF_SPEC, &families);
        }
        bytes
    }
}

/// Which of the ways to attach an XDP program is meant: of those in the driver, before it and in hardware.
fn xdp_flag(attached: u8) -> u32 {
    const DRIVER: u8 = 1;
    const SKB: u8 = 2;
    const HARDWARE: u8 = 3;
    match attached {
        DRIVER => 1 << 2,
        SKB => 1 << 1,
        HARDWARE => 1 << 3,
        _ => 0,
    }
}

/// The head of a link message, about the link of that index or with 0 about the one that an attribute names.
pub(crate) fn header(index: u32, flags: u32, mask: u32) -> Vec<u8> {
    [0, index, flags, mask].map(u32::to_ne_bytes).concat()
}

fn alt_name(index: u32, name: &[u8]) -> Vec<u8> {
    let mut property = Vec::new();
    push(&mut property, IFLA_ALT_IFNAME, &[name, &[0]].concat());
    let mut bytes = header(index, 0, 0);
    push(&mut bytes, IFLA_PROP_LIST | NLA_F_NESTED, &property);
    bytes
}

/// Reads a link attribute by attribute: one that is not as it should be, a driver's quirk, costs that attribute and not the
/// link.
pub(crate) fn parse(request: &'static str, payload: &[u8]) -> Result<Link, Error> {
    let cut =
        || Error::Reply { request, source: DecodeError::from("the link message is cut short".to_owned()) };
    let (index, flags) = word(payload, 1).zip(word(payload, 2)).ok_or_else(cut)?;
    let mut link = Link {
        index,
        up: flags & IFF_UP != 0,
        allmulti: flags & IFF_ALLMULTI != 0,
        running: flags & IFF_RUNNING != 0,
        settings: LinkSettings::of_flags(flags),
        ..Link::default()
    };
    for (kind, value) in attributes(payload.get(HEADER_LEN..).ok_or_else(cut)?) {
        match kind {
            IFLA_IFNAME => link.name = text_of(value),
            IFLA_ADDRESS => link.mac = MacAddr::from_bytes(value),
            IFLA_MTU => link.mtu = word(value, 0).unwrap_or(link.mtu),
            IFLA_IFALIAS => link.alias = text_of(value),
            IFLA_PARENT_DEV_NAME => link.parent = Some(text_of(value)),
            IFLA_PROP_LIST => {
                for name in nested(value, IFLA_ALT_IFNAME).map(bytes_of) {
                    match String::from_utf8(name.to_vec()) {
                        Ok(name) => link.alt_names.push(name),
                        Err(odd) => link.odd_alt_names.push(odd.into_bytes()),
                    }
                }
            }
            IFLA_LINKINFO => link.read_info(value),
            IFLA_MASTER => link.master = word(value, 0),
            IFLA_AF_SPEC => {
                let mut mode =
                    nested(value, OF_INET6).flat_map(|inet6| nested(inet6, IFLA_INET6_ADDR_GEN_MODE));
                link.addr_gen_mode = mode.next().and_then(|mode| mode.first().copied());
                link.ip = IpSettings::read(value);
            }
            IFLA_XDP => {
                link.xdp = nested(value, IFLA_XDP_ATTACHED).find_map(|how| how.first().copied()).unwrap_or(0);
            }
            _ => link.settings.take(kind, value),
        }
    }
    Ok(link)
}

#[cfg(test)]
mod tests;
