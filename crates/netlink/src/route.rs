//! Routes through a link.
//! It must not decide which routes a pod gets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteProtocol,
    RouteType,
};

use crate::address::family;
use crate::attribute::push;
use crate::error::Error;
use crate::socket::Netlink;

// include/uapi/linux/rtnetlink.h.
pub(crate) const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
pub(crate) const RTA_OIF: u16 = 4;
/// `struct rtmsg`: family, the two prefix lengths, tos, table, protocol, scope, type, and four bytes of flags.
pub(crate) const ROUTE_HEADER: usize = 12;

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
    /// The gateway is on the link whatever the addresses say (`RTNH_F_ONLINK`).
    pub onlink: bool,
}

impl Netlink {
    /// The messages of all routes of an address family, or of those that lead through one link: a node may have thousands. A
    /// kernel before 4.20 tells of all of them in both cases.
    pub(crate) fn routes(&mut self, family: i32, link: Option<u32>) -> Result<Vec<Vec<u8>>, Error> {
        let mut request = vec![0; ROUTE_HEADER];
        request[0] = u8::try_from(family).unwrap_or_default();
        if let Some(link) = link {
            push(&mut request, RTA_OIF, &link.to_ne_bytes());
        }
        match self.ask("list routes", RTM_GETROUTE, NLM_F_DUMP, &request) {
            // A kernel without the family has no routes of it.
            Err(error) if error.is_unsupported() || error.errno() == Some(libc::EAFNOSUPPORT) => {
                Ok(Vec::new())
            }
            routes => routes,
        }
    }

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
        message.header.flags.set(RouteFlags::Onlink, route.onlink);
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
        self.change("add route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &message)
    }
}

/// A route as the kernel tells it, once for each of its ways; none where it is of no IP family, nor of a way whose gateway is of
/// another one (`RTA_VIA`).
pub(crate) fn read(message: &RouteMessage, link: u32) -> Vec<Route> {
    let header = &message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Vec::new(),
    };
    let (mut to, mut table, mut priority) = (Some(unspecified), u32::from(header.table), None);
    let mut ways = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => to = address(found),
            RouteAttribute::MultiPath(hops) => {
                let onlink = |flags: RouteNextHopFlags| flags.contains(RouteNextHopFlags::Onlink);
                ways.extend(hops.iter().map(|hop| (&hop.attributes, onlink(hop.flags))));
            }
            RouteAttribute::Table(found) => table = *found,
            RouteAttribute::Priority(found) => priority = Some(*found),
            _ => {}
        }
    }
    if ways.is_empty() {
        ways.push((&message.attributes, header.flags.contains(RouteFlags::Onlink)));
    }
    ways.retain(|(attributes, _)| !attributes.iter().any(|it| matches!(it, RouteAttribute::Via(_))));
    let destination = to.and_then(|to| IpNet::new(to, header.destination_prefix_length).ok());
    let Some(destination) = destination else { return Vec::new() };
    let through = |(attributes, onlink): (&Vec<RouteAttribute>, bool)| Route {
        destination,
        gateway: gateway(attributes),
        link,
        table: (table != u32::from(RouteHeader::RT_TABLE_MAIN)).then_some(table),
        scope: Some(RouteScope(header.scope.into())),
        priority,
        onlink,
    };
    ways.into_iter().map(through).collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(found) => address(found),
        _ => None,
    })
}

fn address(found: &RouteAddress) -> Option<IpAddr> {
    match found {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
