//! Links: reading one, and changing several of its properties in one message.
//! It must not touch what belongs to a PF's VFs.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    DecodeError, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NlasIterator, ParseableParametrized,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage, Prop};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::Error;
use crate::ifname::IfName;
use crate::mac::MacAddr;
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
    /// The bus address of the parent device, such as a PCI address; the kernel tells since 5.14.
    pub parent: Option<String>,
    /// The kind of a virtual link, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
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
}

const HEADER_LEN: usize = 16;

impl Netlink {
    /// The link of that name, or of that alternative name: the kernel looks among both.
    pub fn link_by_name(&mut self, name: &IfName) -> Result<Link, Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_string())];
        self.link("get link", message)
    }

    /// The link of that index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link, Error> {
        self.link("get link", message(index))
    }

    /// All links of this network namespace, in the kernel's order.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let replies = self.dump("list links", &RouteNetlinkMessage::GetLink(message(0)))?;
        replies.iter().map(|payload| parse("list links", payload)).collect()
    }

    /// Changes the link in one message.
    pub fn change_link(
        &mut self,
        index: u32,
        request: &'static str,
        change: &LinkChange<'_>,
    ) -> Result<(), Error> {
        self.change(request, RouteNetlinkMessage::SetLink(change.message(index)), 0)
    }

    /// Gives the link another alternative name.
    pub fn add_alt_name(&mut self, index: u32, name: &str) -> Result<(), Error> {
        // The flags are those of `ip link property add`.
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
        self.change("add alternative name", RouteNetlinkMessage::NewLinkProp(alt_name(index, name)), flags)
    }

    /// Takes an alternative name from the link.
    pub fn remove_alt_name(&mut self, index: u32, name: &str) -> Result<(), Error> {
        self.change("remove alternative name", RouteNetlinkMessage::DelLinkProp(alt_name(index, name)), 0)
    }

    fn link(&mut self, request: &'static str, message: LinkMessage) -> Result<Link, Error> {
        let replies = match self.get(request, RouteNetlinkMessage::GetLink(message)) {
            Err(error) if error.is_no_link() => return Err(Error::NoLink),
            other => other?,
        };
        parse(request, replies.first().ok_or(Error::NoLink)?)
    }
}

impl LinkChange<'_> {
    fn message(&self, index: u32) -> LinkMessage {
        let mut message = message(index);
        let attributes = &mut message.attributes;
        attributes.extend(self.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        attributes.extend(self.name.map(|name| LinkAttribute::IfName(name.to_owned())));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.bytes().to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
        for (flag, wanted) in [(LinkFlags::Up, self.up), (LinkFlags::Allmulti, self.allmulti)] {
            message.header.change_mask.set(flag, wanted.is_some());
            message.header.flags.set(flag, wanted == Some(true));
        }
        message
    }
}

pub(crate) fn message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn alt_name(index: u32, name: &str) -> LinkMessage {
    let mut message = message(index);
    message.attributes = vec![LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())])];
    message
}

/// Reads a link attribute by attribute: one that cannot be decoded, a driver's quirk, costs that attribute and not the link.
fn parse(request: &'static str, payload: &[u8]) -> Result<Link, Error> {
    let header = LinkHeader::parse(payload).map_err(|source| Error::Reply { request, source })?;
    let attributes = payload.get(HEADER_LEN..).ok_or_else(|| Error::Reply {
        request,
        source: DecodeError::from("the link message is cut short".to_owned()),
    })?;
    let mut link = Link {
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        allmulti: header.flags.contains(LinkFlags::Allmulti),
        running: header.flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    for attribute in NlasIterator::new(attributes).flatten() {
        match LinkAttribute::parse_with_param(&attribute, AddressFamily::Unspec) {
            Ok(LinkAttribute::IfName(name)) => link.name = name,
            Ok(LinkAttribute::Address(bytes)) => link.mac = MacAddr::from_bytes(&bytes),
            Ok(LinkAttribute::Mtu(mtu)) => link.mtu = mtu,
            Ok(LinkAttribute::IfAlias(alias)) => link.alias = alias,
            Ok(LinkAttribute::ParentDevName(parent)) => link.parent = Some(parent),
            Ok(LinkAttribute::PropList(properties)) => link.alt_names = alt_names(properties),
            Ok(LinkAttribute::LinkInfo(infos)) => link.kind = kind(infos),
            _ => {}
        }
    }
    Ok(link)
}

fn alt_names(properties: Vec<Prop>) -> Vec<String> {
    let names = properties.into_iter().map(|property| match property {
        Prop::AltIfName(name) => Some(name),
        _ => None,
    });
    names.flatten().collect()
}

fn kind(infos: Vec<LinkInfo>) -> Option<String> {
    infos.into_iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    fn reply(attributes: Vec<LinkAttribute>) -> Vec<u8> {
        let mut message = message(7);
        message.attributes = attributes;
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn reads_what_a_pod_cares_for() {
        let mac: MacAddr = "52:54:00:aa:00:01".parse().unwrap();
        let bytes = reply(vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::Address(mac.bytes().to_vec()),
            LinkAttribute::Mtu(9000),
            LinkAttribute::PropList(vec![Prop::AltIfName("enp33s0".to_owned())]),
        ]);
        let link = parse("get link", &bytes).unwrap();
        assert_eq!((link.index, link.name.as_str(), link.mac, link.mtu), (7, "eth0", Some(mac), 9000));
        assert_eq!(link.alt_names, ["enp33s0"]);
    }

    #[test]
    fn an_undecodable_attribute_costs_only_itself() {
        let mut bytes = reply(vec![LinkAttribute::Mtu(9000)]);
        // IFLA_MTU again, with one byte where the kernel writes four.
        bytes.extend([5, 0, 4, 0, 1, 0, 0, 0]);
        bytes.extend(&reply(vec![LinkAttribute::IfName("eth0".to_owned())])[HEADER_LEN..]);
        let link = parse("get link", &bytes).unwrap();
        assert_eq!((link.name.as_str(), link.mtu), ("eth0", 9000));
    }

    #[test]
    fn flags_that_are_not_named_stay() {
        let flags = |change: LinkChange<'_>| {
            let header = change.message(7).header;
            (header.flags, header.change_mask)
        };
        assert_eq!(flags(LinkChange::default()), (LinkFlags::empty(), LinkFlags::empty()));
        let down = LinkChange { up: Some(false), allmulti: Some(true), ..LinkChange::default() };
        assert_eq!(flags(down), (LinkFlags::Allmulti, LinkFlags::Up | LinkFlags::Allmulti));
    }

    #[test]
    fn a_reply_cut_short_is_an_error() {
        assert!(parse("get link", &[0; 7]).is_err());
    }
}
