//! One saved address or route: the kernel's own message, in hexadecimal on disk, and the same for another index.
//! It must not judge what is kept.

use std::fmt::Write;

use netlink_packet_core::Parseable;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use serde::{Deserialize, Serialize};

use crate::attribute::{push, word};
use crate::default_route::{HOP_HEADER, RTA_MULTIPATH, RTA_NH_ID};
use crate::route::{ROUTE_HEADER, RTA_OIF};
use crate::{address, route};

/// The payload of one message, in hexadecimal on disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Message(pub(super) Vec<u8>);

// include/uapi/linux/rtnetlink.h and if_addr.h.
pub(super) const ADDRESS_HEADER: usize = 8;
pub(super) const ADDRESS_FLAGS: usize = 2;
const ADDRESS_INDEX: usize = 4;
pub(super) const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u8 = 0x02;
pub(super) const ROUTE_FLAGS: usize = 8;
pub(super) const RTA_CACHEINFO: u16 = 12;
pub(super) const RTA_EXPIRES: u16 = 23;
/// Where a `struct rta_cacheinfo` has how long the route will live, in hundredths of a second (`USER_HZ`); 0 for ever.
pub(super) const CACHEINFO_EXPIRES: usize = 2;
/// `RTNH_F_PERVASIVE | RTNH_F_ONLINK`: the flags that are asked for; the others tell a state, and are refused.
const RTNH_F_ASKED: u8 = 2 | 4;
/// Where a `struct rtnexthop` has its flags and its link's index.
pub(super) const HOP_FLAGS: usize = 2;
const HOP_INDEX: usize = 4;

impl Message {
    /// Whether it is about IPv6.
    pub(super) fn is_inet6(&self) -> bool {
        self.0.first().is_some_and(|family| i32::from(*family) == libc::AF_INET6)
    }

    /// The address message for another index: a link may come back under a new one.
    pub(super) fn on_link(&self, link: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        put_word(&mut bytes, ADDRESS_INDEX, link);
        bytes
    }

    /// The address message with `IFA_F_NODAD`, which the message as it was takes off again.
    pub(super) fn without_detection(&self) -> Self {
        let mut bytes = self.0.clone();
        if let Some(flags) = bytes.get_mut(ADDRESS_FLAGS) {
            *flags |= IFA_F_NODAD;
        }
        each_attribute(&mut bytes, ADDRESS_HEADER, |kind, value| {
            if kind == IFA_FLAGS {
                put_word(value, 0, word(value, 0).unwrap_or_default() | u32::from(IFA_F_NODAD));
            }
        });
        Self(bytes)
    }

    /// The route message for another index, without what tells a state, with its lifetime in the form in which it is asked for, and
    /// by its own gateways where it led through a nexthop object: the kernel dropped that with the link, and takes no message
    /// that has both.
    pub(super) fn through(&self, link: u32) -> Vec<u8> {
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
    pub(super) fn address(&self) -> String {
        let address = AddressMessage::parse(&self.0).ok().and_then(|message| address::read(&message));
        address.map_or_else(|| "an address".to_owned(), |address| format!("address {}", address.net))
    }

    /// The route, as an operator knows it.
    pub(super) fn route(&self) -> String {
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
pub(super) struct NotHex {
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
