//! What rtnetlink says unasked of links and default routes, for whoever waits for many things at once.
//! It must not say what changed: whoever waits looks again.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::SockProtocol;

use crate::error::Error;
use crate::listen::{Heard, Listener};

// include/uapi/linux/rtnetlink.h.
const RTMGRP_LINK: u32 = 1;
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// `struct nlmsghdr`.
const HEADER_LEN: usize = 16;

/// What was said, taken together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Of links: they came, went, changed, or have a carrier or none.
    pub links: bool,
    /// Of default routes, of any table.
    pub default_routes: bool,
}

/// A subscription in the network namespace in which it was opened.
#[derive(Debug)]
pub struct News(Listener);

impl News {
    /// Subscribes to what the kernel says from now on.
    pub fn open() -> Result<Self, Error> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        Listener::open(SockProtocol::NetlinkRoute, groups).map(Self)
    }

    /// Takes in all that was said so far.
    pub fn drain(&mut self) -> Result<Said, Error> {
        let mut said = Said::default();
        loop {
            match self.0.hear()? {
                Heard::Message(bytes) => said.take(bytes),
                Heard::Lost => said = Said { links: true, default_routes: true },
                Heard::Nothing => return Ok(said),
            }
        }
    }
}

impl Said {
    /// Looks at every message of a datagram.
    fn take(&mut self, mut datagram: &[u8]) {
        while let Some((header, rest)) = datagram.split_at_checked(HEADER_LEN) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            match kind {
                RTM_NEWLINK | RTM_DELLINK => self.links = true,
                // `rtm_dst_len`, the second byte of `struct rtmsg`.
                RTM_NEWROUTE | RTM_DELROUTE => self.default_routes |= rest.get(1) == Some(&0),
                _ => {}
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX).max(HEADER_LEN);
            datagram = datagram.get(length.saturating_add(3) & !3..).unwrap_or_default();
        }
    }
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

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_LEN + payload.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], payload].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn said(datagram: &[u8]) -> Said {
        let mut said = Said::default();
        said.take(datagram);
        said
    }

    #[test]
    fn links_and_default_routes_in_one_datagram() {
        let route = |length: u8| message(RTM_NEWROUTE, &[2, length, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
        assert_eq!(said(&message(RTM_NEWLINK, &[0; 17])), Said { links: true, default_routes: false });
        assert_eq!(said(&route(24)), Said::default());
        assert_eq!(said(&route(0)), Said { links: false, default_routes: true });
        let all = [route(24), message(RTM_DELLINK, &[0; 5]), route(0)].concat();
        assert_eq!(said(&all), Said { links: true, default_routes: true });
    }

    #[test]
    fn nonsense_is_nothing() {
        for bytes in [&[][..], &[0; 15], &[0; 16], &[255; 40]] {
            assert_eq!(said(bytes), Said::default());
        }
    }
}
