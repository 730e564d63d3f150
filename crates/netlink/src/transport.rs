//! What carries requests and replies: the kernel's socket, or a recording of one.
//! It must not know what a message means.

use std::borrow::Cow;
use std::io;
use std::os::fd::AsRawFd;

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

/// include/uapi/asm-generic/socket.h; libc 0.2 has no name for it.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The namespace of any socket.
#[expect(unsafe_code, reason = "nix 0.31 does not know this option")]
pub(crate) fn cookie_of(socket: &impl AsRawFd) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).ok()?;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel writes at most `length` bytes to `cookie`, whose
    // size that is, and any eight bytes are a `u64`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (outcome == 0).then_some(cookie)
}
