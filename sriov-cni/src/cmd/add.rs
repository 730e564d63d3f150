//! ADD: configuration, observation, plan, and the attachment as planned.
//! It must not touch anything before the device is locked and known to be free.

use std::path::Path;

use attachment::{DriverBefore, Host, Owner, Paths, Plan, Pod, Record, Sandbox, Step, Store, VlanSet};
use cni::log::{self, Level};
use cni::{Interface, Outcome, Request};
use netlink::{IfName, Netns};
use pci::Function;

use super::{is_addressless, read};
use crate::cache;
use crate::choose::choose;
use crate::conf::{Conf, ConfError, Netconf};
use crate::error::Error;
use crate::observe::Observed;
use crate::plan::{Binding, fits, plan, reported_mac};

pub(super) fn add(paths: &Paths, store: &Store, request: &Request) -> Result<Outcome, Error> {
    let Netconf { vf, conf, ifname, warnings } = read(request)?;
    for warning in warnings {
        log::line(Level::Warning, warning);
    }
    let vf = vf.ok_or(ConfError::NoDevice)?;
    let netns = Netns::open(request.netns.as_deref().unwrap_or(Path::new("")))?;
    let mut host = Host::open(paths)?;
    let (observed, _lock) = choose(request, store, &mut host, &vf)?;
    fits(&conf, &observed)?;
    let name = match ifname {
        Some(name) => name,
        None => request.ifname.parse().map_err(Error::IfName)?,
    };
    let binding = binding(&host, &conf, &observed)?;
    let trunk = trunk(&host, &conf, &observed)?;
    let steps = plan(&conf, &observed, binding, trunk, &name).map_err(Error::IfName)?;
    let planned = make_plan(request, &conf, &name, &observed, steps, &netns)?;
    let attached = attachment::attach(request, store, &mut host, netns, &planned);
    attached.map_err(|error| {
        Error::attach(error, &request.ifname, &observed.pf_link.name, planned.record.ipam.as_deref())
    })
}

/// What is to be done about the VF's driver; nothing where it has the one that is asked for.
fn binding(host: &Host, conf: &Conf, observed: &Observed) -> Result<Option<Binding>, Error> {
    let Function { address, driver: found, .. } = &observed.function;
    let Some(driver) = conf.driver.filter(|driver| found.as_deref() != Some(driver)) else { return Ok(None) };
    let before = DriverBefore::of(host, *address, driver)?;
    Ok(Some(Binding { driver, before }))
}

/// The VLANs that the PF lets the VF use now, where they are to be others.
fn trunk(host: &Host, conf: &Conf, observed: &Observed) -> Result<Option<VlanSet>, ConfError> {
    let Some(wanted) = &conf.trunk else { return Ok(None) };
    let before = attachment::trunk_before(&host.sysfs, observed.pf, wanted);
    before.map(Some).map_err(|source| ConfError::Trunk { found: wanted.clone(), source })
}

fn make_plan(
    request: &Request,
    conf: &Conf,
    name: &IfName,
    observed: &Observed,
    steps: Vec<Step>,
    netns: &Netns,
) -> Result<Plan, Error> {
    let owner = Owner::of(request).map_err(Error::IfName)?;
    let moves = steps.iter().any(|step| matches!(step, Step::Move { .. }));
    let ipam = request.conf.ipam.clone();
    let device = observed.function.address.to_string();
    let link = observed.link.as_ref().unwrap_or(&observed.pf_link);
    let interface = Interface {
        name: name.to_string(),
        mac: reported_mac(conf, observed, moves).map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: conf.mtu.unwrap_or(link.mtu),
        sandbox: netns.path().display().to_string(),
        pci_id: device.clone(),
    };
    Ok(Plan {
        beside: cache::beside(&request.conf.raw, conf, observed, ipam.as_deref()),
        record: Record {
            version: Record::VERSION,
            owner,
            pod: Pod::of(request),
            sandbox: Sandbox::of(netns),
            device,
            function: Some(observed.function.address),
            pf: Some(observed.pf),
            ipam,
            config: request.conf.raw.clone(),
            undo: steps.iter().map(Step::undo).collect(),
        },
        steps,
        link: observed.link.clone(),
        interface,
        inherited: Outcome { addressless: is_addressless(request), ..Outcome::default() },
        dns: None,
        announce: true,
        mtu: conf.mtu,
        allmulti: conf.allmulti,
        optimistic: true,
    })
}
