//! Notifications: waiting for the kernel to say that a link or an address changed.
//! It must not say what changed: whoever waits looks again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;

/// What to be told of; `RTNLGRP_*` of include/uapi/linux/rtnetlink.h.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Links that come, go or change.
    Link,
    /// IPv6 addresses, among them the end of duplicate address detection.
    Ipv6Address,
}

/// A subscription in the network namespace in which it was opened. Open it before the first look, so that nothing falls
/// between the look and the wait.
pub struct Watch {
    socket: netlink_sys::Socket,
}

impl Watch {
    /// Subscribes to `groups`.
    pub fn open(groups: &[Group]) -> Result<Self, Error> {
        let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE).map_err(Error::Socket)?;
        socket.bind_auto().map_err(Error::Socket)?;
        for group in groups {
            let number = match group {
                Group::Link => 1,
                Group::Ipv6Address => 9,
            };
            socket.add_membership(number).map_err(Error::Socket)?;
        }
        Ok(Self { socket })
    }

    /// Looks, and looks again after each change, until `look` finds something or the time is up: then `None`.
    pub fn until<T, E>(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E>
    where
        E: From<Error>,
    {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left).map_err(Error::Socket)?;
        }
    }

    /// Waits for one change or for the time to pass, and takes in all that has been said so far.
    fn wait(&self, limit: Duration) -> io::Result<()> {
        #[expect(unsafe_code, reason = "netlink-sys 0.9 hands out its descriptor as a raw number only")]
        // SAFETY: the descriptor belongs to `self.socket`, which outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) };
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        loop {
            match self.socket.recv(&mut Vec::with_capacity(0), libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // More was said than the socket holds: the caller looks at everything anyway.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
