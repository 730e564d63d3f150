//! A recording netlink: what a kernel answered, or would answer, to each request, as bytes in the kernel's layout.
//! It must not change with what it is told: a request that has no answer here is an error of the test.
#![allow(clippy::expect_used, reason = "a test ends where its tools fail")]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;

use netlink::Transport;

pub mod link;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_LEN: usize = 16;

/// One message of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// All that follows `struct nlmsghdr`.
    pub payload: Vec<u8>,
}

/// What is answered to a request of this `nlmsg_type` and payload, or the error number.
type Answer = dyn FnMut(u16, &[u8]) -> Result<Vec<Message>, i32> + Send;

/// A kernel that answers from a recording.
pub struct Recorded {
    answer: Box<Answer>,
    datagrams: VecDeque<Vec<u8>>,
}

impl Recorded {
    /// Answers each request with what `answer` makes of its `nlmsg_type` and payload; `None` is answered with `ENODEV`. The
    /// acknowledgement, or the end of a list, is added.
    pub fn new(mut answer: impl FnMut(u16, &[u8]) -> Option<Vec<Message>> + Send + 'static) -> Self {
        Self::refusing(move |kind, request| answer(kind, request).ok_or(libc::ENODEV))
    }

    /// The same, with error numbers of the recording's own.
    pub fn refusing(answer: impl FnMut(u16, &[u8]) -> Result<Vec<Message>, i32> + Send + 'static) -> Self {
        Self { answer: Box::new(answer), datagrams: VecDeque::new() }
    }
}

impl Transport for Recorded {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let half = |at: usize| request.get(at..at + 2)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
        let (kind, flags) = half(4).zip(half(6)).ok_or(io::ErrorKind::InvalidInput)?;
        let sequence =
            *request.get(8..12).and_then(|bytes| bytes.first_chunk()).ok_or(io::ErrorKind::InvalidInput)?;
        let is_list = flags & NLM_F_DUMP == NLM_F_DUMP;
        let answer = (self.answer)(kind, &request[HEADER_LEN..]);
        let errno = answer.as_ref().err().map_or(0, |errno| -errno);
        for message in answer.unwrap_or_default() {
            let flags = if is_list { NLM_F_MULTI } else { 0 };
            self.datagrams.push_back(datagram(message.kind, flags, sequence, &message.payload));
        }
        let mut end = errno.to_ne_bytes().to_vec();
        if is_list && errno == 0 {
            self.datagrams.push_back(datagram(NLMSG_DONE, NLM_F_MULTI, sequence, &end));
        } else {
            end.extend(&request[..HEADER_LEN]);
            self.datagrams.push_back(datagram(NLMSG_ERROR, 0, sequence, &end));
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Cow<'_, [u8]>> {
        self.datagrams.pop_front().map(Cow::Owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn datagram(kind: u16, flags: u16, sequence: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_LEN + payload.len()).expect("a message is no gigabytes");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence);
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
