//! The name of a network interface, and what else it may be called by.
//! It must not look whether such an interface exists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An interface name that the kernel can hold (`dev_valid_name`, net/core/dev.c): 1 to 15 bytes, not `.` or `..`, without
/// `/`, `:` or white space.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

/// The text is no interface name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found:?} is not an interface name; wanted 1 to 15 bytes without '/', ':' or white space")]
pub struct ParseIfNameError {
    found: String,
}

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = ParseIfNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..libc::IFNAMSIZ).contains(&text.len());
        let clean = !text.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace());
        if fits && clean && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIfNameError { found: text.to_owned() })
        }
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for IfName {
    type Error = ParseIfNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0
    }
}

/// What a link can be looked up by: its name or an alternative one, 1 to 127 bytes (`ALTIFNAMSIZ`, include/linux/netdevice.h).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkName(String);

/// The text is neither a name nor an alternative one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found:?} is no link's name; wanted 1 to 127 bytes")]
pub struct ParseLinkNameError {
    found: String,
}

impl LinkName {
    const LONGEST: usize = 127;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkName {
    type Err = ParseLinkNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::LONGEST).contains(&text.len()) && !text.contains('\0');
        if fits { Ok(Self(text.to_owned())) } else { Err(ParseLinkNameError { found: text.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternative_name_may_be_longer() {
        assert!("x".repeat(127).parse::<LinkName>().is_ok());
        for text in [String::new(), "x".repeat(128), "a\0b".to_owned()] {
            assert!(text.parse::<LinkName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn takes_what_the_kernel_takes() {
        assert_eq!("net1".parse::<IfName>().unwrap().as_str(), "net1");
        for text in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx"] {
            assert!(text.parse::<IfName>().is_err(), "{text:?}");
        }
    }
}
