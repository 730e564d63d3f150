//! What IPAM answered, put on the pod's link: addresses, the link up, duplicate address detection, routes.
//! It must not ask IPAM.

use std::net::IpAddr;
use std::time::Duration;

use cni::Outcome;
use netlink::{Group, Link, Netlink, Netns, Route, RouteScope, Watch};

use crate::error::Error;
use crate::sysctl;

/// How long duplicate address detection may take.
const SETTLE: Duration = Duration::from_secs(5);

/// Gives `link` the addresses and routes of `outcome` and brings it up.
pub(crate) fn configure(
    pod: &Netns,
    netlink: &mut Netlink,
    link: &Link,
    outcome: &Outcome,
) -> Result<(), Error> {
    if outcome.ips.iter().any(|ip| ip.address.addr().is_ipv6()) {
        sysctl::enable_ipv6(pod, &link.name)?;
    }
    let watch = pod.enter(|| Watch::open(&[Group::Ipv6Address]))??;
    for ip in &outcome.ips {
        match netlink.add_address(link.index, ip.address) {
            Err(error) if !error.is_exists() => return Err(error.into()),
            _ => {}
        }
    }
    netlink.change_link(
        link.index,
        "set link up",
        &netlink::LinkChange { up: Some(true), ..Default::default() },
    )?;
    if outcome.ips.iter().any(|ip| ip.gateway.is_some_and(|gateway| gateway.is_ipv6())) {
        settle(&watch, netlink, link)?;
    }
    for route in &outcome.routes {
        netlink.add_route(&to_kernel(route, outcome, link))?;
    }
    Ok(())
}

/// Waits until no address is tentative: a route through an IPv6 gateway would have no source before.
fn settle(watch: &Watch, netlink: &mut Netlink, link: &Link) -> Result<(), Error> {
    let settled = watch.until(SETTLE, || -> Result<Option<()>, Error> {
        let addresses = netlink.addresses(link.index)?;
        if let Some(address) = addresses.iter().find(|address| address.dad_failed) {
            return Err(Error::Duplicate { address: address.net.to_string(), link: link.name.clone() });
        }
        Ok((!addresses.iter().any(|address| address.tentative)).then_some(()))
    })?;
    let running = netlink.link_by_index(link.index)?.running;
    match settled {
        // Without a carrier detection cannot end; it goes on when the carrier comes.
        None if running => {
            Err(Error::Duplicate { address: "a tentative address".to_owned(), link: link.name.clone() })
        }
        _ => Ok(()),
    }
}

fn to_kernel(route: &cni::Route, outcome: &Outcome, link: &Link) -> Route {
    let v4 = route.dst.addr().is_ipv4();
    let gateways = outcome.ips.iter().filter_map(|ip| ip.gateway);
    let on_link = route.scope == Some(RouteScope::LINK.0);
    let of_subnet = || gateways.into_iter().find(|gateway: &IpAddr| gateway.is_ipv4() == v4 && !on_link);
    let gateway = route.gw.or_else(of_subnet);
    Route {
        destination: route.dst,
        gateway,
        link: link.index,
        table: route.table,
        scope: route.scope.map(RouteScope),
        priority: route.priority,
        onlink: route.onlink,
    }
}
