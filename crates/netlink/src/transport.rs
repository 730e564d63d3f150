//! What carries requests and replies: the kernel's socket, or a recording of one.
//! It must not know what a message means.

use std::borrow::Cow;
use std::io;

use crate::netns::cookie_of;

/// More than any datagram has: the longest, a PF's list of VFs, is 200 bytes for each. Only what is written of it costs memory.
const LONGEST: usize = 1 << 20;

/// One connection. A reply must carry the sequence number of the request that it answers.
pub trait Transport: Send {
    /// Sends one datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Waits for one datagram, of whatever size: a PF's list of VFs alone can be tens of kilobytes.
    fn receive(&mut self) -> io::Result<Cow<'_, [u8]>>;

    /// The cookie of the network namespace on the other end; `None` where that is none.
    fn netns_cookie(&self) -> Option<u64> {
        None
    }
}

/// The kernel's own. A datagram is taken by one call, into a buffer that is there already: to ask for its size first would be a
/// call more for each.
pub(crate) struct Kernel {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl Kernel {
    pub(crate) fn new(socket: netlink_sys::Socket) -> Self {
        Self { socket, buffer: Vec::with_capacity(LONGEST) }
    }
}

impl Transport for Kernel {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<Cow<'_, [u8]>> {
        self.buffer.clear();
        let length = loop {
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        if length > self.buffer.len() {
            let (room, what) = (self.buffer.len(), "netlink has sent");
            return Err(io::Error::other(format!("{what} {length} bytes at once, there is room for {room}")));
        }
        Ok(Cow::Borrowed(&self.buffer))
    }

    fn netns_cookie(&self) -> Option<u64> {
        cookie_of(&self.socket)
    }
}
