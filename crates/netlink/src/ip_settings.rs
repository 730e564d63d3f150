//! The settings of IP on a link, of which each network namespace begins with its own: what is below
//! `/proc/sys/net/ipv4/conf/<link>` and its IPv6 sibling, as the kernel tells it with the link.
//! It must not change them: rtnetlink sets some alone, and those without what belongs to them.

use serde::{Deserialize, Serialize};

use crate::attribute::{OF_INET6, nested};

// include/uapi/linux/if_link.h.
/// `AF_INET`, as the kind of an attribute in `IFLA_AF_SPEC`.
const OF_INET: u16 = 2;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;

/// The places of settings in the kernel's list, and their names (`enum` of include/uapi/linux/ip.h, less 1). Left out are times,
/// what cannot be written, and forwarding, which whoever switches it for the node switches on every link.
const IPV4: [(usize, &str); 29] = [
    (2, "proxy_arp"),
    (3, "accept_redirects"),
    (4, "secure_redirects"),
    (5, "send_redirects"),
    (6, "shared_media"),
    (7, "rp_filter"),
    (8, "accept_source_route"),
    (9, "bootp_relay"),
    (10, "log_martians"),
    (11, "tag"),
    (12, "arp_filter"),
    (13, "medium_id"),
    (14, "disable_xfrm"),
    (15, "disable_policy"),
    (16, "force_igmp_version"),
    (17, "arp_announce"),
    (18, "arp_ignore"),
    (19, "promote_secondaries"),
    (20, "arp_accept"),
    (21, "arp_notify"),
    (22, "accept_local"),
    (23, "src_valid_mark"),
    (24, "proxy_arp_pvlan"),
    (25, "route_localnet"),
    (28, "ignore_routes_with_linkdown"),
    (29, "drop_unicast_in_l2_multicast"),
    (30, "drop_gratuitous_arp"),
    (31, "bc_forwarding"),
    (32, "arp_evict_nocarrier"),
];

/// The same of IPv6 (`DEVCONF_*` of include/uapi/linux/ipv6.h). Left out are also the hop limit, which a router tells, and how the
/// link-local address is made, which goes with the link.
const IPV6: [(usize, &str); 35] = [
    (DISABLE_IPV6, "disable_ipv6"),
    (ACCEPT_RA, "accept_ra"),
    (4, "accept_redirects"),
    (AUTOCONF, "autoconf"),
    (6, "dad_transmits"),
    (7, "router_solicitations"),
    (USE_TEMPADDR, "use_tempaddr"),
    (15, "max_addresses"),
    (16, "force_mld_version"),
    (17, "accept_ra_defrtr"),
    (18, "accept_ra_pinfo"),
    (19, "accept_ra_rtr_pref"),
    (21, "accept_ra_rt_info_max_plen"),
    (22, "proxy_ndp"),
    (23, "optimistic_dad"),
    (24, "accept_source_route"),
    (27, "accept_dad"),
    (28, "force_tllao"),
    (29, "ndisc_notify"),
    (32, "suppress_frag_ndisc"),
    (33, "accept_ra_from_local"),
    (34, "use_optimistic"),
    (35, "accept_ra_mtu"),
    (37, "use_oif_addrs_only"),
    (38, "accept_ra_min_hop_limit"),
    (39, "ignore_routes_with_linkdown"),
    (40, "drop_unicast_in_l2_multicast"),
    (41, "drop_unsolicited_na"),
    (42, "keep_addr_on_down"),
    (44, "seg6_enabled"),
    (46, "enhanced_dad"),
    (48, "disable_policy"),
    (49, "accept_ra_rt_info_min_plen"),
    (56, "ndisc_evict_nocarrier"),
    (57, "accept_untracked_na"),
];
const FORWARDING: usize = 0;
const DISABLE_IPV6: usize = 26;
const ACCEPT_RA: usize = 3;
const AUTOCONF: usize = 5;
const USE_TEMPADDR: usize = 10;

/// The settings of both families in the kernel's order; none of a family that the link does not have.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct IpSettings {
    ipv4: Vec<i32>,
    ipv6: Vec<i32>,
}

/// One setting and the value that it had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpSetting {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The value.
    pub value: i32,
}

impl IpSetting {
    /// Whether to write it is to give the link IPv6.
    pub fn switches_ipv6_on(&self) -> bool {
        (self.family, self.name, self.value) == ("ipv6", "disable_ipv6", 0)
    }
}

impl IpSettings {
    /// From the attribute of a link that has them, `IFLA_AF_SPEC`.
    pub(crate) fn read(families: &[u8]) -> Self {
        let list = |family, kind| {
            let lists = nested(families, family).flat_map(move |family| nested(family, kind));
            lists.flat_map(|list| list.as_chunks::<4>().0).map(|value| i32::from_ne_bytes(*value)).collect()
        };
        Self { ipv4: list(OF_INET, IFLA_INET_CONF), ipv6: list(OF_INET6, IFLA_INET6_CONF) }
    }

    /// Those of these that have another value now, with the values that they have here.
    pub fn changed_in(&self, now: &Self) -> Vec<IpSetting> {
        let changed = |family, names: &[(usize, &'static str)], mine: &[i32], now: &[i32]| {
            let of = |(place, name): &(usize, &'static str)| {
                let (value, now) = (*mine.get(*place)?, *now.get(*place)?);
                (value != now).then_some(IpSetting { family, name, value })
            };
            names.iter().filter_map(of).collect::<Vec<_>>()
        };
        let ipv4 = changed("ipv4", &IPV4, &self.ipv4, &now.ipv4);
        [ipv4, changed("ipv6", &IPV6, &self.ipv6, &now.ipv6)].concat()
    }

    /// Whether a link with these does in IPv6 what the kernel has every link do, unless a node says otherwise: it makes an address
    /// of its own, and follows routers. So does one without IPv6, since it does nothing.
    pub fn is_usual(&self) -> bool {
        const USUAL: [(usize, i32); 4] =
            [(DISABLE_IPV6, 0), (ACCEPT_RA, 1), (AUTOCONF, 1), (USE_TEMPADDR, 0)];
        USUAL.iter().all(|(place, usual)| self.ipv6.get(*place).is_none_or(|value| value == usual))
    }

    /// Whether the kernel itself follows routers: then what came of their advertisements comes again.
    pub fn follows_routers(&self) -> bool {
        // 2 is: although it forwards (`ipv6_accept_ra`, include/net/ipv6.h).
        match (self.ipv6.get(ACCEPT_RA), self.ipv6.get(FORWARDING)) {
            (Some(0), _) => false,
            (Some(1), Some(forwards)) => *forwards == 0,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let with = |disabled: i32, accepts: i32, filter: i32| {
            let mut settings = IpSettings { ipv4: vec![0; 8], ipv6: vec![0; 27] };
            (settings.ipv4[7], settings.ipv6[ACCEPT_RA], settings.ipv6[DISABLE_IPV6]) =
                (filter, accepts, disabled);
            settings
        };
        let names = |before: &IpSettings, now: &IpSettings| -> Vec<_> {
            before.changed_in(now).into_iter().map(|it| (it.family, it.name, it.value)).collect()
        };
        let changed = names(&with(1, 0, 2), &with(0, 1, 0));
        assert_eq!(
            changed,
            [("ipv4", "rp_filter", 2), ("ipv6", "disable_ipv6", 1), ("ipv6", "accept_ra", 0)]
        );
        let on = with(0, 1, 0).changed_in(&with(1, 1, 0));
        assert!(on.len() == 1 && on[0].switches_ipv6_on(), "{on:?}");
        let usual = |disabled, accepts| {
            let mut settings = with(disabled, accepts, 2);
            settings.ipv6[AUTOCONF] = 1;
            settings.is_usual()
        };
        assert!(usual(0, 1) && !usual(1, 1) && !usual(0, 0) && IpSettings::default().is_usual());
        // A link without IPv6 tells nothing of it.
        assert_eq!(names(&with(1, 0, 0), &IpSettings::default()), []);
    }

    #[test]
    fn every_setting_is_where_the_kernel_has_it() {
        use nix::sched::{CloneFlags, unshare};
        use std::process::Command;
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let added =
            Command::new("ip").args(["link", "add", "v0", "type", "veth", "peer", "name", "v1"]).status();
        assert!(added.unwrap().success());
        let mut netlink = crate::Netlink::open().unwrap();
        let mut ask = || netlink.link_by_name(&"v0".parse().unwrap()).unwrap().ip;
        for (family, settings) in [("ipv4", &IPV4[..]), ("ipv6", &IPV6[..])] {
            let mut seen = 0;
            for (place, name) in settings {
                let path = format!("/proc/sys/net/{family}/conf/v0/{name}");
                let Ok(was) = std::fs::read_to_string(&path) else { continue };
                let was: i32 = was.trim().parse().unwrap();
                // Of some only 0 and 1 can be, of others only what makes sense beside them.
                let other = i32::from(was == 0);
                if std::fs::write(&path, other.to_string()).is_err() {
                    continue;
                }
                let told = ask();
                let list = if family == "ipv4" { &told.ipv4 } else { &told.ipv6 };
                assert_eq!(list.get(*place), Some(&other), "{family} {name}");
                std::fs::write(&path, was.to_string()).unwrap();
                seen += 1;
            }
            // Not every kernel has all.
            assert!(seen > settings.len() / 2, "{family}: {seen}");
        }
    }
}
