//! Who holds which device, as the kubelet says: its `PodResources` API and its checkpoint.
//! It must not decide what follows from it, and never wait long for a kubelet that hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::inventory::DeviceId;

mod checkpoint;
mod pod_resources;

pub use checkpoint::Error as CheckpointError;
pub use pod_resources::Error as PodResourcesError;

/// How long the kubelet may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long where somebody waits for the first list, and its checkpoint tells as much.
const SOON: Duration = Duration::from_millis(100);

/// Where the kubelet tells what it gave to whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sources {
    /// The socket of its `PodResources` API.
    pub socket: PathBuf,
    /// Its device manager's checkpoint.
    pub checkpoint: PathBuf,
}

/// The devices that pods hold. A device of another plugin, with a name that is neither a PCI address nor an SF's, is not in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Held {
    holders: BTreeMap<DeviceId, Holder>,
    /// Every pod that the kubelet told of, those included that hold nothing of this kind.
    pods: BTreeSet<PodName>,
}

/// Who holds a device.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The extended resource that it was given as, `<prefix>/<name>`.
    pub resource: String,
    /// The pod.
    pub pod: PodName,
    /// The container.
    pub container: String,
}

/// A pod, as the source names it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PodName {
    /// By its name, as `PodResources` does.
    Named {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// By its UID, as the checkpoint does.
    Uid(String),
}

/// The kubelet does not tell.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell which pod holds which device: {pod_resources}; nor from the checkpoint: {checkpoint}")]
pub struct Error {
    /// What its API says.
    pub pod_resources: PodResourcesError,
    /// What its checkpoint says.
    pub checkpoint: CheckpointError,
}

/// What both sources tell, for whoever moves or frees a device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Agreed {
    /// A device is free only where both say so, as far as they can be read.
    pub held: Held,
    /// The checkpoint has a device that `PodResources` does not: a pod that is over, and the kubelet has not written that
    /// down; or one that it has not heard of since its start; or a device that only an init container has.
    pub lags: bool,
}

/// Asks the kubelet and reads its checkpoint. A kubelet answers before it has heard of its pods, and then names only some or
/// none; what it had given is in its checkpoint until it knows better. Where one cannot be read, the other counts.
pub async fn agreed(sources: &Sources) -> Result<Agreed, Error> {
    agreed_within(sources, PATIENCE).await
}

/// As [`agreed`], for the first list. A kubelet that is silent is not waited for where that could free nothing that is held:
/// its checkpoint has every device that a pod holds, and some of pods that are over; and where it has none, though its folder
/// is there, no device of any plugin was ever given.
pub async fn agreed_soon(sources: &Sources) -> Result<Agreed, Error> {
    let checkpoint = &sources.checkpoint;
    let never = !checkpoint.exists() && checkpoint.parent().is_some_and(Path::is_dir);
    let patience = if never || noted(sources).is_some() { SOON } else { PATIENCE };
    agreed_within(sources, patience).await
}

/// What its checkpoint says, at once: all that is held, and what was held by pods that are over.
pub fn noted(sources: &Sources) -> Option<Held> {
    checkpoint::read(&sources.checkpoint).ok()
}

async fn agreed_within(sources: &Sources, patience: Duration) -> Result<Agreed, Error> {
    let listed = pod_resources::list(&sources.socket, patience).await;
    match (listed, checkpoint::read(&sources.checkpoint)) {
        (Ok(listed), Ok(noted)) => Ok(listed.with(noted)),
        (Ok(held), Err(_)) | (Err(_), Ok(held)) => Ok(Agreed { held, lags: false }),
        (Err(pod_resources), Err(checkpoint)) => Err(Error { pod_resources, checkpoint }),
    }
}

/// Asks the kubelet at once, or reads its checkpoint.
pub async fn read(sources: &Sources) -> Result<Held, Error> {
    match pod_resources::list(&sources.socket, PATIENCE).await {
        Ok(held) => Ok(held),
        Err(pod_resources) => {
            let held = checkpoint::read(&sources.checkpoint);
            held.map_err(|checkpoint| Error { pod_resources, checkpoint })
        }
    }
}

impl Sources {
    /// Where a kubelet with that root has them; another socket where one is given.
    pub fn of(kubelet_root: &Path, socket: Option<&Path>) -> Self {
        let usual = || kubelet_root.join("pod-resources/kubelet.sock");
        Self {
            socket: socket.map_or_else(usual, Path::to_owned),
            checkpoint: kubelet_root.join("device-plugins/kubelet_internal_checkpoint"),
        }
    }
}

impl Held {
    /// Who holds a device; `None` where nobody does.
    pub fn get(&self, device: &DeviceId) -> Option<&Holder> {
        self.holders.get(device)
    }

    /// Every pod that was told of; the checkpoint has those alone that hold a device.
    pub fn pods(&self) -> &BTreeSet<PodName> {
        &self.pods
    }

    /// Adds what only the checkpoint has.
    fn with(mut self, noted: Self) -> Agreed {
        let listed = self.holders.len();
        for (device, holder) in noted.holders {
            self.holders.entry(device).or_insert(holder);
        }
        Agreed { lags: self.holders.len() > listed, held: self }
    }

    /// Every device that is held.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &Holder)> {
        self.holders.iter()
    }
}

impl FromIterator<(DeviceId, Holder)> for Held {
    fn from_iter<T: IntoIterator<Item = (DeviceId, Holder)>>(holders: T) -> Self {
        let holders: BTreeMap<_, _> = holders.into_iter().collect();
        let pods = holders.values().map(|holder: &Holder| holder.pod.clone()).collect();
        Self { holders, pods }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::Uid(uid) => write!(f, "with UID {uid}"),
        }
    }
}

#[cfg(test)]
mod tests;
