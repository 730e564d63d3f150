//! The commands of `sriov`.
//! It must not know how a step is done.

mod add;
mod check;

use attachment::{Paths, Store};
use cni::{Outcome, Plugin, Request};

use crate::error::Error;

/// The plugin.
pub struct Sriov {
    paths: Paths,
}

impl Sriov {
    /// The plugin with the Go plugin's state directory and this node's sysfs.
    pub fn on_this_node() -> Self {
        Self { paths: Paths::from_env("/var/lib/cni/sriov") }
    }

    fn store(&self) -> Store {
        Store::sriov(&self.paths)
    }
}

impl Plugin for Sriov {
    fn add(&self, request: &Request) -> Result<Outcome, cni::Error> {
        Ok(add::add(&self.paths, &self.store(), request)?)
    }

    fn del(&self, request: &Request) -> Result<(), cni::Error> {
        Ok(attachment::detach(request, &self.store(), &self.paths).map_err(Error::Attachment)?)
    }

    fn check(&self, request: &Request) -> Result<(), cni::Error> {
        check::check(&self.paths, request)
    }

    fn gc(&self, request: &Request) -> Result<(), cni::Error> {
        Ok(attachment::gc(request, &self.store(), &self.paths).map_err(Error::Attachment)?)
    }
}
