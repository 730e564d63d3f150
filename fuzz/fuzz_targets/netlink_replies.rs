//! A kernel that answers anything: every question that Sluice asks of rtnetlink and generic netlink ends with an answer or
//! an error.
//!
//! The input is a byte for the question and a list of messages: a byte of how it is wrapped, `nlmsg_type`, `nlmsg_flags`,
//! two bytes of length, the payload. A wrapped message gets a sound header; one that is not is the datagram itself.
#![no_main]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;

use libfuzzer_sys::fuzz_target;
use netlink::{Devlink, Netlink, Transport, Vdpa};

const HEADER_LEN: usize = 16;

struct Anything {
    sequence: [u8; 4],
    messages: VecDeque<Vec<u8>>,
}

impl Anything {
    fn of(mut rest: &[u8]) -> Netlink {
        let mut messages = VecDeque::new();
        while let [wrap, kind, high, flags, more, short, long, payload @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*short, *long])).min(payload.len());
            let (payload, left) = payload.split_at(length);
            rest = left;
            let mut message = Vec::new();
            // Three in four: a fuzzer that has to guess lengths and sequence numbers gets no further.
            if wrap % 4 != 0 {
                message.extend(u32::try_from(HEADER_LEN + length).unwrap_or(u32::MAX).to_ne_bytes());
                message.extend([*kind, *high, *flags, *more, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
            message.extend(payload);
            messages.push_back(message);
        }
        Netlink::over(Box::new(Self { sequence: [0; 4], messages }))
    }
}

impl Transport for Anything {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.sequence.copy_from_slice(&request[8..12]);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Cow<'_, [u8]>> {
        let mut datagram = self.messages.pop_front().ok_or(io::ErrorKind::UnexpectedEof)?;
        if let Some(sequence) = datagram.get_mut(8..12) {
            sequence.copy_from_slice(&self.sequence);
        }
        Ok(datagram.into())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((question, answers)) = bytes.split_first() else { return };
    let mut netlink = Anything::of(answers);
    match question % 9 {
        0 => drop(netlink.links().map_err(|error| error.to_string())),
        1 => drop(netlink.link_by_index(7).map_err(|error| error.to_string())),
        2 => drop(netlink.vfs(7).map(|vfs| format!("{vfs:?}"))),
        3 => drop(netlink.addresses(7)),
        4 => drop(netlink.default_routes().map(|routes| format!("{routes:?}"))),
        5 => {
            if let Ok(saved) = netlink.save_network(7, true) {
                let _ = (saved.is_empty(), saved.addresses(), saved.routes(7));
                let _ = netlink.restore_network(8, &saved);
            }
        }
        6 => {
            if let Ok(Some(mut devlink)) = Devlink::over(netlink) {
                let _ = devlink.eswitch_mode("pci", "0000:3b:00.0");
                let _ = devlink.flag("pci", "0000:3b:00.0", "enable_rdma");
            }
        }
        7 => {
            if let Ok(Some(mut devlink)) = Devlink::over(netlink) {
                let _ = devlink.running_versions("pci", "0000:3b:00.0");
            }
        }
        _ => {
            if let Ok(Some(mut vdpa)) = Vdpa::over(netlink) {
                let _ = vdpa.devices();
            }
        }
    }
});
