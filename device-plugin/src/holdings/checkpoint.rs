//! The kubelet's device manager checkpoint, `kubelet_internal_checkpoint`: the layout since Kubernetes 1.20 with devices by
//! NUMA node, and the one before with a plain list. Its checksum is a hash of Go's memory layout, which nobody else checks.
//! It must not be written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Held, Holder, PodName};

/// The checkpoint does not tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file, or not for us.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another layout.
    #[error("{path} is no checkpoint of a device manager that is known here: {source}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    pod_device_entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "PodUID")]
    pod_uid: String,
    container_name: String,
    resource_name: String,
    #[serde(rename = "DeviceIDs")]
    device_ids: Option<DeviceIds>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DeviceIds {
    /// By NUMA node, -1 for none.
    ByNode(BTreeMap<String, Option<Vec<String>>>),
    /// Before Kubernetes 1.20.
    List(Vec<String>),
}

pub(super) fn read(path: &Path) -> Result<Held, Error> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let checkpoint: Checkpoint =
        serde_json::from_slice(&text).map_err(|source| Error::Shape { path: path.to_owned(), source })?;
    let entries = checkpoint.data.pod_device_entries.unwrap_or_default();
    Ok(entries.into_iter().flat_map(Entry::holders).collect())
}

impl Entry {
    fn holders(self) -> Vec<(crate::inventory::DeviceId, Holder)> {
        let ids = match self.device_ids {
            None => Vec::new(),
            Some(DeviceIds::List(ids)) => ids,
            Some(DeviceIds::ByNode(nodes)) => nodes.into_values().flatten().flatten().collect(),
        };
        let holder = Holder {
            resource: self.resource_name,
            pod: PodName::Uid(self.pod_uid),
            container: self.container_name,
        };
        ids.iter().filter_map(|id| Some((id.parse().ok()?, holder.clone()))).collect()
    }
}
