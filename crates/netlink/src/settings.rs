//! What an administrator sets on a link beside its name, address and MTU, under the names of ip-link(8).
//! It must not judge which of it matters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attribute::{NLA_F_NESTED, push, word};

/// Where the kernel has a setting.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// A flag of the link's.
    Flag(u32),
    /// An attribute of one byte.
    Byte(u16),
    /// An attribute of four.
    Word(u16),
}

// include/uapi/linux/if.h and if_link.h.
const IFLA_PROTO_DOWN: u16 = 39;
const IFLA_PROTO_DOWN_REASON: u16 = 55;
const IFLA_PROTO_DOWN_REASON_MASK: u16 = 1;
const IFLA_PROTO_DOWN_REASON_VALUE: u16 = 2;
const SETTINGS: [(&str, Kept); 14] = [
    ("debug", Kept::Flag(0x4)),
    ("noarp", Kept::Flag(0x80)),
    ("promisc", Kept::Flag(0x100)),
    ("multicast", Kept::Flag(0x1000)),
    ("dynamic", Kept::Flag(0x8000)),
    ("txqueuelen", Kept::Word(13)),
    ("mode", Kept::Byte(17)),
    ("group", Kept::Word(27)),
    ("protodown", Kept::Byte(IFLA_PROTO_DOWN)),
    ("gso_max_segs", Kept::Word(40)),
    ("gso_max_size", Kept::Word(41)),
    ("gro_max_size", Kept::Word(58)),
    ("gso_ipv4_max_size", Kept::Word(63)),
    ("gro_ipv4_max_size", Kept::Word(64)),
];

/// The settings of a link by name; a flag's value is 0 or 1. Those that the kernel does not tell are none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "BTreeMap<String, u32>")]
pub struct LinkSettings(BTreeMap<&'static str, u32>);

impl LinkSettings {
    /// Those that are flags of a link's.
    pub(crate) fn of_flags(flags: u32) -> Self {
        let of = |(name, kept)| match kept {
            Kept::Flag(flag) => Some((name, u32::from(flags & flag != 0))),
            Kept::Byte(_) | Kept::Word(_) => None,
        };
        Self(SETTINGS.into_iter().filter_map(of).collect())
    }

    /// Takes in an attribute, where it is one of them.
    pub(crate) fn take(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(SETTINGS.iter().filter_map(|(name, kept)| match kept {
            Kept::Byte(of) if *of == kind => Some((*name, u32::from(*value.first()?))),
            Kept::Word(of) if *of == kind => Some((*name, word(value, 0)?)),
            _ => None,
        }));
    }

    /// Those of these that have another value now, by their names and with the values that they have here.
    pub fn changed_in<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = (&'static str, u32)> + 'a {
        let changed = |(name, value): &(&&str, &u32)| now.0.get(**name).is_some_and(|now| now != *value);
        self.0.iter().filter(changed).map(|(name, value)| (*name, *value))
    }
}

/// What a message says of one setting.
pub(crate) struct Put {
    /// The flags, and which of them are meant.
    pub(crate) flags: (u32, u32),
    /// The attributes.
    pub(crate) attributes: Vec<u8>,
}

/// Gives a setting a value; `None` where nobody knows it.
pub(crate) fn put(name: &str, value: u32) -> Option<Put> {
    let (_, kept) = SETTINGS.iter().find(|(known, _)| *known == name)?;
    let (mut flags, mut attributes) = ((0, 0), Vec::new());
    match *kept {
        Kept::Flag(flag) => flags = (if value == 0 { 0 } else { flag }, flag),
        Kept::Word(kind) => push(&mut attributes, kind, &value.to_ne_bytes()),
        Kept::Byte(kind) => push(&mut attributes, kind, &[u8::try_from(value).unwrap_or(u8::MAX)]),
    }
    if matches!(*kept, Kept::Byte(IFLA_PROTO_DOWN)) {
        // Nobody's reason holds it any more, without which the kernel would refuse.
        let mut reasons = Vec::new();
        push(&mut reasons, IFLA_PROTO_DOWN_REASON_MASK, &u32::MAX.to_ne_bytes());
        push(&mut reasons, IFLA_PROTO_DOWN_REASON_VALUE, &0_u32.to_ne_bytes());
        push(&mut attributes, IFLA_PROTO_DOWN_REASON | NLA_F_NESTED, &reasons);
    }
    Some(Put { flags, attributes })
}

impl From<BTreeMap<String, u32>> for LinkSettings {
    fn from(by_name: BTreeMap<String, u32>) -> Self {
        let known = |(name, _)| Some((name, *by_name.get(name)?));
        Self(SETTINGS.into_iter().filter_map(known).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_what_is_not_told_does_not() {
        let mut before = LinkSettings::of_flags(0x1003);
        before.take(13, &1000_u32.to_ne_bytes());
        before.take(17, &[0]);
        let mut now = LinkSettings::of_flags(0x1183);
        now.take(13, &7_u32.to_ne_bytes());
        let changed: Vec<_> = before.changed_in(&now).collect();
        assert_eq!(changed, [("noarp", 0), ("promisc", 0), ("txqueuelen", 1000)]);
        let mut kept: BTreeMap<_, _> =
            before.0.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        assert_eq!((kept.get("txqueuelen"), kept.get("group")), (Some(&1000), None));
        // A newer release's are passed over.
        kept.insert("lamp".to_owned(), 1);
        assert_eq!(LinkSettings::from(kept), before);
    }
}
