//! One blocking rtnetlink socket: a request out, its replies in, of any size.
//! It must not know what the messages mean.

use std::io;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NlaBuffer, NlasIterator,
};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::error::Error;
use crate::transport::{Kernel, Transport};

/// A connection to the rtnetlink of the network namespace in which it was opened, and of no other ever after.
pub struct Netlink {
    transport: Box<dyn Transport>,
    sequence: u32,
}

/// `struct nlmsgerr` up to the end of the echoed header: the error number and 16 bytes.
const ERROR_LEN: usize = 4 + 16;
/// What the end of a list begins with: the error number.
const ERROR_NUMBER_LEN: usize = 4;
/// `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// `NLMSGERR_ATTR_MSG` of include/uapi/linux/netlink.h.
const ATTR_MSG: u16 = 1;
/// A dump that the kernel marks as torn is asked for again, this often at most.
const DUMP_ATTEMPTS: usize = 8;

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let socket = connected(NETLINK_ROUTE)?;
        // So that a list of one link's addresses or routes is not made of every link's; kernels before 4.20 cannot.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self::over(Box::new(Kernel::new(socket))))
    }

    /// As [`Netlink::open`], for another protocol than rtnetlink.
    pub(crate) fn of_protocol(protocol: isize) -> Result<Self, Error> {
        Ok(Self::over(Box::new(Kernel::new(connected(protocol)?))))
    }

    /// Speaks over something else than a socket: what was recorded of one.
    pub fn over(transport: Box<dyn Transport>) -> Self {
        Self { transport, sequence: 0 }
    }

    /// What tells the network namespace of this connection from every other of this boot: its inode is given to another when
    /// it is gone, its cookie is not. `None` before Linux 5.14.
    pub fn netns_cookie(&self) -> Option<u64> {
        self.transport.netns_cookie()
    }

    /// Sends a request that changes something and waits until the kernel has done it.
    pub(crate) fn change(
        &mut self,
        request: &'static str,
        kind: u16,
        flags: u16,
        message: &dyn Emitable,
    ) -> Result<(), Error> {
        self.ask(request, kind, NLM_F_ACK | flags, &emitted(message)).map(drop)
    }

    /// Sends a message that is bytes already, and returns the payloads of the replies: one where the flags ask for neither a
    /// list nor an acknowledgement. A list is taken again where it changed meanwhile, and an error where it never was whole.
    pub(crate) fn ask(
        &mut self,
        request: &'static str,
        kind: u16,
        flags: u16,
        payload: &[u8],
    ) -> Result<Vec<Vec<u8>>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let length = u32::try_from(HEADER_LEN + payload.len()).unwrap_or(u32::MAX);
            let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
            bytes.extend(length.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
            bytes.extend(self.sequence.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(payload);
            self.transport.send(&bytes).map_err(Error::Socket)?;
            let replies = self.replies(request, flags & (NLM_F_ACK | NLM_F_DUMP) == 0)?;
            if !replies.torn {
                return Ok(replies.payloads);
            }
        }
        Err(Error::Torn { request, attempts: DUMP_ATTEMPTS })
    }

    /// Collects the payloads up to the acknowledgement or the end of the list, or takes the one that is all. Replies to an
    /// earlier request that was given up are passed over.
    fn replies(&mut self, request: &'static str, only_one: bool) -> Result<Replies, Error> {
        let mut replies = Replies { only_one, ..Replies::default() };
        loop {
            let datagram = self.transport.receive().map_err(Error::Socket)?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message =
                    NetlinkBuffer::new_checked(rest).map_err(|source| Error::Reply { request, source })?;
                let length = usize::try_from(message.length()).unwrap_or(rest.len()).min(rest.len());
                if message.sequence_number() == self.sequence && replies.take(request, &message)? {
                    return Ok(replies);
                }
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
    }
}

fn connected(protocol: isize) -> Result<netlink_sys::Socket, Error> {
    let mut socket = netlink_sys::Socket::new(protocol).map_err(Error::Socket)?;
    socket.bind_auto().map_err(Error::Socket)?;
    // The kernel's own words for an error, and no copy of the request in front of them.
    socket.set_ext_ack(true).and_then(|()| socket.set_cap_ack(true)).map_err(Error::Socket)?;
    Ok(socket)
}

fn emitted(message: &dyn Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[derive(Default)]
struct Replies {
    payloads: Vec<Vec<u8>>,
    torn: bool,
    only_one: bool,
}

impl Replies {
    /// Takes one message in; true when it was the last.
    fn take(&mut self, request: &'static str, message: &NetlinkBuffer<&[u8]>) -> Result<bool, Error> {
        self.torn |= message.flags() & NLM_F_DUMP_INTR != 0;
        let payload = message.payload();
        match message.message_type() {
            // A list that fails ends as one that is whole does, with the error in it (`netlink_dump_done`,
            // net/netlink/af_netlink.c).
            NLMSG_DONE => outcome(request, payload, ERROR_NUMBER_LEN, message.flags()).map(|()| true),
            NLMSG_ERROR => outcome(request, payload, ERROR_LEN, message.flags()).map(|()| true),
            _ => {
                self.payloads.push(payload.to_vec());
                Ok(self.only_one)
            }
        }
    }
}

/// Reads an `NLMSG_ERROR` or an `NLMSG_DONE`, whose attributes begin at `head`: an acknowledgement where the number is 0.
fn outcome(request: &'static str, payload: &[u8], head: usize, flags: u16) -> Result<(), Error> {
    let number = payload.first_chunk().map_or(-libc::EPROTO, |bytes| i32::from_ne_bytes(*bytes));
    if number == 0 {
        return Ok(());
    }
    let attributes = payload.get(head..).filter(|_| flags & NLM_F_ACK_TLVS != 0).unwrap_or_default();
    let message = NlasIterator::new(attributes)
        .flatten()
        .find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == ATTR_MSG)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    let source = io::Error::from_raw_os_error(number.saturating_abs());
    Err(Error::Refused { request, source, message })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn an_error_carries_the_kernels_own_words() {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend([15, 0, 1, 0]);
        payload.extend(b"VF is busy\0\0");
        let error = outcome("set VF MAC", &payload, ERROR_LEN, NLM_F_ACK_TLVS).unwrap_err();
        assert_eq!(error.to_string(), "set VF MAC: invalid argument (VF is busy)");
        assert_eq!(error.errno(), Some(libc::EINVAL));
    }

    #[test]
    fn an_acknowledgement_is_no_error() {
        assert!(outcome("set link", &[0; ERROR_LEN], ERROR_LEN, 0).is_ok());
        assert!(outcome("set link", &[], ERROR_LEN, 0).is_err());
    }

    /// A kernel that answers each request with one link and the given end of the list.
    struct Played {
        end: Vec<u8>,
        flags: u16,
        torn: usize,
        answer: Option<Vec<u8>>,
    }

    impl Transport for Played {
        fn send(&mut self, request: &[u8]) -> io::Result<()> {
            let message = |kind: u16, flags: u16, payload: &[u8]| {
                let length = u32::try_from(HEADER_LEN + payload.len()).unwrap();
                let head =
                    [length.to_ne_bytes(), [0; 4], request[8..12].try_into().unwrap(), [0; 4]].concat();
                let mut bytes = [head, payload.to_vec()].concat();
                bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
                bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
                bytes
            };
            let torn = if self.torn > 0 { NLM_F_DUMP_INTR } else { 0 };
            self.torn = self.torn.saturating_sub(1);
            let end = message(NLMSG_DONE, self.flags | torn, &self.end);
            self.answer = Some([message(16, 0, &[1, 2, 3, 4]), end].concat());
            Ok(())
        }

        fn receive(&mut self) -> io::Result<Cow<'_, [u8]>> {
            self.answer.take().map(Cow::Owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn list(kernel: Played) -> Result<Vec<Vec<u8>>, Error> {
        Netlink::over(Box::new(kernel)).ask("list routes", 26, NLM_F_DUMP, &[])
    }

    #[test]
    fn a_list_that_ends_with_an_error_is_no_short_list() {
        let kernel = |end: Vec<u8>, flags| Played { end, flags, torn: 0, answer: None };
        assert_eq!(list(kernel(vec![0; 4], 0)).unwrap(), [[1, 2, 3, 4]]);
        let mut end = (-libc::ENOMEM).to_ne_bytes().to_vec();
        let error = list(kernel(end.clone(), 0)).unwrap_err();
        assert_eq!(
            (error.errno(), error.to_string().as_str()),
            (Some(libc::ENOMEM), "list routes: cannot allocate memory")
        );
        end.extend([8, 0, 1, 0]);
        end.extend(b"why\0");
        let error = list(kernel(end, NLM_F_ACK_TLVS)).unwrap_err();
        assert_eq!(error.to_string(), "list routes: cannot allocate memory (why)");
        assert!(list(kernel(Vec::new(), 0)).is_err());
    }

    #[test]
    fn a_link_without_ip_has_no_addresses() {
        let kernel =
            |errno: i32| Played { end: (-errno).to_ne_bytes().to_vec(), flags: 0, torn: 0, answer: None };
        assert_eq!(Netlink::over(Box::new(kernel(libc::ENODEV))).addresses(7).unwrap(), []);
        assert!(Netlink::over(Box::new(kernel(libc::ENOMEM))).addresses(7).is_err());
    }

    #[test]
    fn a_list_that_is_never_whole_is_an_error() {
        let kernel = |torn| Played { end: vec![0; 4], flags: 0, torn, answer: None };
        assert_eq!(list(kernel(DUMP_ATTEMPTS - 1)).unwrap(), [[1, 2, 3, 4]]);
        let error = list(kernel(DUMP_ATTEMPTS)).unwrap_err().to_string();
        assert_eq!(error, "list routes: the list changed while it was read, 8 times in a row; try again");
    }
}
