//! Telling the neighbours about the pod's addresses once the link can carry it.
//! It must not fail an ADD: whoever misses it asks.

use std::time::Duration;

use cni::Outcome;
use netlink::{Group, Link, Netlink, Netns, Watch};

use crate::error::Error;

/// How long an ADD waits for the carrier before it announces anyway.
const CARRIER: Duration = Duration::from_millis(200);

/// Announces every address of `outcome` on `link`.
pub(crate) fn announce(
    pod: &Netns,
    netlink: &mut Netlink,
    link: &Link,
    outcome: &Outcome,
) -> Result<(), Error> {
    let Some(mac) = link.mac.as_ref().filter(|mac| mac.is_unicast()) else { return Ok(()) };
    pod.enter(|| -> Result<(), Error> {
        let watch = Watch::open(&[Group::Link])?;
        watch.until(CARRIER, || -> Result<Option<()>, Error> {
            Ok(netlink.link_by_index(link.index)?.running.then_some(()))
        })?;
        for ip in &outcome.ips {
            // Without a carrier the packet is dropped, which is no harm: the kernel's own notification follows.
            let _ = netlink::announce(link.index, mac, ip.address.addr());
        }
        Ok(())
    })?
}
