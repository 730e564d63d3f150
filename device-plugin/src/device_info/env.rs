//! The variables of a container: `PCIDEVICE_<RESOURCE>` and `PCIDEVICE_<RESOURCE>_INFO`.
//! It must not read anything; the bytes are those of the Go plugin, which people parse.

use std::collections::BTreeMap;

use crate::config::Resource;

/// What the variables say of one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// The device's id.
    pub(super) id: String,
    /// What its driver adds.
    pub(super) driver: Option<(&'static str, BTreeMap<String, String>)>,
    /// What the configuration adds.
    pub(super) extra: Option<BTreeMap<String, String>>,
}

/// Both variables, for devices in the order of the request.
pub fn variables(resource: &Resource, devices: &[Info]) -> BTreeMap<String, String> {
    let name = resource.variable();
    let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
    let infos: BTreeMap<&str, BTreeMap<&str, BTreeMap<String, String>>> =
        devices.iter().map(|device| (device.id.as_str(), device.parts())).collect();
    // Maps of strings cannot fail to be JSON.
    let info = serde_json::to_string(&infos).unwrap_or_default();
    BTreeMap::from([(format!("{name}_INFO"), html_escaped(&info)), (name, ids.join(","))])
}

impl Info {
    fn parts(&self) -> BTreeMap<&str, BTreeMap<String, String>> {
        let generic = BTreeMap::from([("deviceID".to_owned(), self.id.clone())]);
        let mut parts = BTreeMap::from([("generic", generic)]);
        parts.extend(self.driver.clone());
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
