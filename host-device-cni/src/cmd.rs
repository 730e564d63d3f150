//! The commands of `host-device`.
//! It must not know how a step is done.

mod add;
mod check;
mod del;

use attachment::{Paths, Store};
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
        Store::host_device(&self.paths)
    }
}

impl Plugin for HostDevice {
    fn about(&self) -> Option<String> {
        Some(format!("CNI plugin host-device v{} of Sluice", env!("CARGO_PKG_VERSION")))
    }

    fn add(&self, request: &Request) -> Result<Outcome, cni::Error> {
        Ok(add::add(&self.paths, &self.store(), request)?)
    }

    fn del(&self, request: &Request) -> Result<(), cni::Error> {
        Ok(del::del(&self.paths, &self.store(), request)?)
    }

    fn check(&self, request: &Request) -> Result<(), cni::Error> {
        check::check(&self.paths, &self.store(), request)
    }

    fn status(&self, request: &Request) -> Result<(), cni::Error> {
        check::status(&self.paths, &self.store(), request)
    }

    fn gc(&self, request: &Request) -> Result<(), cni::Error> {
        Ok(attachment::gc(request, &self.store(), &self.paths).map_err(Error::Attachment)?)
    }
}
