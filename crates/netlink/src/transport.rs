//! What carries requests and replies: the kernel's socket, or a recording of one.
//! It must not know what a message means.

use std::io;

/// One connection. A reply must carry the sequence number of the request that it answers.
pub trait Transport: Send {
    /// Sends one datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Waits for one datagram, of whatever size: a PF's list of VFs alone can be tens of kilobytes.
    fn receive(&mut self) -> io::Result<Vec<u8>>;
}

impl Transport for netlink_sys::Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        netlink_sys::Socket::send(self, datagram, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.recv_from_full().map(|(bytes, _)| bytes)
    }
}
