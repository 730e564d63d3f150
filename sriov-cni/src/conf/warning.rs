//! What is odd in a configuration that can be done all the same: in strict networks an error, otherwise a line in the log.
//! It must not change what is done.

use serde_json::{Map, Value};

use super::keys;

/// Something that was hardly meant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Warning {
    #[error("unknown key {key:?} with {value} is passed over{}", meant(*nearest))]
    UnknownKey { key: String, value: String, nearest: Option<&'static str> },
    #[error("{key} {found:?} is taken for \"off\": wanted \"on\" or \"off\"")]
    Switch { key: &'static str, found: String },
    #[error("min_tx_rate {min} is above max_tx_rate {max}: hardly a driver takes that")]
    Rates { min: u32, max: u32 },
    #[error("logLevel {found:?} is taken for \"info\": wanted panic, error, warning, info or debug")]
    LogLevel { found: String },
    #[error(
        "{key} chooses the VF as in 2017; give VFs with a device plugin instead, and do not mix the two on a PF"
    )]
    Legacy { key: &'static str },
    #[error("{key} is passed over: {because}")]
    PassedOver { key: &'static str, because: &'static str },
}

impl Warning {
    /// Whether somebody made a mistake: what is merely old, or said twice, is none.
    pub(super) fn is_mistake(&self) -> bool {
        !matches!(self, Self::Legacy { .. } | Self::PassedOver { .. })
    }
}

/// A value of this length tells which one is meant.
const SHOWN: usize = 64;

/// The keys that nobody knows. Those of the specification's own name space are never unknown.
pub(super) fn unknown_keys(raw: &Map<String, Value>) -> Vec<Warning> {
    let foreign = raw.iter().filter(|(key, _)| {
        !key.starts_with("cni.dev/") && !keys::known().any(|known| known.eq_ignore_ascii_case(key))
    });
    let told = |(key, value): (&String, &Value)| {
        let mut value = value.to_string();
        if let Some((end, _)) = value.char_indices().nth(SHOWN) {
            value.truncate(end);
            value.push('…');
        }
        Warning::UnknownKey { key: key.clone(), value, nearest: keys::nearest(key) }
    };
    foreign.map(told).collect()
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean {key:?}?")).unwrap_or_default()
}
