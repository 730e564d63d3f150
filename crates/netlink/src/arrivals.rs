//! What the kernel said of a link when it came to a namespace, for whoever sent it there: to ask is to wait behind everybody
//! who moves one meanwhile, and to be told is not.
//! It must not ask the kernel anything.

use nix::sys::socket::SockProtocol;

use crate::datagram::{Message, RTM_DELLINK, RTM_NEWLINK, RTMGRP_LINK, messages};
use crate::error::Error;
use crate::link::{self, Link};
use crate::listen::{Heard, Listener};

/// A subscription in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Arrivals(Listener);

impl Arrivals {
    /// Subscribes to what the kernel says of links from now on.
    pub fn open() -> Result<Self, Error> {
        Listener::open(SockProtocol::NetlinkRoute, RTMGRP_LINK).map(Self)
    }

    /// The link of that name as the kernel told of it last; `None` where it did not, or where some of what it said is lost:
    /// then only to ask helps. Whoever sent the link here by one message has been told of it when that is acknowledged: as it
    /// came, as it is renamed, and as it comes up. The kernel does not tell of an alias that is given to a link that stays down
    /// (`__dev_change_net_namespace`, net/core/dev.c, and `do_setlink`, net/core/rtnetlink.c, of Linux 6.12).
    pub fn last(&mut self, name: &str) -> Option<Link> {
        let mut known = None;
        loop {
            match self.0.hear() {
                Ok(Heard::Message(datagram)) => {
                    known = messages(datagram).fold(known, |known, message| after(known, &message, name));
                }
                Ok(Heard::Nothing) => return known,
                Ok(Heard::Lost) | Err(_) => break,
            }
        }
        while !matches!(self.0.hear(), Ok(Heard::Nothing) | Err(_)) {}
        None
    }
}

/// What is known of the link of that name after one more message.
fn after(known: Option<Link>, message: &Message<'_>, name: &str) -> Option<Link> {
    // Another family's is no description: a bridge tells of its ports in messages of the same kind.
    let told = link::parse("hear of a link", message.payload).ok().filter(|_| message.payload[0] == 0);
    match (message.kind, told) {
        (RTM_NEWLINK, Some(link)) if link.name == name => Some(link).filter(|_| message.is_whole),
        // It has another name by now, or is gone.
        (RTM_NEWLINK | RTM_DELLINK, Some(link)) => known.filter(|known| known.index != link.index),
        _ => known,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::{LinkChange, Netlink, Netns};

    /// A new network namespace, in which the calling thread is from now on.
    fn namespace() -> Netns {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        Netns::current().unwrap()
    }

    fn ip(args: &str) {
        assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "{args}");
    }

    #[test]
    fn a_link_that_comes_is_told_of_as_it_is_then() {
        let there = namespace();
        ip("link add net1 address 02:00:00:00:00:01 mtu 1400 type veth peer name peer");
        ip("link set net1 up addrgenmode none alias eth1");
        ip("link property add dev net1 altname enp1s0");
        let mut pod = Netlink::open().unwrap();
        let host = namespace();
        let mut netlink = Netlink::open().unwrap();
        let mut arrivals = Arrivals::open().unwrap();
        for up in [false, true] {
            let link = pod.link_by_name(&"net1".parse().unwrap()).unwrap();
            let change = LinkChange { up: Some(up), ..LinkChange::default() };
            let home = LinkChange { netns: Some(host.as_fd()), name: Some("eth1"), ..change.clone() };
            pod.change_link(link.index, "move link back", &home).unwrap();
            let told = arrivals.last("eth1");
            let asked = netlink.link_by_name(&"eth1".parse().unwrap()).unwrap();
            assert_eq!((asked.up, asked.mtu, &asked.alias[..]), (up, 1400, "eth1"));
            assert_eq!(told, Some(asked.clone()));
            // Whatever was said is said once.
            assert_eq!(arrivals.last("eth1"), None);
            let back = LinkChange { netns: Some(there.as_fd()), name: Some("net1"), ..change };
            netlink.change_link(asked.index, "move link", &back).unwrap();
        }
        assert_eq!(arrivals.last("net1"), None);
    }

    #[test]
    fn one_that_is_renamed_or_gone_or_a_bridges_port_is_not_taken_for_what_it_was() {
        namespace();
        let mut arrivals = Arrivals::open().unwrap();
        ip("link add br0 type bridge");
        ip("link add eth1 type veth peer name peer1");
        ip("link set eth1 name eth2");
        assert_eq!(arrivals.last("eth1"), None);
        ip("link set eth2 name eth1");
        ip("link del eth1");
        assert_eq!(arrivals.last("eth1"), None);
        ip("link add eth1 type veth peer name peer");
        ip("link set eth1 master br0");
        let told = arrivals.last("eth1").unwrap();
        assert_eq!((told.kind.as_deref(), told.master_kind.as_deref()), (Some("veth"), Some("bridge")));
        ip("link set eth1 nomaster");
        let told = arrivals.last("eth1").unwrap();
        assert_eq!((told.kind.as_deref(), told.master), (Some("veth"), None));
    }

    #[test]
    fn where_some_of_it_is_lost_nothing_is_known() {
        namespace();
        let mut arrivals =
            Arrivals(Listener::with_room(SockProtocol::NetlinkRoute, RTMGRP_LINK, 4096).unwrap());
        for link in 0..30 {
            ip(&format!("link add d{link} type bridge"));
        }
        assert_eq!(arrivals.last("d0"), None);
        ip("link set d0 up");
        assert!(arrivals.last("d0").is_some_and(|link| link.up));
    }
}
