//! What is read of a configuration before it is known to make sense: where to log, and what the plugins of 2017 left out.
//! It must not refuse anything.

use std::path::PathBuf;

use cni::log::Level;
use cni::{Args, fold_keys};
use serde_json::{Map, Value};

use super::keys;
use super::reader::Keys;
use super::vf;

/// Where a network has its lines written.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Logging {
    pub(crate) level: Level,
    pub(crate) file: Option<PathBuf>,
    /// A level that is none.
    pub(crate) odd_level: Option<String>,
}

impl Logging {
    /// Reads keys that [`fold`] has been over.
    pub(crate) fn of(raw: &Map<String, Value>) -> Self {
        let text = |key| raw.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let level = text("logLevel").and_then(Level::named);
        Self {
            level: level.unwrap_or(Level::Info),
            file: text("logFile").map(PathBuf::from),
            odd_level: text("logLevel").filter(|_| level.is_none()).map(str::to_owned),
        }
    }
}

/// Gives every known key its spelling, those of the objects inside too.
pub(crate) fn fold(raw: &mut Map<String, Value>) {
    let known: Vec<&str> = keys::known().collect();
    fold_keys(raw, &known);
    if let Some(runtime) = raw.get_mut("runtimeConfig").and_then(Value::as_object_mut) {
        fold_keys(runtime, &["mac", "deviceID"]);
    }
}

/// Whether the network is of 2017 and of layer 2 alone: without addresses, whatever `ipam` says. Reads keys that [`fold`] has
/// been over.
pub(crate) fn is_addressless(raw: &Map<String, Value>, args: &Args) -> bool {
    let of_2017 = || vf::vf(Keys::new(raw), args, &mut Vec::new()).is_ok_and(|vf| vf::is_below(vf.as_ref()));
    raw.get("l2enable").and_then(Value::as_bool).unwrap_or(false) && of_2017()
}

/// The name of a network of 2017, whose runtimes gave it none; `None` where it is no such network. One for all of them, so
/// that its IPAM plugin gives no address twice.
pub fn name_of_nameless(raw: &Map<String, Value>) -> Option<String> {
    let is_of_2017 = |key: &String| ["if0", "master"].iter().any(|known| known.eq_ignore_ascii_case(key));
    raw.keys().any(is_of_2017).then(|| "sriov".to_owned())
}
