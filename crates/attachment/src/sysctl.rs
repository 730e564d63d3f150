//! Kernel settings of links, below `/proc/sys/net`: set in the pod, put back on the host.
//! It must not change any that are the namespace's and not a link's, but IPv6 on a pod's loopback.

use std::io;
use std::path::PathBuf;

use netlink::{IpSetting, Netns};

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
    kept.map_err(|source| Error::Sysctl { path: path(family, link, name), value: value.to_owned(), source })
}

/// Gives a link of this process's namespace a setting that it had.
pub(crate) fn put_back(link: &str, setting: IpSetting) -> Result<(), Error> {
    let (path, value) = (path(setting.family, link, setting.name), setting.value.to_string());
    std::fs::write(&path, &value).map_err(|source| Error::Sysctl { path, value, source })
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

/// Whether IPv6 is switched off for this process's whole namespace. Whoever writes that writes it for every link.
pub(crate) fn is_ipv6_off() -> bool {
    let all = std::fs::read_to_string(path("ipv6", "all", "disable_ipv6"));
    all.is_ok_and(|all| all.trim() != "0")
}
