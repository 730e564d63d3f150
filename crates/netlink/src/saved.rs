//! What a link loses when it moves: its addresses and routes, kept as the kernel's own messages and given back as such.
//! It must not understand them beyond what has to change; `ip address save` and `ip route save` keep them the same way.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use serde::{Deserialize, Serialize};

use crate::address::RTM_NEWADDR;
use crate::attribute::{nested, push, word};
use crate::default_route::{HOP_HEADER, RTA_MULTIPATH, RTA_NH_ID, hops};
use crate::error::Error;
use crate::route::{ROUTE_HEADER, RTA_OIF, RTM_NEWROUTE, Route};
use crate::socket::Netlink;
use crate::{address, route};

/// The addresses and routes of one link.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SavedNetwork {
    addresses: Vec<Message>,
    routes: Vec<Message>,
    /// Said once, to whoever looks; no part of what is given back.
    #[serde(skip)]
    shared: usize,
}

/// The payload of one message, in hexadecimal on disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Message(Vec<u8>);

// include/uapi/linux/rtnetlink.h and if_addr.h.
const ADDRESS_HEADER: usize = 8;
const ADDRESS_FLAGS: usize = 2;
const ADDRESS_INDEX: usize = 4;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFA_LOCAL: u16 = 2;
const IFA_ADDRESS: u16 = 1;
/// Of IPv6; an IPv4 address with this flag is a second one of its subnet.
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_NODAD: u8 = 0x02;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
/// A link-local address that the kernel made, and one that it made of a router's prefix: it makes them again.
const IFAPROT_KERNEL: [u8; 2] = [2, 3];
const ROUTE_TABLE: usize = 4;
const ROUTE_PROTOCOL: usize = 5;
const ROUTE_TYPE: usize = 7;
const ROUTE_FLAGS: usize = 8;
const RTA_GATEWAY: u16 = 5;
const RTA_DST: u16 = 1;
const RTA_PREFSRC: u16 = 7;
const RTA_CACHEINFO: u16 = 12;
const RTA_EXPIRES: u16 = 23;
/// Where a `struct rta_cacheinfo` has how long the route will live, in hundredths of a second (`USER_HZ`); 0 for ever.
const CACHEINFO_EXPIRES: usize = 2;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_KERNEL: u8 = 2;
const RTPROT_RA: u8 = 9;
/// `RTNH_F_PERVASIVE | RTNH_F_ONLINK`: the flags that are asked for; the others tell a state, and are refused.
const RTNH_F_ASKED: u8 = 2 | 4;
/// Where a `struct rtnexthop` has its flags and its link's index.
const HOP_FLAGS: usize = 2;
const HOP_INDEX: usize = 4;

impl SavedNetwork {
    /// True where the link had neither.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.routes.is_empty()
    }

    /// The addresses that reach beyond the link.
    pub fn addresses(&self) -> Vec<IpNet> {
        let messages = self.addresses.iter().filter_map(|message| AddressMessage::parse(&message.0).ok());
        let addresses = messages.filter_map(|message| address::read(&message));
        addresses.filter(|address| address.global).map(|address| address.net).collect()
    }

    /// The routes, for the link of that index; one that has several gateways is as many. A subnet's is not among them: an
    /// address that is given to a pod comes with one.
    pub fn routes(&self, link: u32) -> Vec<Route> {
        let routes = self.routes.iter().filter(|message| {
            message.0.get(ROUTE_PROTOCOL) != Some(&RTPROT_KERNEL) && is_unicast(&message.0)
        });
        let messages = routes.filter_map(|message| RouteMessage::parse(&message.0).ok());
        messages.flat_map(|message| route::read(&message, link)).collect()
    }

    /// How many routes the link had that are not kept: they leave by other links as well, or by a nexthop object whose links
    /// the kernel does not tell with them (`net.ipv4.nexthop_compat_mode` off).
    pub fn shared(&self) -> usize {
        self.shared
    }
}

impl Netlink {
    /// Keeps what the link has now. Where the kernel does not follow routers on it somebody else has made the routes of their
    /// advertisements, and they are kept, too.
    pub fn save_network(&mut self, link: u32, follows_routers: bool) -> Result<SavedNetwork, Error> {
        let mut addresses = self.address_messages(link)?;
        addresses.retain(|reply| is_address(reply, link));
        let unrouted: Vec<IpNet> = addresses.iter().filter_map(|reply| unrouted(reply)).collect();
        let (mut routes, mut shared) = (Vec::new(), 0);
        for family in [libc::AF_INET, libc::AF_INET6] {
            for reply in self.routes(family, Some(link))? {
                match Ways::of(&reply, family, link) {
                    _ if comes_again(&reply, &unrouted, follows_routers) || has_ended(&reply) => {}
                    Ways::ByThisLink => routes.push(reply),
                    Ways::ByOthersToo => shared += 1,
                    Ways::None => {}
                }
            }
        }
        // A gateway must be reachable before a route may lead through it.
        routes.sort_by_key(|route| {
            let by = |kind| nested(&route[ROUTE_HEADER..], kind).next().is_some();
            by(RTA_GATEWAY) || by(RTA_MULTIPATH)
        });
        Ok(SavedNetwork {
            addresses: addresses.into_iter().map(Message).collect(),
            routes: routes.into_iter().map(Message).collect(),
            shared,
        })
    }

    /// The routes that leave by the link, be it as one of several ways: two links with a route to the same place have one route of
    /// two ways in IPv6. Those that come with an address are not among them.
    pub fn routes_by(&mut self, link: u32) -> Result<Vec<Route>, Error> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut replies = self.routes(family, Some(link))?;
            replies.retain(|reply| {
                Ways::of(reply, family, link) != Ways::None
                    && is_unicast(reply)
                    && !comes_again(reply, &[], true)
            });
            let messages = replies.iter().filter_map(|reply| RouteMessage::parse(reply).ok());
            found.extend(messages.flat_map(|message| route::read(&message, link)));
        }
        Ok(found)
    }

    /// Gives the link back what it had; what it has already is left. Past every error, each with the address or route that it
    /// is about.
    pub fn restore_network(&mut self, link: u32, saved: &SavedNetwork) -> Vec<(String, Error)> {
        let mut errors = Vec::new();
        // The kernel tells first the IPv4 address that came first and the IPv6 address that came last (`ipv6_link_dev_addr`,
        // net/ipv6/addrconf.c of Linux 6.12).
        let (inet6, inet): (Vec<_>, Vec<_>) = saved.addresses.iter().partition(|address| address.is_inet6());
        for address in inet.into_iter().chain(inet6.into_iter().rev()) {
            let mut put = |message: &[u8]| {
                let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
                self.ask("restore address", RTM_NEWADDR, flags, message).map(drop)
            };
            let message = address.on_link(link);
            let first = saved.is_source(address).then(|| without_detection(&message));
            let done = first.map_or(Ok(()), |first| put(&first)).and_then(|()| put(&message));
            errors.extend(done.err().map(|error| (address.address(), error)));
        }
        for route in &saved.routes {
            let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
            match self.ask("restore route", RTM_NEWROUTE, flags, &route.through(link)) {
                Err(error) if !error.is_exists() => errors.push((route.route(), error)),
                _ => {}
            }
        }
        errors
    }
}

impl SavedNetwork {
    /// Whether a saved route of IPv6 has that address for its source. The kernel takes no route whose source is still being
    /// checked for duplicates, and without a carrier that check never ends; so the host's own address, which was valid when it
    /// was saved, is valid again at once.
    fn is_source(&self, address: &Message) -> bool {
        let Some(address) =
            Some(address).filter(|message| message.is_inet6()).and_then(|it| it.0.get(ADDRESS_HEADER..))
        else {
            return false;
        };
        let local = nested(address, IFA_LOCAL).next().or_else(|| nested(address, IFA_ADDRESS).next());
        let routes = self
            .routes
            .iter()
            .filter(|message| message.is_inet6())
            .filter_map(|route| route.0.get(ROUTE_HEADER..));
        let mut sources = routes.flat_map(|route| nested(route, RTA_PREFSRC));
        local.is_some_and(|local| sources.any(|source| source == local))
    }
}

/// The address message with `IFA_F_NODAD`, which the message as it was takes off again.
fn without_detection(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    if let Some(flags) = bytes.get_mut(ADDRESS_FLAGS) {
        *flags |= IFA_F_NODAD;
    }
    each_attribute(&mut bytes, ADDRESS_HEADER, |kind, value| {
        if kind == IFA_FLAGS {
            put_word(value, 0, word(value, 0).unwrap_or_default() | u32::from(IFA_F_NODAD));
        }
    });
    bytes
}

/// An address of the link that the kernel would not make again by itself.
fn is_address(payload: &[u8], link: u32) -> bool {
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
fn unrouted(payload: &[u8]) -> Option<IpNet> {
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
fn comes_again(payload: &[u8], unrouted: &[IpNet], follows_routers: bool) -> bool {
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
fn has_ended(payload: &[u8]) -> bool {
    let life = payload.get(ROUTE_HEADER..).unwrap_or_default();
    let left = nested(life, RTA_CACHEINFO).find_map(|life| word(life, CACHEINFO_EXPIRES));
    left.is_some_and(|left| left.cast_signed() < 0)
}

/// Whether it is a route as a pod has them: others say what is this node's own, or a group's.
fn is_unicast(route: &[u8]) -> bool {
    route.get(ROUTE_TYPE) == Some(&RTN_UNICAST) && route.get(ROUTE_TABLE) != Some(&RT_TABLE_LOCAL)
}

/// By which links a route leaves, seen from one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ways {
    /// It is what the kernel makes of each address, or it leaves by other links alone.
    None,
    /// By this one and no other.
    ByThisLink,
    /// By this one among others, or by what the kernel does not tell.
    ByOthersToo,
}

impl Ways {
    fn of(payload: &[u8], family: i32, link: u32) -> Self {
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

impl Message {
    /// Whether it is about IPv6.
    fn is_inet6(&self) -> bool {
        self.0.first().is_some_and(|family| i32::from(*family) == libc::AF_INET6)
    }

    /// The address message for another index: a link may come back under a new one.
    fn on_link(&self, link: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        put_word(&mut bytes, ADDRESS_INDEX, link);
        bytes
    }

    /// The route message for another index, without what tells a state, with its lifetime in the form in which it is asked for, and
    /// by its own gateways where it led through a nexthop object: the kernel dropped that with the link, and takes no message
    /// that has both.
    fn through(&self, link: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let flags = bytes.get(ROUTE_FLAGS..).and_then(|flags| word(flags, 0)).unwrap_or_default();
        put_word(&mut bytes, ROUTE_FLAGS, flags & u32::from(RTNH_F_ASKED));
        let (mut by_object, mut expires) = (None, None);
        let mut at = ROUTE_HEADER;
        each_attribute(&mut bytes, ROUTE_HEADER, |kind, value| {
            let end = at + (4 + value.len()).next_multiple_of(4);
            match kind {
                RTA_OIF => put_word(value, 0, link),
                RTA_MULTIPATH => hops_through(value, link),
                RTA_NH_ID => by_object = Some(at..end),
                RTA_CACHEINFO => expires = word(value, CACHEINFO_EXPIRES).filter(|left| *left > 0),
                _ => {}
            }
            at = end;
        });
        if let Some(object) = by_object {
            bytes.drain(object.start..object.end.min(bytes.len()));
        }
        if let Some(left) = expires {
            push(&mut bytes, RTA_EXPIRES, &left.div_ceil(100).to_ne_bytes());
        }
        bytes
    }

    /// The address, as an operator knows it.
    fn address(&self) -> String {
        let address = AddressMessage::parse(&self.0).ok().and_then(|message| address::read(&message));
        address.map_or_else(|| "an address".to_owned(), |address| format!("address {}", address.net))
    }

    /// The route, as an operator knows it.
    fn route(&self) -> String {
        let route = RouteMessage::parse(&self.0).ok().and_then(|message| route::read(&message, 0).pop());
        route.map_or_else(|| "a route".to_owned(), |route| format!("route {}", route.destination))
    }
}

fn put_word(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(bytes) = bytes.get_mut(at..at + 4) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
}

/// The ways of a route that has several, as [`Message::through`].
fn hops_through(mut hops: &mut [u8], link: u32) {
    while hops.len() >= HOP_HEADER {
        let length = usize::from(u16::from_ne_bytes([hops[0], hops[1]])).next_multiple_of(4);
        hops[HOP_FLAGS] &= RTNH_F_ASKED;
        put_word(hops, HOP_INDEX, link);
        let next = length.max(HOP_HEADER).min(hops.len());
        hops = &mut hops[next..];
    }
}

/// Calls `change` with each attribute after `head` bytes, as far as they can be told apart.
fn each_attribute(bytes: &mut [u8], head: usize, mut change: impl FnMut(u16, &mut [u8])) {
    let mut rest = bytes.get_mut(head..).unwrap_or_default();
    while let Some(&[low, high, kind, more]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([low, high])).max(4);
        let Some(value) = rest.get_mut(4..length) else { return };
        change(u16::from_ne_bytes([kind, more]), value);
        let next = length.next_multiple_of(4).min(rest.len());
        rest = &mut rest[next..];
    }
}

/// A saved message that is not hexadecimal.
#[derive(Debug, thiserror::Error)]
#[error("a saved address or route is not hexadecimal: {found:?}")]
struct NotHex {
    found: String,
}

impl TryFrom<String> for Message {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        });
        let bytes: Option<Vec<u8>> = pairs.collect();
        bytes.map(Self).ok_or(NotHex { found: text })
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        let mut text = Self::with_capacity(message.0.len() * 2);
        for byte in message.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests;
