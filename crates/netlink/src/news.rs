//! What rtnetlink says unasked of links and default routes, for whoever waits for many things at once.
//! It must not read anything but what was said: to ask about a link may take as long as somebody else is busy with one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::SockProtocol;

use crate::datagram::{RTM_NEWLINK, RTMGRP_LINK, messages};
use crate::error::Error;
use crate::listen::{Heard, Listener};

// include/uapi/linux/rtnetlink.h.
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// `struct ifinfomsg`, whose flags are its third number.
const LINK_LEN: usize = 16;
const IFLA_IFNAME: u16 = 3;
/// include/uapi/linux/if.h; set where the link is up and has a carrier (`dev_get_flags`, net/core/dev.c).
const IFF_LOWER_UP: u32 = 1 << 16;

/// A subscription in the network namespace in which it was opened.
#[derive(Debug)]
pub struct News(Listener);

impl News {
    /// Subscribes to what the kernel says from now on.
    pub fn open() -> Result<Self, Error> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        Listener::open(SockProtocol::NetlinkRoute, groups).map(Self)
    }

    /// Takes in all that was said so far. Whether a default route of any table came or went, or `matters` was true of a link's
    /// name and whether it is up with a carrier, or something was lost.
    pub fn drain(&mut self, mut matters: impl FnMut(&str, bool) -> bool) -> Result<bool, Error> {
        let mut any = false;
        loop {
            match self.0.hear()? {
                Heard::Message(bytes) => any |= is_news(bytes, &mut matters),
                Heard::Lost => any = true,
                Heard::Nothing => return Ok(any),
            }
        }
    }
}

/// Looks at every message of a datagram.
fn is_news(datagram: &[u8], matters: &mut impl FnMut(&str, bool) -> bool) -> bool {
    messages(datagram).fold(false, |any, message| {
        any | match message.kind {
            RTM_NEWLINK => link(message.payload).is_some_and(|(name, carrier)| matters(name, carrier)),
            // `rtm_dst_len`, the second byte of `struct rtmsg`.
            RTM_NEWROUTE | RTM_DELROUTE => message.payload.get(1) == Some(&0),
            _ => false,
        }
    })
}

/// A link's name, which is the first of its attributes (`rtnl_fill_ifinfo`, net/core/rtnetlink.c), and whether it is up with a
/// carrier.
fn link(message: &[u8]) -> Option<(&str, bool)> {
    let (link, attributes) = message.split_at_checked(LINK_LEN)?;
    let flags = u32::from_ne_bytes(*link.get(8..12)?.first_chunk()?);
    let (head, rest) = attributes.split_at_checked(4)?;
    let (length, kind) = (u16::from_ne_bytes([head[0], head[1]]), u16::from_ne_bytes([head[2], head[3]]));
    let name = rest.get(..usize::from(length).checked_sub(4)?).filter(|_| kind == IFLA_IFNAME)?;
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    Some((name, flags & IFF_LOWER_UP != 0))
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for News {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct nlmsghdr`.
    const HEADER_LEN: usize = 16;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_LEN + payload.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], payload].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A link as the kernel describes it, up with a carrier or not.
    fn link(name: &str, carrier: bool) -> Vec<u8> {
        let flags: u32 = if carrier { 1 << 16 | 1 } else { 1 };
        let name = [name.as_bytes(), &[0]].concat();
        let length = u16::try_from(4 + name.len()).unwrap();
        let head = [&[0; 8][..], &flags.to_ne_bytes(), &[0; 4], &length.to_ne_bytes(), &3u16.to_ne_bytes()];
        message(RTM_NEWLINK, &[&head.concat()[..], &name].concat())
    }

    /// Whether it is news to somebody who knows `ens1f0` to have a carrier; and the links that were told of.
    fn news(datagram: &[u8]) -> (bool, Vec<String>) {
        let mut told = Vec::new();
        let any = is_news(datagram, &mut |name, carrier| {
            told.push(name.to_owned());
            name == "ens1f0" && !carrier
        });
        (any, told)
    }

    fn route(length: u8) -> Vec<u8> {
        message(RTM_NEWROUTE, &[2, length, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0])
    }

    #[test]
    fn carriers_and_default_routes_in_one_datagram() {
        assert_eq!(news(&link("ens1f0", true)), (false, vec!["ens1f0".to_owned()]));
        assert!(news(&link("ens1f0", false)).0);
        assert!(!news(&link("veth0", false)).0);
        assert!(!news(&route(24)).0);
        assert!(news(&route(0)).0);
        let all = [route(24), link("veth0", true), route(0), link("ens1f0", true)].concat();
        assert_eq!(news(&all), (true, vec!["veth0".to_owned(), "ens1f0".to_owned()]));
    }

    #[test]
    fn nonsense_is_nothing() {
        let whole = link("ens1f0", false);
        let heads = (0..whole.len()).map(|end| &whole[..end]);
        for bytes in [&[][..], &[0; 15], &[0; 16], &[255; 40]].into_iter().chain(heads) {
            assert!(bytes.len() > 38 || !news(bytes).0, "{bytes:?}");
        }
    }

    #[test]
    fn the_kernel_says_it_of_a_link_of_its_own() {
        use nix::sched::{CloneFlags, unshare};
        use std::process::Command;
        let ip = |args: &str| {
            assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "{args}");
        };
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        let mut news = News::open().unwrap();
        ip("link set v1 up");
        let mut told = Vec::new();
        let began = std::time::Instant::now();
        // The kernel tells of a carrier in its own time (`linkwatch_event`, net/core/link_watch.c).
        while told.iter().rfind(|(name, _)| name == "v0") != Some(&("v0".to_owned(), true)) {
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "{told:?}");
            let any = news.drain(|name, carrier| {
                told.push((name.to_owned(), carrier));
                false
            });
            assert!(!any.unwrap());
            std::thread::yield_now();
        }
    }
}
