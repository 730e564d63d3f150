//! A socket on which the kernel speaks unasked, read without waiting.
//! It must not know what is said.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};

use crate::error::Error;

/// What one look at the socket gives.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Heard<'a> {
    /// One message of the kernel's own.
    Message(&'a [u8]),
    /// More was said than the socket holds, and some of it is lost.
    Lost,
    /// Nothing more for now.
    Nothing,
}

/// A subscription to multicast groups of one netlink protocol, in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    buffer: Box<[u8; Self::LONGEST]>,
}

impl Listener {
    /// A uevent has 2 KiB at most (`UEVENT_BUFFER_SIZE`, include/linux/kobject.h); a longer message of rtnetlink is heard
    /// as far as that, and known not to be whole.
    const LONGEST: usize = 8192;
    /// Room for some thousand messages: a PF says about eight for each VF that it makes.
    const ROOM: usize = 8 << 20;

    /// Subscribes to the groups of a bit mask.
    pub(crate) fn open(protocol: SockProtocol, groups: u32) -> Result<Self, Error> {
        Self::with_room(protocol, groups, Self::ROOM)
    }

    pub(crate) fn with_room(protocol: SockProtocol, groups: u32, room: usize) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::Socket(errno.into());
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).map_err(failed)?;
        // Beyond the limit of the node with CAP_NET_ADMIN in the first user namespace, up to that limit without.
        if setsockopt(&fd, sockopt::RcvBufForce, &room).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &room).map_err(failed)?;
        }
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed)?;
        Ok(Self { fd, buffer: Box::new([0; Self::LONGEST]) })
    }

    /// The next message, without waiting for one. What another process has sent is passed over: only the kernel has the
    /// port number 0.
    pub(crate) fn hear(&mut self) -> Result<Heard<'_>, Error> {
        let length = loop {
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer[..]) {
                Ok((length, Some(sender))) if sender.pid() == 0 => break length,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Heard::Nothing),
                Err(Errno::ENOBUFS) => return Ok(Heard::Lost),
                Err(errno) => return Err(Error::Socket(io::Error::from(errno))),
            }
        };
        Ok(Heard::Message(&self.buffer[..length]))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NETLINK_USERSOCK`: a protocol on which programs may speak to each other.
    fn programs(room: usize) -> (Listener, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let sender =
            socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkUserSock).unwrap();
        (Listener::with_room(SockProtocol::NetlinkUserSock, 0, room).unwrap(), sender)
    }

    fn send(from: &OwnedFd, to: &Listener) -> nix::Result<usize> {
        use nix::sys::socket::{MsgFlags, getsockname, sendto};
        let to: NetlinkAddr = getsockname(to.as_raw_fd()).unwrap();
        sendto(from.as_raw_fd(), b"add@/devices\0", &to, MsgFlags::MSG_DONTWAIT)
    }

    #[test]
    fn only_the_kernel_is_heard() {
        let (mut listener, other) = programs(1 << 16);
        send(&other, &listener).unwrap();
        assert_eq!(listener.hear().unwrap(), Heard::Nothing);
    }

    #[test]
    fn what_does_not_fit_is_known_to_be_lost() {
        use nix::sched::{CloneFlags, unshare};
        use std::process::Command;
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut listener = Listener::with_room(SockProtocol::NetlinkRoute, 1, 4096).unwrap();
        for link in 0..30 {
            let add = ["link", "add", &format!("d{link}"), "type", "bridge"].map(str::to_owned);
            assert!(Command::new("ip").args(add).status().unwrap().success());
        }
        let mut heard = Vec::new();
        loop {
            match listener.hear().unwrap() {
                Heard::Message(_) => heard.push("message"),
                Heard::Lost => heard.push("lost"),
                Heard::Nothing => break,
            }
        }
        assert!(heard.contains(&"lost") && heard.len() < 30, "{heard:?}");
        // And it goes on hearing.
        assert!(Command::new("ip").args(["link", "set", "d0", "up"]).status().unwrap().success());
        assert!(matches!(listener.hear().unwrap(), Heard::Message(_)));
    }

    #[test]
    fn a_quiet_socket_does_not_block() {
        let mut listener = Listener::open(SockProtocol::NetlinkRoute, 1).unwrap();
        assert_eq!(listener.hear().unwrap(), Heard::Nothing);
    }
}
