//! The commands of `host-device`.
//! It must not know how a step is done.

mod add;
mod del;

use attachment::{Owner, Paths, Store};
use cni::{Outcome, Plugin, Request};

use crate::error::Error;

/// The plugin.
pub struct HostDevice {
    paths: Paths,
}

impl HostDevice {
    /// The plugin with its state directory and this node's sysfs.
    pub fn on_this_node() -> Self {
        Self { paths: Paths::from_env("/var/lib/cni/host-device") }
    }

    fn store(&self) -> Store {
        Store::new(&self.paths.state, "devices")
    }
}

impl Plugin for HostDevice {
    fn add(&self, request: &Request) -> Result<Outcome, cni::Error> {
        Ok(add::add(&self.paths, &self.store(), request)?)
    }

    fn del(&self, request: &Request) -> Result<(), cni::Error> {
        Ok(del::del(&self.paths, &self.store(), request)?)
    }

    fn check(&self, request: &Request) -> Result<(), cni::Error> {
        request.conf.ipam.as_ref().map_or(Ok(()), |ipam| cni::ipam::check(request, ipam))
    }

    fn status(&self, request: &Request) -> Result<(), cni::Error> {
        request.conf.ipam.as_ref().map_or(Ok(()), |ipam| cni::ipam::status(request, ipam))
    }

    fn gc(&self, request: &Request) -> Result<(), cni::Error> {
        request.conf.ipam.as_ref().map_or(Ok(()), |ipam| cni::ipam::gc(request, ipam))
    }
}

/// Whose attachment a request is about.
fn owner(request: &Request) -> Result<Owner, Error> {
    let ifname = request.ifname.parse()?;
    Ok(Owner { container_id: request.container_id.clone(), ifname })
}
