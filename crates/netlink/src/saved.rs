//! What a link loses when it moves: its addresses and routes, kept as the kernel's own messages and given back as such.
//! It must not understand them beyond what has to change; `ip address save` and `ip route save` keep them the same way.

use std::fmt::Write;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use serde::{Deserialize, Serialize};

use crate::address::RTM_NEWADDR;
use crate::attribute::{nested, word};
use crate::error::Error;
use crate::route::{ROUTE_HEADER, RTA_OIF, RTM_NEWROUTE, Route};
use crate::socket::Netlink;
use crate::{address, route};

/// The addresses and routes of one link.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SavedNetwork {
    addresses: Vec<Message>,
    routes: Vec<Message>,
}

/// The payload of one message, in hexadecimal on disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Message(Vec<u8>);

// include/uapi/linux/rtnetlink.h and if_addr.h.
const ADDRESS_HEADER: usize = 8;
const ADDRESS_INDEX: usize = 4;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
/// A link-local address that the kernel made, and one that it made of a router's prefix: it makes them again.
const IFAPROT_KERNEL: [u8; 2] = [2, 3];
const ROUTE_TABLE: usize = 4;
const ROUTE_PROTOCOL: usize = 5;
const ROUTE_TYPE: usize = 7;
const ROUTE_FLAGS: usize = 8;
const RTA_GATEWAY: u16 = 5;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_LOCAL: u8 = 255;
/// Routes that come with an address or from a router's advertisement come again with them.
const RTPROT_OWN: [u8; 2] = [2, 9];
/// `RTNH_F_PERVASIVE | RTNH_F_ONLINK`: the flags that are asked for; the others tell a state, and are refused.
const RTNH_F_ASKED: u32 = 2 | 4;

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

    /// The routes, for the link of that index.
    pub fn routes(&self, link: u32) -> Vec<Route> {
        let messages = self.routes.iter().filter_map(|message| RouteMessage::parse(&message.0).ok());
        messages.filter_map(|message| route::read(&message, link)).collect()
    }
}

impl Netlink {
    /// Keeps what the link has now.
    pub fn save_network(&mut self, link: u32) -> Result<SavedNetwork, Error> {
        let addresses = self.address_messages(link)?;
        let mut routes = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let replies = self.routes(family, Some(link))?;
            routes.extend(replies.into_iter().filter(|reply| is_route(reply, family, link)));
        }
        // A gateway must be reachable before a route may lead through it.
        routes.sort_by_key(|route| nested(&route[ROUTE_HEADER..], RTA_GATEWAY).next().is_some());
        Ok(SavedNetwork {
            addresses: addresses.into_iter().filter(|reply| is_address(reply, link)).map(Message).collect(),
            routes: routes.into_iter().map(Message).collect(),
        })
    }

    /// Gives the link back what it had; what it has already is left. Past every error.
    pub fn restore_network(&mut self, link: u32, saved: &SavedNetwork) -> Vec<Error> {
        let mut errors = Vec::new();
        for address in &saved.addresses {
            let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
            errors.extend(self.ask("restore address", RTM_NEWADDR, flags, &address.on_link(link)).err());
        }
        for route in &saved.routes {
            let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
            match self.ask("restore route", RTM_NEWROUTE, flags, &route.through(link)) {
                Err(error) if !error.is_exists() => errors.push(error),
                _ => {}
            }
        }
        errors
    }
}

/// An address of the link that the kernel would not make again by itself.
fn is_address(payload: &[u8], link: u32) -> bool {
    let Some(attributes) = payload.get(ADDRESS_HEADER..) else { return false };
    let flags =
        nested(attributes, IFA_FLAGS).next().and_then(|value| word(value, 0)).unwrap_or(payload[2].into());
    let proto = nested(attributes, IFA_PROTO).next().and_then(|proto| proto.first());
    let own = proto.is_some_and(|proto| IFAPROT_KERNEL.contains(proto));
    word(payload, 1) == Some(link) && flags & (IFA_F_TEMPORARY | IFA_F_DADFAILED) == 0 && !own
}

/// A unicast route through the link alone, made by somebody else than the kernel.
fn is_route(payload: &[u8], family: i32, link: u32) -> bool {
    let Some(attributes) = payload.get(ROUTE_HEADER..) else { return false };
    i32::from(payload[0]) == family
        && payload[ROUTE_TYPE] == RTN_UNICAST
        && payload[ROUTE_TABLE] != RT_TABLE_LOCAL
        && !RTPROT_OWN.contains(&payload[ROUTE_PROTOCOL])
        && nested(attributes, RTA_OIF).next().and_then(|value| word(value, 0)) == Some(link)
}

impl Message {
    /// The address message for another index: a link may come back under a new one.
    fn on_link(&self, link: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        if let Some(index) = bytes.get_mut(ADDRESS_INDEX..ADDRESS_HEADER) {
            index.copy_from_slice(&link.to_ne_bytes());
        }
        bytes
    }

    /// The route message for another index, without what tells a state.
    fn through(&self, link: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let Some(header) = bytes.first_chunk_mut::<ROUTE_HEADER>() else { return bytes };
        let flags = word(&header[ROUTE_FLAGS..], 0).unwrap_or_default() & RTNH_F_ASKED;
        header[ROUTE_FLAGS..].copy_from_slice(&flags.to_ne_bytes());
        let mut at = ROUTE_HEADER;
        while let Some(head) = bytes.get(at..at + 4) {
            let (length, kind) =
                (u16::from_ne_bytes([head[0], head[1]]), u16::from_ne_bytes([head[2], head[3]]));
            if kind == RTA_OIF
                && let Some(index) = bytes.get_mut(at + 4..at + 8)
            {
                index.copy_from_slice(&link.to_ne_bytes());
            }
            at += usize::from(length.max(4)).next_multiple_of(4);
        }
        bytes
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
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back() {
        let message = Message(vec![0x02, 0xff, 0x00, 0x9a]);
        let text = String::from(message.clone());
        assert_eq!((text.as_str(), Message::try_from(text.clone()).unwrap()), ("02ff009a", message));
        for odd in ["0", "0g", "é0"] {
            assert!(Message::try_from(odd.to_owned()).is_err());
        }
    }

    #[test]
    fn an_address_of_the_kernels_own_is_not_kept() {
        let address = |proto: &[u8]| {
            let mut bytes = vec![2, 24, 0, 0, 7, 0, 0, 0];
            bytes.extend([u8::try_from(4 + proto.len()).unwrap(), 0, 11, 0]);
            bytes.extend(proto);
            bytes
        };
        assert!(!is_address(&address(&[2, 0, 0, 0]), 7));
        assert!(is_address(&address(&[9, 0, 0, 0]), 7));
        // One without a value says nothing.
        assert!(is_address(&address(&[]), 7));
    }

    #[test]
    fn a_route_goes_to_the_links_new_index_without_its_state() {
        let mut bytes = vec![2, 24, 0, 0, 254, 3, 0, 1, 0x14, 0, 0, 0];
        bytes.extend([8, 0, 1, 0, 192, 0, 2, 0]);
        bytes.extend([8, 0, 4, 0, 7, 0, 0, 0]);
        assert!(is_route(&bytes, libc::AF_INET, 7) && !is_route(&bytes, libc::AF_INET, 8));
        let moved = Message(bytes).through(9);
        assert!(is_route(&moved, libc::AF_INET, 9));
        assert_eq!(moved[ROUTE_FLAGS], 4);
        for end in 0..moved.len() {
            let _ = Message(moved[..end].to_vec()).through(9);
        }
    }
}
