//! What carries requests and replies: the kernel's socket, or a recording of one.
//! It must not know what a message means.

use std::io;

use crate::netns::cookie_of;

/// One connection. A reply must carry the sequence number of the request that it answers.
pub trait Transport: Send {
    /// Sends one datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Waits for one datagram, of whatever size: a PF's list of VFs alone can be tens of kilobytes.
    fn receive(&mut self) -> io::Result<Vec<u8>>;

    /// The cookie of the network namespace on the other end; `None` where that is none.
    fn netns_cookie(&self) -> Option<u64> {
        None
    }
}

impl Transport for netlink_sys::Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        netlink_sys::Socket::send(self, datagram, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.recv_from_full().map(|(bytes, _)| bytes)
    }

    fn netns_cookie(&self) -> Option<u64> {
        cookie_of(self)
    }
}
