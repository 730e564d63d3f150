//! The variables of a container: `PCIDEVICE_<RESOURCE>` and `PCIDEVICE_<RESOURCE>_INFO`.
//! It must not read anything; the bytes are those of the Go plugin, which people parse.

use std::collections::BTreeMap;

use crate::config::PoolConfig;

use super::nodes::Part;

/// What the variables say of one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Info {
    /// The device's id.
    pub(super) id: String,
    /// What its driver and its selector give.
    pub(super) parts: Vec<Part>,
    /// What the configuration adds.
    pub(super) extra: Option<BTreeMap<String, String>>,
}

/// Both variables, for devices in the order of the request; under a second name where no shell can use the first.
pub(super) fn variables(config: &PoolConfig, devices: &[Info]) -> BTreeMap<String, String> {
    let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
    let infos: BTreeMap<&str, BTreeMap<&str, BTreeMap<String, String>>> =
        devices.iter().map(|device| (device.id.as_str(), device.parts())).collect();
    // Maps of strings cannot fail to be JSON.
    let info = html_escaped(&serde_json::to_string(&infos).unwrap_or_default());
    let ids = ids.join(",");
    let names = std::iter::once(config.resource.variable()).chain(config.shell_variable.clone());
    names.flat_map(|name| [(format!("{name}_INFO"), info.clone()), (name, ids.clone())]).collect()
}

impl Info {
    fn parts(&self) -> BTreeMap<&str, BTreeMap<String, String>> {
        let generic = BTreeMap::from([("deviceID".to_owned(), self.id.clone())]);
        let mut parts = BTreeMap::from([("generic", generic)]);
        parts.extend(self.parts.iter().map(|part| (part.name, part.info.clone())));
        parts.extend(self.extra.clone().map(|extra| ("extra", extra)));
        parts
    }
}

/// As Go's `encoding/json` writes JSON unless told otherwise. These characters stand in strings alone.
fn html_escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}
