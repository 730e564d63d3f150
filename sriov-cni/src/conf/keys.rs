//! Every key of a network configuration, once: the reader, the warnings and the reference page go by these lists.
//! It must not say what a key does; `docs/sriov.md` does, and a test compares the two.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ConfError;

/// The keys of ours.
pub(crate) const OURS: [&str; 20] = [
    "deviceID",
    "pciBusID",
    "runtimeConfig",
    "args",
    "vlan",
    "vlanQoS",
    "vlanProto",
    "vlanTrunk",
    "mac",
    "spoofchk",
    "trust",
    "link_state",
    "min_tx_rate",
    "max_tx_rate",
    "mtu",
    "allmulti",
    "driver",
    "strict",
    "logLevel",
    "logFile",
];

/// Those of the plugins of 2016 to 2018.
pub(crate) const LEGACY: [&str; 6] = ["if0", "master", "vf", "if0name", "l2enable", "dpdk"];

/// Those that the protocol and its runtimes put beside a plugin's own.
const STANDARD: [&str; 10] = [
    "cniVersion",
    "name",
    "type",
    "capabilities",
    "ipam",
    "dns",
    "prevResult",
    "ipMasq",
    "disableCheck",
    "disableGC",
];

/// Those that the Go plugin reads from its own files, and earlier ones had: nothing comes of them.
const PASSED_OVER: [&str; 9] = [
    "OrigVfState",
    "VFID",
    "DPDKMode",
    "ContIFNames",
    "adminMAC",
    "cniDir",
    "deviceinfo",
    "sharedvf",
    "masterplugin",
];

/// All that are known.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    OURS.into_iter().chain(LEGACY).chain(STANDARD).chain(PASSED_OVER)
}

/// The known key that is most like one that is not: another spelling, a typing error.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    // One that is far too long is no typing error, and must not cost its length squared.
    if unknown.len() > 64 {
        return None;
    }
    let plain = |key: &str| key.replace(['_', '-', '.', ' '], "").to_ascii_lowercase();
    let unknown = plain(unknown);
    let candidates = OURS.into_iter().chain(LEGACY).chain(STANDARD);
    let (distance, key) = candidates.map(|key| (strsim::osa_distance(&unknown, &plain(key)), key)).min()?;
    (distance <= 1 + unknown.len() / 4).then_some(key)
}

/// An object of the configuration, read key by key, so that an error names its key. `null` is no value.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    object: Option<&'a Map<String, Value>>,
    /// How the object itself is called, with a dot behind.
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { object: Some(object), prefix: "" }
    }

    /// An object without keys.
    pub(super) fn none() -> Self {
        Self { object: None, prefix: "" }
    }

    pub(super) fn get<T: DeserializeOwned>(self, key: &str) -> Result<Option<T>, ConfError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wrong = |source| ConfError::Shape { key: format!("{}{key}", self.prefix), source };
        T::deserialize(value).map(Some).map_err(wrong)
    }

    /// A text; an empty one is none.
    pub(super) fn text(self, key: &str) -> Result<Option<String>, ConfError> {
        Ok(self.get::<String>(key)?.filter(|text| !text.is_empty()))
    }

    pub(super) fn value(self, key: &str) -> Option<&'a Value> {
        self.object?.get(key).filter(|value| !value.is_null())
    }

    /// The object at `runtimeConfig`.
    pub(super) fn runtime(self) -> Result<Self, ConfError> {
        self.object("runtimeConfig", "runtimeConfig.")
    }

    /// The object at `dpdk`.
    pub(super) fn dpdk(self) -> Result<Self, ConfError> {
        self.object("dpdk", "dpdk.")
    }

    fn object(self, key: &'static str, prefix: &'static str) -> Result<Self, ConfError> {
        let object = match self.value(key) {
            None => None,
            Some(Value::Object(object)) => Some(object),
            Some(_) => return Err(ConfError::NoObject { key }),
        };
        Ok(Self { object, prefix })
    }

    /// The object at `args.cni`, which is the runtime's place: whatever else stands there is not ours to judge.
    pub(super) fn arguments(self) -> Self {
        let cni = self.value("args").and_then(|args| args.get("cni")).and_then(Value::as_object);
        Self { object: cni, prefix: "args.cni." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key() {
        for (unknown, wanted) in [
            ("max-tx-rate", Some("max_tx_rate")),
            ("vlanQos", Some("vlanQoS")),
            ("vlan_proto", Some("vlanProto")),
            ("spoofcheck", Some("spoofchk")),
            ("linkState", Some("link_state")),
            ("vlna", Some("vlan")),
            ("device", Some("deviceID")),
            ("rdmaIsolation", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown), wanted, "{unknown}");
        }
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
