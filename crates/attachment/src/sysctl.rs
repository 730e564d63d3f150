//! Kernel settings of links, below `/proc/sys/net`: set in the pod, read on the host.
//! It must not change any of the host's.

use std::io;
use std::path::PathBuf;

use netlink::Netns;

use crate::error::Error;

/// Has the kernel announce the link's addresses whenever they or the link change (`arp_notify`, `ndisc_notify`).
pub(crate) fn notify_neighbours(pod: &Netns, link: &str) -> Result<(), Error> {
    // A pod without IPv6 has no ndisc_notify; one that mounts /proc/sys read-only has neither. The explicit
    // announcements do the same once.
    let _ = set(pod, [("ipv4", link, "arp_notify", "1"), ("ipv6", link, "ndisc_notify", "1")])?;
    Ok(())
}

/// Lets an IPv6 address be used while duplicate address detection still runs.
pub(crate) fn optimistic_dad(pod: &Netns, link: &str) -> Result<(), Error> {
    let _ = set(pod, [("ipv6", link, "optimistic_dad", "1")])?;
    Ok(())
}

/// Makes IPv6 usable on the link and keeps its addresses while it is down.
pub(crate) fn enable_ipv6(pod: &Netns, link: &str) -> Result<(), Error> {
    let disable = |name| ("ipv6", name, "disable_ipv6", "0");
    let keep @ (family, _, name, value) = ("ipv6", link, "keep_addr_on_down", "1");
    let [_, _, kept] = set(pod, [disable("lo"), disable(link), keep])?;
    kept.map_err(|source| Error::Sysctl { path: path(family, link, name), value, source })
}

/// How the kernel makes the link-local address of a link that comes to a namespace (`ipv6_add_dev`, net/ipv6/addrconf.c of Linux
/// 6.12); `None` where it makes none.
pub(crate) fn new_addr_gen_mode(netns: &Netns) -> Option<u8> {
    const STABLE_PRIVACY: u8 = 2;
    // A default secret goes before the default mode, and cannot be read while there is none.
    let secret = || std::fs::read(path("ipv6", "default", "stable_secret")).is_ok();
    let mode = || read_addr_gen_mode("default");
    netns.enter(|| if secret() { Some(STABLE_PRIVACY) } else { mode() }).ok().flatten()
}

/// How the kernel makes that of a link which is there: read here, it waits for nobody who moves links.
pub(crate) fn addr_gen_mode(netns: &Netns, link: &str) -> Option<u8> {
    netns.enter(|| read_addr_gen_mode(link)).ok().flatten()
}

fn read_addr_gen_mode(link: &str) -> Option<u8> {
    std::fs::read_to_string(path("ipv6", link, "addr_gen_mode")).ok()?.trim().parse().ok()
}

/// A setting: family, link, name, and what it is to be.
type Setting<'a> = (&'static str, &'a str, &'static str, &'static str);

/// Each, past those that fail. The outer result is of entering the namespace, the inner ones are of the settings.
fn set<const N: usize>(pod: &Netns, settings: [Setting<'_>; N]) -> Result<[io::Result<()>; N], Error> {
    Ok(pod.enter(|| {
        settings.map(|(family, link, name, value)| {
            let path = path(family, link, name);
            std::fs::write(&path, value).or_else(|error| {
                // Where /proc/sys is read-only the value may be right already.
                let current = std::fs::read_to_string(&path);
                if current.is_ok_and(|current| current.trim() == value) { Ok(()) } else { Err(error) }
            })
        })
    })?)
}

fn path(family: &str, link: &str, name: &str) -> PathBuf {
    ["/proc/sys/net", family, "conf", link, name].iter().collect()
}
