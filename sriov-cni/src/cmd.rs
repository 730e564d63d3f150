//! The commands of `sriov`.
//! It must not know how a step is done.

mod add;
mod check;
mod status;

use attachment::{Paths, Store};
use cni::log::{self, Level};
use cni::{Args, Outcome, Plugin, Request};
use serde_json::{Map, Value};

use crate::conf::{self, Logging, Netconf};
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

/// The request with its keys as they are spelled, without IPAM where the network is to have no addresses; the log is open
/// from then on.
fn begin(command: &str, request: &Request) -> Request {
    let mut request = request.clone();
    conf::fold(&mut request.conf.raw);
    if is_addressless(&request) {
        request.conf.ipam = None;
    }
    let Logging { level, file, .. } = Logging::of(&request.conf.raw);
    if let Err(error) = log::init("sriov-cni", &request, level, file.as_deref()) {
        log::line(Level::Warning, error);
    }
    log::line(Level::Debug, format_args!("{command} of network {:?}", request.conf.name));
    request
}

/// The request's configuration, with what `CNI_ARGS` has of it: the VF, a MAC.
pub(crate) fn read(request: &Request) -> Result<Netconf, Error> {
    let args = Args::parse(&request.args, &conf::ARGS)?;
    Ok(Netconf::of(&request.conf.raw, &args)?)
}

/// Whether the network is to have no addresses. What `CNI_ARGS` has wrong is said where they are read in earnest.
fn is_addressless(request: &Request) -> bool {
    let args = Args::parse(&request.args, &conf::ARGS).unwrap_or_default();
    conf::is_addressless(&request.conf.raw, &args)
}

/// An error as the runtime reads it.
fn answer<T>(request: &Request, outcome: Result<T, Error>) -> Result<T, cni::Error> {
    outcome.map_err(|error| error.explain(request))
}

impl Plugin for Sriov {
    fn network_name(&self, conf: &Map<String, Value>) -> Option<String> {
        conf::name_of_nameless(conf)
    }

    fn add(&self, request: &Request) -> Result<Outcome, cni::Error> {
        let request = begin("ADD", request);
        answer(&request, add::add(&self.paths, &self.store(), &request))
    }

    fn del(&self, request: &Request) -> Result<(), cni::Error> {
        let request = begin("DEL", request);
        let detached = attachment::detach(&request, &self.store(), &self.paths);
        answer(&request, detached.map_err(Error::Delete))
    }

    fn check(&self, request: &Request) -> Result<(), cni::Error> {
        let request = begin("CHECK", request);
        answer(&request, check::check(&self.paths, &self.store(), &request))
    }

    fn status(&self, request: &Request) -> Result<(), cni::Error> {
        let request = begin("STATUS", request);
        answer(&request, status::status(&self.paths, &self.store(), &request))
    }

    fn gc(&self, request: &Request) -> Result<(), cni::Error> {
        let request = begin("GC", request);
        let collected = attachment::gc(&request, &self.store(), &self.paths);
        answer(&request, collected.map_err(Error::Attachment))
    }
}
