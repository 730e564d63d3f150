//! The name of a network interface.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_kernel_takes() {
        assert_eq!("net1".parse::<IfName>().unwrap().as_str(), "net1");
        for text in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx"] {
            assert!(text.parse::<IfName>().is_err(), "{text:?}");
        }
    }
}
