//! What a container and its CNI plugin are told of the functions they got: variables, device nodes, device-info files.
//! It must not choose functions, and reads each of them anew: what was bound at start may not be now.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use pci::Sysfs;

use crate::config::Resource;
use crate::inventory::{self, Device, DeviceId, Kind};
use crate::pool::{Grants, Ill, Pool, Unfit};

pub mod cdi;
mod env;
mod extras;
mod file;
mod nodes;

pub use cdi::Error as CdiError;
use cdi::{Cdi, Names};
use env::{Info, variables};
pub use file::Error as FileError;
use nodes::Part;
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
    /// The CDI specifications, where devices are handed out by them.
    pub cdi: Option<Arc<Cdi>>,
    /// What was handed out.
    pub grants: Grants,
}

/// Functions for one container, ready to be handed out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// The environment, by name.
    pub envs: std::collections::BTreeMap<String, String>,
    /// The device nodes, each once.
    pub nodes: Vec<Node>,
    /// The devices as they are now, each with its own nodes.
    pub devices: Vec<(Device, Vec<Node>)>,
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
    /// Its CDI specification cannot be written.
    #[error(transparent)]
    Cdi(#[from] CdiError),
}

impl Host {
    /// Prepares the devices with these ids, in their order. Writes nothing.
    pub fn prepare(&self, pool: &Pool, ids: &[String]) -> Result<Grant, Error> {
        let mut grant = Grant::default();
        let mut infos = Vec::with_capacity(ids.len());
        for id in ids {
            let device = self.look_at(pool, id)?;
            let parts = self.parts(pool, &device)?;
            let nodes: Vec<Node> = parts.iter().flat_map(|part| part.nodes.iter().cloned()).collect();
            for node in &nodes {
                // Two devices of one IOMMU group, and /dev/vfio/vfio for any two.
                if grant.nodes.iter().all(|known| known.host != node.host) {
                    self.tell_if_absent(&device, node);
                    grant.nodes.push(node.clone());
                }
            }
            let extra = pool.config.extra(&device.function.address.to_string());
            infos.push(Info { id: id.clone(), parts, extra });
            grant.devices.push((device, nodes));
        }
        grant.envs = variables(&pool.config, &infos);
        Ok(grant)
    }

    /// Notes that devices that were prepared are held from now on, where none of them has turned out unclean since its pool was
    /// made; writes their device-info files, and what has changed of them in the CDI specification;
    /// then how a runtime finds them there.
    pub fn publish(&self, pool: &Pool, grant: &Grant) -> Result<Option<Names>, Error> {
        let config = &pool.config;
        let devices: Vec<DeviceId> = grant.devices.iter().map(|(device, _)| device.id()).collect();
        self.grants.give(&devices, &config.resource.to_string(), Instant::now()).map_err(
            |(device, why)| {
                let pool = config.resource.name().to_owned();
                Unfit::Ill { device: device.to_string(), pool, ill: Ill::Unclean(why) }
            },
        )?;
        if config.kind == Kind::Network {
            for (device, _) in &grant.devices {
                file::write(&self.devinfo, &config.resource, device, pool.extras(device))?;
            }
        }
        let Some(cdi) = &self.cdi else { return Ok(None) };
        let ids: Vec<String> = grant.devices.iter().map(|(device, _)| device.id().to_string()).collect();
        let nodes = grant.devices.iter().map(|(_, nodes)| nodes.clone());
        cdi.update(config, ids.iter().cloned().zip(nodes).collect())?;
        Ok(Some(cdi::names(config, &ids)))
    }

    /// Writes the CDI specification of a pool, where CDI is in use. A device that cannot be handed out now stands there
    /// without nodes; its allocation will be refused, or will write the file again.
    pub fn specify(&self, pool: &Pool) -> Result<(), CdiError> {
        let Some(cdi) = &self.cdi else { return Ok(()) };
        let nodes = |device: &Device| match self.parts(pool, device) {
            Ok(parts) => parts.into_iter().flat_map(|part| part.nodes).collect(),
            Err(error) => {
                tracing::warn!("pool {}: {error}", pool.config.resource);
                Vec::new()
            }
        };
        let devices = pool.devices.iter().map(|device| (device.id().to_string(), nodes(device)));
        cdi.replace(&pool.config, devices.collect())
    }

    /// Whether nobody else has been at the CDI specification of a pool since it was written.
    pub fn is_specified(&self, pool: &Pool) -> bool {
        self.cdi.as_ref().is_none_or(|cdi| cdi.is_intact(&pool.config))
    }

    /// As [`Host::specify`], but without devices there is no file either: a specification must have one.
    pub fn specify_or_remove(&self, pool: &Pool) -> Result<(), CdiError> {
        match &self.cdi {
            Some(cdi) if pool.devices.is_empty() => {
                cdi.remove(&pool.config);
                Ok(())
            }
            _ => self.specify(pool),
        }
    }

    fn look_at(&self, pool: &Pool, id: &str) -> Result<Device, Error> {
        let resource = &pool.config.resource;
        let known =
            pool.get(id).ok_or_else(|| Error::Unknown { id: id.to_owned(), pool: resource.clone() })?;
        let device = inventory::reread(&self.sysfs, known)
            .map_err(|source| Error::Gone { pool: resource.clone(), source })?;
        pool.check(&device).inspect_err(|_| {
            if pool.kept.contains(&device.id()) {
                self.grants.doubt();
            }
        })?;
        Ok(device)
    }

    /// In the Go plugin's order: by the driver, then what the selector asks for.
    fn parts(&self, pool: &Pool, device: &Device) -> Result<Vec<Part>, NodeError> {
        let extras = pool.extras(device);
        let mut parts = Vec::new();
        if device.sf.is_none() {
            parts.extend(nodes::of_driver(&device.function, pool.config.vfio_cdev)?);
        }
        if extras.rdma {
            parts.push(extras::rdma(&self.sysfs, &self.dev, device));
        }
        if extras.vhost_net {
            parts.extend(extras::vhost_net(&self.dev));
        }
        if extras.vdpa {
            parts.push(extras::vdpa(device)?);
        }
        Ok(parts)
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
