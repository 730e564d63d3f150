//! Routes through a link.
//! It must not decide which routes a pod gets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::address::family;
use crate::error::Error;
use crate::socket::Netlink;

/// How far a route's destination is, the kernel's `rtm_scope`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteScope(pub u8);

impl RouteScope {
    /// Behind a gateway.
    pub const UNIVERSE: Self = Self(0);
    /// On the link itself.
    pub const LINK: Self = Self(253);
}

/// A route to add.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to; a prefix of length 0 is the default route.
    pub destination: IpNet,
    /// Through whom; `None` for what is on the link.
    pub gateway: Option<IpAddr>,
    /// The link's index.
    pub link: u32,
    /// The table; `None` for the main one.
    pub table: Option<u32>,
    /// The scope; `None` for what fits the gateway.
    pub scope: Option<RouteScope>,
    /// The metric; `None` for the kernel's default.
    pub priority: Option<u32>,
}

impl Netlink {
    /// Adds a route beside any that lead to the same place.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        let mut message = RouteMessage::default();
        let scope = route.scope.unwrap_or(if route.gateway.is_some() {
            RouteScope::UNIVERSE
        } else {
            RouteScope::LINK
        });
        message.header.address_family = family(route.destination.addr());
        message.header.destination_prefix_length = route.destination.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope = scope.0.into();
        message.attributes = vec![RouteAttribute::Oif(route.link)];
        if route.destination.prefix_len() > 0 {
            message.attributes.push(RouteAttribute::Destination(route.destination.network().into()));
        }
        message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        message.attributes.extend(route.priority.map(RouteAttribute::Priority));
        if let Some(table) = route.table {
            // The header has room for 0 to 255 only; the attribute rules.
            message.header.table = RouteHeader::RT_TABLE_UNSPEC;
            message.attributes.push(RouteAttribute::Table(table));
        }
        self.change("add route", RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_APPEND)
    }
}

/// A route as the kernel tells it; `None` where it is of no IP family.
pub(crate) fn read(message: &RouteMessage, link: u32) -> Option<Route> {
    let header = &message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut to, mut gateway, mut table, mut priority) = (unspecified, None, u32::from(header.table), None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => to = address(found)?,
            RouteAttribute::Gateway(found) => gateway = address(found),
            RouteAttribute::Table(found) => table = *found,
            RouteAttribute::Priority(found) => priority = Some(*found),
            _ => {}
        }
    }
    Some(Route {
        destination: IpNet::new(to, header.destination_prefix_length).ok()?,
        gateway,
        link,
        table: (table != u32::from(RouteHeader::RT_TABLE_MAIN)).then_some(table),
        scope: Some(RouteScope(header.scope.into())),
        priority,
    })
}

fn address(found: &RouteAddress) -> Option<IpAddr> {
    match found {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
