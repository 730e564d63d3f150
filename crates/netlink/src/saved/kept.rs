//! Which of a link's addresses and routes are kept: those that do not come again by themselves.
//! It must not ask for them.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::route::RouteMessage;

use super::message::{ADDRESS_FLAGS, ADDRESS_HEADER, CACHEINFO_EXPIRES, IFA_FLAGS, RTA_CACHEINFO};
use crate::attribute::{nested, word};
use crate::default_route::{RTA_MULTIPATH, RTA_NH_ID, hops};
use crate::route::{self, ROUTE_HEADER, RTA_OIF};

// include/uapi/linux/rtnetlink.h and if_addr.h.
const IFA_PROTO: u16 = 11;
const IFA_ADDRESS: u16 = 1;
/// Of IPv6; an IPv4 address with this flag is a second one of its subnet.
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
/// A link-local address that the kernel made, and one that it made of a router's prefix: it makes them again.
const IFAPROT_KERNEL: [u8; 2] = [2, 3];
const ROUTE_TABLE: usize = 4;
pub(super) const ROUTE_PROTOCOL: usize = 5;
const ROUTE_TYPE: usize = 7;
pub(super) const RTA_DST: u16 = 1;
const RTN_UNICAST: u8 = 1;
pub(super) const RT_TABLE_LOCAL: u8 = 255;
pub(super) const RTPROT_KERNEL: u8 = 2;
const RTPROT_RA: u8 = 9;

/// An address of the link that the kernel would not make again by itself.
pub(super) fn is_address(payload: &[u8], link: u32) -> bool {
    let Some(attributes) = payload.get(ADDRESS_HEADER..) else { return false };
    let flags = address_flags(payload, attributes);
    let proto = nested(attributes, IFA_PROTO).next().and_then(|proto| proto.first());
    let own = proto.is_some_and(|proto| IFAPROT_KERNEL.contains(proto));
    let passing = match i32::from(payload[0]) {
        libc::AF_INET6 => IFA_F_TEMPORARY | IFA_F_DADFAILED,
        _ => 0,
    };
    word(payload, 1) == Some(link) && flags & passing == 0 && !own
}

fn address_flags(payload: &[u8], attributes: &[u8]) -> u32 {
    let all = nested(attributes, IFA_FLAGS).next().and_then(|value| word(value, 0));
    all.unwrap_or(payload[ADDRESS_FLAGS].into())
}

/// The subnet of an address for which the kernel was told to make no route.
pub(super) fn unrouted(payload: &[u8]) -> Option<IpNet> {
    let attributes = payload.get(ADDRESS_HEADER..)?;
    if address_flags(payload, attributes) & IFA_F_NOPREFIXROUTE == 0 {
        return None;
    }
    let address = nested(attributes, IFA_ADDRESS).next()?;
    let address = match (address.first_chunk::<16>(), address.first_chunk::<4>()) {
        (Some(inet6), _) => IpAddr::from(*inet6),
        (None, inet) => IpAddr::from(*inet?),
    };
    IpNet::new(address, payload[1]).ok().map(|net| net.trunc())
}

/// Whether a route comes with an address, or from a router's advertisement, and comes again with it. One that is marked as the
/// kernel's own, to a subnet for which the kernel makes none, is somebody else's, as `NetworkManager`'s are.
pub(super) fn comes_again(payload: &[u8], unrouted: &[IpNet], follows_routers: bool) -> bool {
    match payload.get(ROUTE_PROTOCOL) {
        Some(&RTPROT_RA) => follows_routers,
        Some(&RTPROT_KERNEL) => {
            let route = RouteMessage::parse(payload).ok().and_then(|message| route::read(&message, 0).pop());
            !route.is_some_and(|route| unrouted.contains(&route.destination))
        }
        _ => false,
    }
}

/// Kernels before 5.11 mark their own route of IPv6's multicast in the local table as anybody's (`addrconf_add_mroute`,
/// net/ipv6/addrconf.c).
fn is_multicast_of_old(payload: &[u8], attributes: &[u8]) -> bool {
    const LENGTH: u8 = 8;
    let to = nested(attributes, RTA_DST).next().and_then(|to| to.first());
    payload[ROUTE_TABLE] == RT_TABLE_LOCAL && payload[1] == LENGTH && to == Some(&0xff)
}

/// Whether a route has ended by itself, and the kernel has not taken it away yet.
pub(super) fn has_ended(payload: &[u8]) -> bool {
    let life = payload.get(ROUTE_HEADER..).unwrap_or_default();
    let left = nested(life, RTA_CACHEINFO).find_map(|life| word(life, CACHEINFO_EXPIRES));
    left.is_some_and(|left| left.cast_signed() < 0)
}

/// Whether it is a route as a pod has them: others say what is this node's own, or a group's.
pub(super) fn is_unicast(route: &[u8]) -> bool {
    route.get(ROUTE_TYPE) == Some(&RTN_UNICAST) && route.get(ROUTE_TABLE) != Some(&RT_TABLE_LOCAL)
}

/// By which links a route leaves, seen from one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ways {
    /// It is what the kernel makes of each address, or it leaves by other links alone.
    None,
    /// By this one and no other.
    ByThisLink,
    /// By this one among others, or by what the kernel does not tell.
    ByOthersToo,
}

impl Ways {
    pub(super) fn of(payload: &[u8], family: i32, link: u32) -> Self {
        let Some(attributes) = payload.get(ROUTE_HEADER..) else { return Self::None };
        let is_special = payload[ROUTE_TYPE] != RTN_UNICAST || payload[ROUTE_TABLE] == RT_TABLE_LOCAL;
        let is_kernels = payload[ROUTE_PROTOCOL] == RTPROT_KERNEL && is_special;
        if i32::from(payload[0]) != family || is_kernels || is_multicast_of_old(payload, attributes) {
            return Self::None;
        }
        let mut links: Vec<u32> = nested(attributes, RTA_OIF).filter_map(|value| word(value, 0)).collect();
        links.extend(nested(attributes, RTA_MULTIPATH).flat_map(hops));
        let untold = links.is_empty() && nested(attributes, RTA_NH_ID).next().is_some();
        match (links.contains(&link), links.iter().all(|found| *found == link)) {
            (true, true) => Self::ByThisLink,
            (true, false) => Self::ByOthersToo,
            // The kernel was asked for this link's routes alone; nexthop objects are younger than that question.
            (false, _) if untold => Self::ByOthersToo,
            (false, _) => Self::None,
        }
    }
}
