//! What the kernel said of a link when it came to a namespace, for whoever sent it there: to ask is to wait behind everybody
//! who moves one meanwhile, and to be told is not.
//! It must not ask the kernel anything.

use nix::sys::socket::SockProtocol;

use crate::error::Error;
use crate::link::{self, Link};
use crate::listen::{Heard, Listener, RTM_NEWLINK, RTMGRP_LINK, messages};

/// A subscription in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Arrivals(Listener);

impl Arrivals {
    /// Subscribes to what the kernel says of links from now on.
    pub fn open() -> Result<Self, Error> {
        Listener::open(SockProtocol::NetlinkRoute, RTMGRP_LINK).map(Self)
    }

    /// The link of that name as the kernel told of it last; `None` where it did not, or some of what it said is lost. It tells
    /// before it acknowledges the message that moves the link, and again where the message brings it up; of an alias that the
    /// message gives to a link that stays down it does not tell (`do_setlink`, net/core/rtnetlink.c of Linux 6.12).
    pub fn last(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut last = None;
        loop {
            match self.0.hear()? {
                Heard::Message(datagram) => {
                    for message in messages(datagram).filter(|message| message.kind == RTM_NEWLINK) {
                        let link = link::parse("hear of a link", message.payload)?;
                        if link.name == name {
                            last = Some(link).filter(|_| message.is_whole);
                        }
                    }
                }
                Heard::Lost => {
                    while self.0.hear()? != Heard::Nothing {}
                    return Ok(None);
                }
                Heard::Nothing => return Ok(last),
            }
        }
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
            let told = arrivals.last("eth1").unwrap();
            let asked = netlink.link_by_name(&"eth1".parse().unwrap()).unwrap();
            assert_eq!((asked.up, asked.mtu, &asked.alias[..]), (up, 1400, "eth1"));
            assert_eq!(told, Some(asked.clone()));
            // Whatever was said is said once.
            assert_eq!(arrivals.last("eth1").unwrap(), None);
            let back = LinkChange { netns: Some(there.as_fd()), name: Some("net1"), ..change };
            netlink.change_link(asked.index, "move link", &back).unwrap();
        }
        assert_eq!(arrivals.last("net1").unwrap(), None);
    }

    #[test]
    fn where_some_of_it_is_lost_nothing_is_known() {
        namespace();
        let mut arrivals =
            Arrivals(Listener::with_room(SockProtocol::NetlinkRoute, RTMGRP_LINK, 4096).unwrap());
        for link in 0..30 {
            ip(&format!("link add d{link} type bridge"));
        }
        assert_eq!(arrivals.last("d0").unwrap(), None);
        ip("link set d0 up");
        assert!(arrivals.last("d0").unwrap().is_some_and(|link| link.up));
    }
}
