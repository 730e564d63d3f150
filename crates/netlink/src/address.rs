//! The IP addresses of a link.
//! It must not decide which addresses a pod gets.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use crate::error::Error;
use crate::socket::Netlink;

// include/uapi/linux/rtnetlink.h.
pub(crate) const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const REQUEST: &str = "list addresses";

/// An address that a link has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The address with its prefix, host bits kept.
    pub net: IpNet,
    /// Duplicate address detection is not done yet; the address cannot be used as a source.
    pub tentative: bool,
    /// Duplicate address detection found another station with it.
    pub dad_failed: bool,
    /// Reachable beyond the link; link-local addresses are not.
    pub global: bool,
}

impl Netlink {
    /// Gives the link an address; an IPv4 one gets its subnet's broadcast address, as `ip address add brd +` would.
    pub fn add_address(&mut self, index: u32, net: IpNet) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = net.prefix_len();
        message.header.family = family(net.addr());
        message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
        if let IpNet::V4(v4) = net
            && v4.prefix_len() < 31
        {
            message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        self.change("add address", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message)
    }

    /// The address messages of the link, and before Linux 4.20, which passes over the index, those of every link.
    pub(crate) fn address_messages(&mut self, index: u32) -> Result<Vec<Vec<u8>>, Error> {
        let request = [[0; 4], index.to_ne_bytes()].concat();
        match self.ask(REQUEST, RTM_GETADDR, NLM_F_DUMP, &request) {
            // So it is for a link whose MTU is too small for IP, as CAN's is: it has none (`inet_dump_ifaddr`,
            // net/ipv4/devinet.c of Linux 6.12).
            Err(error) if error.is_no_link() => Ok(Vec::new()),
            messages => messages,
        }
    }

    /// The addresses of the link, IPv4 before IPv6.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Error> {
        let mut addresses = Vec::new();
        for payload in self.address_messages(index)? {
            let message = AddressMessage::parse(&payload)
                .map_err(|source| Error::Reply { request: REQUEST, source })?;
            // Without strict checking the kernel lists every link's.
            if message.header.index == index {
                addresses.extend(read(&message));
            }
        }
        Ok(addresses)
    }
}

pub(crate) fn read(message: &AddressMessage) -> Option<Address> {
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut local, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(Address {
        net: IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?,
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        global: message.header.scope == AddressScope::Universe,
    })
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
