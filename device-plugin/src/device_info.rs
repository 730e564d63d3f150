//! What a container and its CNI plugin are told of the functions they got: variables, device nodes, device-info files.
//! It must not choose functions, and reads each of them anew: what was bound at start may not be now.

use std::path::PathBuf;

use pci::Sysfs;

use crate::config::Resource;
use crate::inventory::{self, Device};
use crate::pool::{Pool, Unfit};

mod env;
mod file;
mod nodes;

use env::Info;
pub use env::variables;
pub use file::Error as FileError;
pub use nodes::{Error as NodeError, Node};

/// Where the node keeps what is read and written at an allocation.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/sys`.
    pub sysfs: Sysfs,
    /// `/dev`, to look for device nodes; the paths that are handed out always start with `/dev`.
    pub dev: PathBuf,
    /// Where the CNI side looks for device-info files.
    pub devinfo: PathBuf,
}

/// Functions for one container, ready to be handed out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// The environment, by name.
    pub envs: std::collections::BTreeMap<String, String>,
    /// The device nodes, each once.
    pub nodes: Vec<Node>,
}

/// Why an allocation is refused. Each names the device.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pool never had it.
    #[error("device {id:?} is not in pool {pool}; the kubelet knows another list, restart it if this stays")]
    Unknown {
        /// As the kubelet wrote it.
        id: String,
        /// The pool.
        pool: Resource,
    },
    /// It cannot be read any more.
    #[error("pool {pool}: {source}")]
    Gone {
        /// The pool.
        pool: Resource,
        /// What is missing.
        source: pci::Error,
    },
    /// It is not what the pool offers any more.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It has no device nodes, and its driver should have made some.
    #[error(transparent)]
    Nodes(#[from] NodeError),
    /// Its device-info file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Host {
    /// Prepares the devices with these ids, in their order. Writes nothing.
    pub fn prepare(&self, pool: &Pool, ids: &[String]) -> Result<Grant, Error> {
        let mut infos = Vec::with_capacity(ids.len());
        let mut nodes: Vec<Node> = Vec::new();
        for id in ids {
            let device = self.look_at(pool, id)?;
            let access = nodes::access(&device.function)?;
            for node in &access.nodes {
                // Two devices of one IOMMU group, and /dev/vfio/vfio for any two.
                if nodes.iter().all(|known| known.host != node.host) {
                    self.tell_if_absent(&device, node);
                    nodes.push(node.clone());
                }
            }
            infos.push(Info { id: id.clone(), driver: access.info, extra: pool.config.extra(id) });
        }
        Ok(Grant { envs: variables(&pool.config.resource, &infos), nodes })
    }

    /// Writes the device-info files of devices that were prepared.
    pub fn publish(&self, pool: &Pool, ids: &[String]) -> Result<(), FileError> {
        if pool.config.kind != inventory::Kind::Network {
            return Ok(());
        }
        ids.iter().try_for_each(|id| file::write(&self.devinfo, &pool.config.resource, id))
    }

    fn look_at(&self, pool: &Pool, id: &str) -> Result<Device, Error> {
        let resource = &pool.config.resource;
        let known =
            pool.get(id).ok_or_else(|| Error::Unknown { id: id.to_owned(), pool: resource.clone() })?;
        let device = inventory::reread(&self.sysfs, known)
            .map_err(|source| Error::Gone { pool: resource.clone(), source })?;
        pool.check(&device)?;
        Ok(device)
    }

    /// A node that is not there yet may still come, and a daemon without the host's `/dev` sees none: no more than a word.
    fn tell_if_absent(&self, device: &Device, node: &Node) {
        let path = node.below(&self.dev);
        if !path.exists() {
            tracing::debug!(
                "{}: there is no {} here; the container needs it",
                device.label(),
                path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests;
