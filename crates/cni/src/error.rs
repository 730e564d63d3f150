//! The error object of the CNI protocol.
//! It must not know which plugin fails, or why.

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// An error as it goes to the runtime. The text is for people, and some people match on it; the code is for programs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { "; " })]
pub struct Error {
    /// What kind of error.
    pub code: Code,
    /// What happened.
    #[serde(default)]
    pub msg: String,
    /// More, where there is more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// The number of an error: 1 to 99 are the specification's, 100 and up a plugin's own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// The configuration's `cniVersion` is none of ours.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// The container is unknown or gone; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// An environment variable is missing or malformed.
    pub const ENVIRONMENT: Self = Self(4);
    /// Reading or writing failed.
    pub const IO: Self = Self(5);
    /// Something is not the JSON it should be.
    pub const DECODE: Self = Self(6);
    /// The network configuration does not make sense.
    pub const CONFIG: Self = Self(7);
    /// The network namespace is the plugin's own. Known to the Go programs, not to the specification.
    pub const NETNS: Self = Self(8);
    /// Busy now, may work later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: an ADD would fail.
    pub const UNAVAILABLE: Self = Self(50);
    /// STATUS: an ADD would fail, and what is attached may have lost its connection.
    pub const LIMITED: Self = Self(51);
    /// What the Go programs give for any error without a code of its own.
    pub const INTERNAL: Self = Self(999);
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The same with details.
    #[must_use]
    pub fn details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The object as the runtime reads it; `version` is the configuration's, once it is known.
    pub fn to_json(&self, version: Option<Version>) -> String {
        #[derive(Serialize)]
        struct Object<'a> {
            #[serde(rename = "cniVersion", skip_serializing_if = "Option::is_none")]
            version: Option<&'static str>,
            #[serde(flatten)]
            error: &'a Error,
        }
        crate::result::pretty(&Object { version: version.map(Version::as_str), error: self })
    }
}
