//! The default routes of a network namespace, of both families and in every table.
//! It must not judge which of them matter.

use netlink_packet_core::NLM_F_DUMP;

use crate::attribute::{attributes, nested, word};
use crate::error::Error;
use crate::route::{ROUTE_HEADER, RTA_OIF};
use crate::socket::Netlink;

// include/uapi/linux/rtnetlink.h and nexthop.h.
const RTM_GETNEXTHOP: u16 = 106;
pub(crate) const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
pub(crate) const RTA_NH_ID: u16 = 30;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const RTN_UNICAST: u8 = 1;
/// `struct nhmsg`.
const NEXTHOP_HEADER: usize = 8;
/// `struct rtnexthop`: length, flags, weight, interface.
pub(crate) const HOP_HEADER: usize = 8;

/// One way out of this network namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DefaultRoute {
    /// The index of the link that it leaves by.
    pub link: u32,
    /// The table that it is in; 254 is the main one.
    pub table: u32,
}

impl Netlink {
    /// Every unicast default route; one that has several ways is as many.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, Error> {
        self.defaults(None)
    }

    /// A default route that leaves by this link; `None` where none does.
    pub fn default_route_by(&mut self, link: u32) -> Result<Option<DefaultRoute>, Error> {
        Ok(self.defaults(Some(link))?.into_iter().find(|route| route.link == link))
    }

    fn defaults(&mut self, by: Option<u32>) -> Result<Vec<DefaultRoute>, Error> {
        let mut found = Vec::new();
        let mut by_nexthop = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            for reply in &self.routes(family, by)? {
                let Some(route) = Seen::of(reply).filter(|route| route.family == family) else { continue };
                let links = route.links.iter().map(|link| DefaultRoute { link: *link, table: route.table });
                found.extend(links);
                // The kernel leaves the ways out where net.ipv4.nexthop_compat_mode is off.
                by_nexthop
                    .extend(route.nexthop.filter(|_| route.links.is_empty()).map(|id| (id, route.table)));
            }
        }
        if !by_nexthop.is_empty() {
            let nexthops = self.nexthops()?;
            for (id, table) in by_nexthop {
                found.extend(leaving_by(&nexthops, id).into_iter().map(|link| DefaultRoute { link, table }));
            }
        }
        Ok(found)
    }

    fn nexthops(&mut self) -> Result<Vec<Nexthop>, Error> {
        let replies = self.ask("list nexthops", RTM_GETNEXTHOP, NLM_F_DUMP, &[0; NEXTHOP_HEADER])?;
        Ok(replies.iter().filter_map(|reply| Nexthop::of(reply)).collect())
    }
}

/// What a route message says, where it is a default route.
struct Seen {
    family: i32,
    table: u32,
    links: Vec<u32>,
    nexthop: Option<u32>,
}

impl Seen {
    fn of(payload: &[u8]) -> Option<Self> {
        let header = payload.first_chunk::<ROUTE_HEADER>()?;
        let [family, prefix, source_prefix, _, table, _, _, kind, ..] = *header;
        if prefix != 0 || source_prefix != 0 || kind != RTN_UNICAST {
            return None;
        }
        let mut seen = Self { family: family.into(), table: table.into(), links: Vec::new(), nexthop: None };
        for (kind, value) in attributes(&payload[ROUTE_HEADER..]) {
            match kind {
                RTA_OIF => seen.links.extend(word(value, 0)),
                RTA_TABLE => seen.table = word(value, 0).unwrap_or(seen.table),
                RTA_NH_ID => seen.nexthop = word(value, 0),
                RTA_MULTIPATH => seen.links.extend(hops(value)),
                _ => {}
            }
        }
        Some(seen)
    }
}

/// The links of a route that has several ways.
pub(crate) fn hops(mut bytes: &[u8]) -> Vec<u32> {
    let mut links = Vec::new();
    while let Some(header) = bytes.first_chunk::<HOP_HEADER>() {
        links.extend(word(header, 1));
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]])).next_multiple_of(4);
        bytes = bytes.get(length.max(HOP_HEADER)..).unwrap_or_default();
    }
    links
}

struct Nexthop {
    id: u32,
    link: Option<u32>,
    /// The ids of the nexthops of a group.
    members: Vec<u32>,
}

impl Nexthop {
    fn of(payload: &[u8]) -> Option<Self> {
        let bytes = payload.get(NEXTHOP_HEADER..)?;
        // `struct nexthop_grp` is two words, of which the first is the id.
        let members =
            nested(bytes, NHA_GROUP).flat_map(|group| group.chunks(8)).filter_map(|member| word(member, 0));
        Some(Self {
            id: word(nested(bytes, NHA_ID).next()?, 0)?,
            link: nested(bytes, NHA_OIF).next().and_then(|value| word(value, 0)),
            members: members.collect(),
        })
    }
}

/// A group has no groups in it (`nh_check_attr_group`, net/ipv4/nexthop.c).
fn leaving_by(nexthops: &[Nexthop], id: u32) -> Vec<u32> {
    let Some(nexthop) = nexthops.iter().find(|nexthop| nexthop.id == id) else { return Vec::new() };
    let members = nexthops.iter().filter(|member| nexthop.members.contains(&member.id));
    nexthop.link.into_iter().chain(members.filter_map(|member| member.link)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes
    }

    fn route(prefix: u8, kind: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![2, prefix, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0];
        bytes.extend(parts.concat());
        bytes
    }

    fn links(payload: &[u8]) -> Option<(u32, Vec<u32>)> {
        Seen::of(payload).map(|seen| (seen.table, seen.links))
    }

    #[test]
    fn one_way_out() {
        let out = attribute(RTA_OIF, &7_u32.to_ne_bytes());
        assert_eq!(links(&route(0, RTN_UNICAST, std::slice::from_ref(&out))), Some((254, vec![7])));
        let table = attribute(RTA_TABLE, &1001_u32.to_ne_bytes());
        assert_eq!(links(&route(0, RTN_UNICAST, &[out.clone(), table])), Some((1001, vec![7])));
        assert_eq!(links(&route(24, RTN_UNICAST, std::slice::from_ref(&out))), None);
        // RTN_UNREACHABLE leads nowhere.
        assert_eq!(links(&route(0, 7, &[out])), None);
    }

    #[test]
    fn several_ways_out() {
        let hop = |link: u32| {
            let gateway = attribute(5, &[10, 0, 0, 1]);
            let mut bytes = 16_u16.to_ne_bytes().to_vec();
            bytes.extend([0, 0]);
            bytes.extend(link.to_ne_bytes());
            bytes.extend(gateway);
            bytes
        };
        let multipath = attribute(RTA_MULTIPATH, &[hop(3), hop(4)].concat());
        let payload = route(0, RTN_UNICAST, &[multipath]);
        assert_eq!(links(&payload), Some((254, vec![3, 4])));
        for end in 0..payload.len() {
            let _ = links(&payload[..end]);
        }
    }

    #[test]
    fn by_nexthop_and_group() {
        let nexthop = |id: u32, link: Option<u32>, members: &[u32]| {
            let mut bytes = vec![0; NEXTHOP_HEADER];
            bytes.extend(attribute(NHA_ID, &id.to_ne_bytes()));
            bytes.extend(link.map(|link| attribute(NHA_OIF, &link.to_ne_bytes())).unwrap_or_default());
            let group: Vec<u8> = members.iter().flat_map(|id| [id.to_ne_bytes(), [0; 4]].concat()).collect();
            bytes.extend(attribute(NHA_GROUP, &group));
            Nexthop::of(&bytes).unwrap()
        };
        let all = [nexthop(1, Some(7), &[]), nexthop(2, Some(8), &[]), nexthop(9, None, &[1, 2])];
        assert_eq!(leaving_by(&all, 2), [8]);
        assert_eq!(leaving_by(&all, 9), [7, 8]);
        assert_eq!(leaving_by(&all, 5), [0; 0]);
    }
}
