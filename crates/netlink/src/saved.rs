//! What a link loses when it moves: its addresses and routes, kept as the kernel's own messages and given back as such.
//! It must not understand them beyond what has to change; `ip address save` and `ip route save` keep them the same way.

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use serde::{Deserialize, Serialize};

use crate::address::RTM_NEWADDR;
use crate::attribute::nested;
use crate::default_route::RTA_MULTIPATH;
use crate::error::Error;
use crate::route::{ROUTE_HEADER, RTM_NEWROUTE, Route};
use crate::socket::Netlink;
use crate::{address, route};

mod kept;
mod message;

use kept::{ROUTE_PROTOCOL, RTPROT_KERNEL, Ways, comes_again, has_ended, is_address, is_unicast, unrouted};
use message::{ADDRESS_HEADER, Message};

/// The addresses and routes of one link.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SavedNetwork {
    addresses: Vec<Message>,
    routes: Vec<Message>,
    /// Said once, to whoever looks; no part of what is given back.
    #[serde(skip)]
    shared: usize,
}

// include/uapi/linux/rtnetlink.h and if_addr.h.
const IFA_LOCAL: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;

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
            let first = saved.is_source(address).then(|| Message(message.clone()).without_detection().0);
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

#[cfg(test)]
mod tests;
