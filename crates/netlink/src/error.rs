//! What can go wrong between us and the kernel's rtnetlink.
//! It must not decide what an operator sees: callers add the device and the purpose.

use std::io;

use netlink_packet_core::DecodeError;

use crate::words::in_words;

/// A request that rtnetlink did not grant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket itself failed.
    #[error("netlink socket: {}", in_words(.0))]
    Socket(#[source] io::Error),
    /// The kernel answered with an error.
    #[error("{request}: {}{}", in_words(source), extended(message.as_deref()))]
    Refused {
        /// What was asked for.
        request: &'static str,
        /// The kernel's error number.
        source: io::Error,
        /// The kernel's own words, where the driver gives some (`NETLINK_EXT_ACK`).
        message: Option<String>,
    },
    /// There is no such link in this network namespace.
    #[error("Link not found")]
    NoLink,
    /// The PF has no such VF.
    #[error("failed to find vf {vf}")]
    NoVf {
        /// The VF's number.
        vf: u32,
    },
    /// A list that changed each time while it was read.
    #[error("{request}: the list changed while it was read, {attempts} times in a row; try again")]
    Torn {
        /// What was asked for.
        request: &'static str,
        /// How often.
        attempts: usize,
    },
    /// A reply that cannot be what the kernel meant.
    #[error("cannot read the kernel's reply to {request}: {source}")]
    Reply {
        /// What was asked for.
        request: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl Error {
    /// The kernel's error number, where the kernel answered with one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Socket(source) => source.raw_os_error(),
            Self::NoLink => Some(libc::ENODEV),
            Self::NoVf { .. } | Self::Torn { .. } | Self::Reply { .. } => None,
        }
    }

    /// True where the driver has no such feature, as against refusing this value.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT))
    }

    /// True where the name, address or route is there already.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// True where the kernel refuses the value itself, or somebody else has it: the same request is refused tomorrow, too. What
    /// hangs on the moment (no memory, a device that is busy, a link that is down or gone) is none of these.
    pub fn is_final(&self) -> bool {
        // EACCES is what an IPv6 address meets where IPv6 is switched off on the link (`ipv6_add_addr`, net/ipv6/addrconf.c).
        const FINAL: [i32; 12] = [
            libc::EINVAL,
            libc::ERANGE,
            libc::EEXIST,
            libc::EACCES,
            libc::EADDRINUSE,
            libc::EADDRNOTAVAIL,
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::EAFNOSUPPORT,
            libc::EOPNOTSUPP,
            libc::EPROTONOSUPPORT,
            libc::EMSGSIZE,
        ];
        matches!(self, Self::Refused { .. }) && self.errno().is_some_and(|errno| FINAL.contains(&errno))
    }

    /// True where the link is not there (any more).
    pub fn is_no_link(&self) -> bool {
        self.errno() == Some(libc::ENODEV)
    }
}

fn extended(message: Option<&str>) -> String {
    message.map(|text| format!(" ({text})")).unwrap_or_default()
}
