//! The part of a network configuration that every plugin has.
//! It must not know a plugin's own keys.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::version::Version;

/// What is common to every plugin's configuration.
#[derive(Clone, Debug)]
pub struct NetConf {
    /// `cniVersion`; 0.1.0 where absent.
    pub version: Version,
    /// `name` of the network.
    pub name: String,
    /// `ipam.type`; `None` where no addresses are wanted.
    pub ipam: Option<String>,
    /// All keys as they came.
    pub raw: Map<String, Value>,
}

/// The name for a configuration without one.
pub(crate) type Naming<'a> = dyn Fn(&Map<String, Value>) -> Option<String> + 'a;

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "cniVersion", default)]
    version: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    ipam: Option<Ipam>,
}

#[derive(Deserialize)]
struct Ipam {
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

const KEYS: [&str; 8] = ["cniVersion", "name", "type", "ipam", "dns", "prevResult", "runtimeConfig", "args"];

impl NetConf {
    /// Reads the configuration, which `naming` may give a name that it lacks; the second part is then what delegates are to
    /// read, since they want a name, too. It is checked as the Go skeleton does, in its order: JSON, network name, and last the version.
    pub(crate) fn parse(bytes: &[u8], naming: &Naming<'_>) -> Result<(Self, Option<Vec<u8>>), Error> {
        let decode = |error: serde_json::Error| {
            Error::new(Code::DECODE, format!("error unmarshall network config: {error}"))
        };
        let mut raw: Map<String, Value> = serde_json::from_slice(bytes).map_err(decode)?;
        fold_keys(&mut raw, &KEYS);
        let wire: Wire = serde_json::from_value(Value::Object(raw.clone())).map_err(decode)?;
        let mut renamed = None;
        let mut name = wire.name.unwrap_or_default();
        if name.is_empty() {
            name = naming(&raw).ok_or_else(|| Error::new(Code::CONFIG, "missing network name"))?;
            raw.insert("name".to_owned(), name.clone().into());
            renamed = Some(Value::Object(raw.clone()).to_string().into_bytes());
        }
        if !is_identifier(&name) {
            return Err(Error::new(Code::CONFIG, "invalid characters found in network name").details(name));
        }
        let version =
            wire.version.filter(|version| !version.is_empty()).unwrap_or_else(|| "0.1.0".to_owned());
        let version = version.parse().map_err(|()| incompatible(&version))?;
        let ipam = wire.ipam.and_then(|ipam| ipam.kind).filter(|kind| !kind.is_empty());
        Ok((Self { version, name, ipam, raw }, renamed))
    }
}

fn incompatible(found: &str) -> Error {
    let supported: Vec<String> =
        Version::ALL.iter().map(|version| format!("{:?}", version.as_str())).collect();
    Error::new(Code::INCOMPATIBLE_VERSION, "incompatible CNI versions")
        .details(format!("config is {found:?}, plugin supports [{}]", supported.join(" ")))
}

/// Container ids and network names: a letter or digit, then letters, digits, `_`, `.` and `-`.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Gives each of the `known` keys its exact spelling: the Go programs match keys whatever their case, and configurations
/// in the field rely on it. A key that is there in its exact spelling wins over other spellings.
pub fn fold_keys(object: &mut Map<String, Value>, known: &[&str]) {
    let spelled_otherwise = |key: &&String| !known.contains(&key.as_str());
    let candidates: Vec<String> = object.keys().filter(spelled_otherwise).cloned().collect();
    for found in candidates {
        let Some(exact) = known.iter().find(|key| key.eq_ignore_ascii_case(&found)) else { continue };
        if let Some(value) = object.remove(&found) {
            object.entry((*exact).to_owned()).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (u32, String) {
        let error = NetConf::parse(text.as_bytes(), &|_| None).unwrap_err();
        (error.code.0, format!("{}|{}", error.msg, error.details))
    }

    #[test]
    fn a_missing_version_is_the_first() {
        let text = br#"{"Name":"n","ipam":{"type":"static"}}"#;
        let (conf, renamed) = NetConf::parse(text, &|_| panic!("it has a name")).unwrap();
        assert_eq!(renamed, None);
        assert_eq!(
            (conf.version, conf.name.as_str(), conf.ipam.as_deref()),
            (Version::V0_1_0, "n", Some("static"))
        );
    }

    #[test]
    fn a_plugin_may_name_what_has_no_name() {
        let naming = |raw: &Map<String, Value>| raw.get("if0")?.as_str().map(str::to_owned);
        let (conf, renamed) = NetConf::parse(br#"{"if0":"eth0","ipam":{"type":"static"}}"#, &naming).unwrap();
        assert_eq!(conf.name, "eth0");
        let text = r#"{"if0":"eth0","ipam":{"type":"static"},"name":"eth0"}"#;
        assert_eq!(String::from_utf8(renamed.unwrap()).unwrap(), text);
        let error = NetConf::parse(b"{}", &naming).unwrap_err();
        assert_eq!(error.msg, "missing network name");
    }

    #[test]
    fn errors_come_in_the_skeletons_order() {
        assert_eq!(error("[]").0, 6);
        assert_eq!(error(r#"{"cniVersion":"9.0.0"}"#), (7, "missing network name|".to_owned()));
        assert_eq!(
            error(r#"{"name":"a/b"}"#),
            (7, "invalid characters found in network name|a/b".to_owned())
        );
        assert_eq!(
            error(r#"{"cniVersion":"9.0.0","name":"n"}"#).1,
            r#"incompatible CNI versions|config is "9.0.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#
        );
    }
}
