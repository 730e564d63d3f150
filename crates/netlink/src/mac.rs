//! A hardware address: 6 bytes for Ethernet, 20 for IP over InfiniBand.
//! It must not know whom it belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hardware address. Printed in lower case with colons; read in any of the usual forms: `aa:bb:cc:dd:ee:ff`,
/// `AA-BB-CC-DD-EE-FF`, `aabb.ccdd.eeff`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(Vec<u8>);

/// The text is no hardware address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("address {found}: invalid MAC address")]
pub struct ParseMacError {
    found: String,
}

const ETHERNET: usize = 6;
const INFINIBAND: usize = 20;

impl MacAddr {
    /// The all-zero Ethernet address, which on a PF means "this VF has no administrative MAC".
    pub fn zero() -> Self {
        Self(vec![0; ETHERNET])
    }

    /// From the kernel's bytes; `None` for a length that is neither Ethernet's nor InfiniBand's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), ETHERNET | INFINIBAND).then(|| Self(bytes.to_vec()))
    }

    /// The bytes in the order of the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the all-zero address.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// True for an address that one Ethernet station can have: six bytes, neither all zero nor multicast.
    pub fn is_unicast(&self) -> bool {
        self.0.len() == ETHERNET && !self.is_zero() && self.0[0] & 1 == 0
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let groups = |separator, digits| {
            let groups: Vec<&str> = text.split(separator).collect();
            (groups.len() > 1 && groups.iter().all(|group| group.len() == digits)).then(|| groups.concat())
        };
        let hex = groups(':', 2).or_else(|| groups('-', 2)).or_else(|| groups('.', 4));
        let bytes = hex.and_then(|hex| {
            let pairs = hex.as_bytes().chunks_exact(2);
            pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect::<Option<Vec<u8>>>()
        });
        bytes
            .and_then(|bytes| Self::from_bytes(&bytes))
            .ok_or_else(|| ParseMacError { found: text.to_owned() })
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_one_address() {
        for text in ["02:00:5e:10:00:0a", "02-00-5E-10-00-0A", "0200.5e10.000a"] {
            let mac: MacAddr = text.parse().unwrap();
            assert_eq!(mac.to_string(), "02:00:5e:10:00:0a");
            assert!(mac.is_unicast());
        }
    }

    #[test]
    fn refuses_other_lengths_and_mixed_forms() {
        for text in [
            "",
            "zz",
            "02:00:5e:10:00",
            "02:00-5e:10:00:0a",
            "0200.5e10.000g",
            "2:0:5e:10:0:a",
            "0é:00:5e:10:00:0a",
        ] {
            assert_eq!(
                text.parse::<MacAddr>().unwrap_err().to_string(),
                format!("address {text}: invalid MAC address")
            );
        }
    }

    #[test]
    fn multicast_and_zero_are_no_stations() {
        assert!(!MacAddr::zero().is_unicast());
        assert!(!"01:00:5e:00:00:01".parse::<MacAddr>().unwrap().is_unicast());
    }
}
