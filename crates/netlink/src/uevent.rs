//! The kernel's uevents: what was added, removed, bound, unbound or changed below `/sys`.
//! It must not say which of them matter: whoever listens does, and then looks at sysfs.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::SockProtocol;

use crate::error::Error;
use crate::listen::{Heard, Listener};

/// The kernel's own group; those behind it are udev's.
const KERNEL: u32 = 1;

/// One uevent, in the kernel's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uevent<'a> {
    /// `ACTION`: `add`, `remove`, `bind`, `unbind`, `change`, `move`, `online` or `offline`.
    pub action: &'a str,
    /// `DEVPATH`: the path below `/sys`.
    pub path: &'a str,
    /// `SUBSYSTEM`: the bus or class, such as `pci` or `net`.
    pub subsystem: &'a str,
}

impl<'a> Uevent<'a> {
    /// Reads a datagram: `<action>@<path>` and then `<KEY>=<value>`, each with a zero at its end (`kobject_uevent_env` in
    /// lib). `None` where it is none, or another program's.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let mut lines = datagram.split(|byte| *byte == 0).map_while(|line| std::str::from_utf8(line).ok());
        let (action, path) = lines.next()?.split_once('@')?;
        let subsystem = lines.find_map(|line| line.strip_prefix("SUBSYSTEM="))?;
        Some(Self { action, path, subsystem })
    }
}

/// A subscription. Uevents of network devices are those of the network namespace in which it was opened; all others are
/// told in every namespace that belongs to the first user namespace, and in no other.
#[derive(Debug)]
pub struct Uevents(Listener);

impl Uevents {
    /// Subscribes to what the kernel says from now on.
    pub fn open() -> Result<Self, Error> {
        Listener::open(SockProtocol::NetlinkKObjectUEvent, KERNEL).map(Self)
    }

    /// As [`Self::open`], with room for less.
    #[cfg(test)]
    fn with_room(room: usize) -> Result<Self, Error> {
        Listener::with_room(SockProtocol::NetlinkKObjectUEvent, KERNEL, room).map(Self)
    }

    /// Takes in all that was said so far. Whether `matters` was true of any of it, or something was lost.
    pub fn drain(&mut self, mut matters: impl FnMut(Uevent<'_>) -> bool) -> Result<bool, Error> {
        let mut any = false;
        loop {
            match self.0.hear()? {
                Heard::Message(bytes) => any |= Uevent::parse(bytes).is_some_and(&mut matters),
                Heard::Lost => any = true,
                Heard::Nothing => return Ok(any),
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Uevents {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
