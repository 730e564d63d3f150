//! What an ADD answers, in every version of the protocol.
//! It must not know where addresses come from.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::version::Version;

mod legacy;

/// The result of an ADD, in the shape of 1.1.0.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outcome {
    /// The interfaces that were made or moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub interfaces: Vec<Interface>,
    /// The addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub ips: Vec<IpConfig>,
    /// The routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub routes: Vec<Route>,
    /// The name servers.
    #[serde(default, skip_serializing_if = "Dns::is_empty", deserialize_with = "null_is_default")]
    pub dns: Dns,
    /// The network is one without addresses by its configuration: a result of 0.1.0 or 0.2.0 then has none instead of being
    /// impossible.
    #[serde(skip)]
    pub addressless: bool,
}

/// One interface.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Interface {
    /// Its name in the sandbox.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub mac: String,
    /// Its MTU in bytes (1.1.0).
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub mtu: u32,
    /// The path of its network namespace; empty for the host's.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub sandbox: String,
    /// The PCI address (1.1.0).
    #[serde(
        rename = "pciID",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub pci_id: String,
}

/// One address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IpConfig {
    /// The address with its prefix; host bits are kept.
    pub address: IpNet,
    /// The subnet's gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The position in `interfaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// One route.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The gateway; the subnet's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Path MTU in bytes (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// TCP segment size in bytes to advertise (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The table (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
    /// The gateway is on the link whatever the addresses say; for which the protocol has no key.
    #[serde(skip)]
    pub onlink: bool,
}

/// Name servers and search domains.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers, most preferred first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub options: Vec<String>,
}

impl Dns {
    /// True where there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A result that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// 0.1.0 and 0.2.0 have no result without an address.
    #[error("cannot convert: no valid IP addresses")]
    NoAddresses,
    /// A delegate's answer is not a result.
    #[error("the delegate's result cannot be read: {0}")]
    Decode(#[from] serde_json::Error),
    /// A delegate answered in a version that does not exist.
    #[error("no converter for CNI result version {found}")]
    Version {
        /// What it said.
        found: String,
    },
}

impl Outcome {
    /// The result as the runtime reads it: indented by four, without a final newline.
    pub fn to_json(&self, version: Version) -> Result<String, ResultError> {
        match version {
            Version::V0_1_0 | Version::V0_2_0 => legacy::first(self, version),
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Ok(legacy::third(self, version)),
            Version::V1_0_0 | Version::V1_1_0 => Ok(self.current(version)),
        }
    }

    /// 1.x: keys in alphabetical order, which is what a `Value` keeps. `mtu` and `pciID` belong to 1.1.0 alone.
    fn current(&self, version: Version) -> String {
        let mut outcome = self.clone();
        if version < Version::V1_1_0 {
            for interface in &mut outcome.interfaces {
                interface.mtu = 0;
                interface.pci_id.clear();
            }
        }
        let mut value = serde_json::to_value(&outcome).unwrap_or_default();
        if let Value::Object(object) = &mut value {
            object.insert("cniVersion".to_owned(), version.as_str().into());
        }
        pretty(&value)
    }

    /// Reads a delegate's answer; `assumed` is the version where it names none. `null` and nothing are an empty result.
    pub fn parse(bytes: &[u8], assumed: Version) -> Result<Self, ResultError> {
        let value: Option<Value> =
            if bytes.trim_ascii().is_empty() { None } else { serde_json::from_slice(bytes)? };
        let Some(value) = value else { return Ok(Self::default()) };
        let named = value.get("cniVersion").and_then(Value::as_str).filter(|version| !version.is_empty());
        let version = match named {
            Some(name) => name.parse().map_err(|()| ResultError::Version { found: name.to_owned() })?,
            None => assumed,
        };
        if version < Version::V0_3_0 { Ok(legacy::parse(value)?) } else { Ok(serde_json::from_value(value)?) }
    }
}

/// JSON indented by four spaces, as the Go programs print it.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing plain data with text keys to memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Go writes an empty list as `null`, and reads one as nothing wherever it stands.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
