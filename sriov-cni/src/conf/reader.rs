//! A network configuration's object, read key by key.
//! It must not know which keys there are.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ConfError;

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
