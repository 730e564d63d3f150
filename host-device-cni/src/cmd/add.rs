//! ADD: configuration, observation, plan, and the attachment as planned.
//! It must not touch anything before the device is locked and known to be free.

use std::path::Path;

use attachment::{Host, Lock, Owner, Paths, Plan, Pod, Record, Sandbox, Step, Store};
use cni::log::{self, Level};
use cni::{Interface, IpConfig, Outcome, Request};
use netlink::{Netns, RouteScope};

use crate::claim::{claimed_as, name_of};
use crate::conf::{Conf, DeviceKey};
use crate::error::Error;
use crate::observe::{Observed, observe, refuse_default_route};
use crate::plan::plan;

/// How often a device is looked for that comes and goes meanwhile.
const ATTEMPTS: usize = 3;

pub(super) fn add(paths: &Paths, store: &Store, request: &Request) -> Result<Outcome, Error> {
    let conf = Conf::parse(request)?;
    let netns = Netns::open(request.netns.as_deref().unwrap_or(Path::new("")))?;
    let mut host = Host::open(paths)?;
    let (observed, _lock) = take(request, store, &mut host, &conf.device)?;
    if let Some(link) = observed.link.as_ref().filter(|_| !conf.allow_default_route) {
        refuse_default_route(&mut host, link)?;
    }
    let shared = observed.network.shared();
    if shared > 0 && conf.restore_addresses {
        let why = "leave by other links as well: they do not come back with it";
        log::line(Level::Warning, format_args!("{}: {shared} of its routes {why}", observed.device));
    }
    let planned = make_plan(request, &conf, &observed, &netns)?;
    let attached = attachment::attach(request, store, &mut host, netns, &planned);
    let name = observed.link.map(|link| link.name).unwrap_or(observed.device);
    attached.map_err(|error| Error::attach(error, &request.ifname, &name))
}

/// The device as it is under its lock, known to be free.
fn take(
    request: &Request,
    store: &Store,
    host: &mut Host,
    key: &DeviceKey,
) -> Result<(Observed, Option<Lock>), Error> {
    let mut found = String::new();
    for _ in 0..ATTEMPTS {
        // Without a claim's name there is no such device, which the observation then says.
        let device = claimed_as(host, store, key)?;
        let lock = device.as_ref().map(|device| store.lock(device)).transpose()?;
        if let Some(device) = &device {
            attachment::free(request, store, host, device)?;
        }
        let mut observed = observe(host, key)?;
        observed.device = name_of(store, &observed)?;
        if device.as_ref() == Some(&observed.device) {
            return Ok((observed, lock));
        }
        // It came home between the two looks, or under another name: another ADD may be at it under that one.
        found = observed.device;
    }
    Err(Error::Changing { device: found })
}

fn make_plan(request: &Request, conf: &Conf, observed: &Observed, netns: &Netns) -> Result<Plan, Error> {
    let owner = Owner::of(request).map_err(Error::IfName)?;
    let steps = plan(conf, observed, &owner.ifname)?;
    let interface = Interface {
        name: request.ifname.clone(),
        mac: String::new(),
        mtu: observed.link.as_ref().map_or(0, |link| link.mtu),
        sandbox: netns.path().display().to_string(),
        pci_id: observed.function.map(|function| function.to_string()).unwrap_or_default(),
    };
    Ok(Plan {
        record: Record {
            version: Record::VERSION,
            owner,
            pod: Pod::of(request),
            sandbox: Sandbox::of(netns),
            device: observed.device.clone(),
            function: observed.function,
            pf: None,
            ipam: request.conf.ipam.clone(),
            config: request.conf.raw.clone(),
            undo: steps.iter().map(Step::undo).collect(),
        },
        beside: serde_json::Map::new(),
        steps,
        link: observed.link.clone(),
        interface,
        inherited: inherited(conf, observed),
        dns: (!conf.dns.is_empty()).then(|| conf.dns.clone()),
        announce: false,
        mtu: None,
        allmulti: false,
        optimistic: false,
    })
}

/// The addresses and routes that the pod is to take over, where it is to: a cloud NIC's come from the cloud.
fn inherited(conf: &Conf, observed: &Observed) -> Outcome {
    let mut outcome = Outcome::default();
    if !conf.use_interface_network {
        return outcome;
    }
    let (network, link) = (&observed.network, observed.link.as_ref().map_or(0, |link| link.index));
    let ip = |address| IpConfig { address, gateway: None, interface: None };
    outcome.ips = network.addresses().into_iter().map(ip).collect();
    outcome.routes = network.routes(link).iter().map(to_result).collect();
    outcome
}

/// What has no gateway is on the link, and stays so beside IPAM's gateway. IPv6 has no scopes to tell that by.
fn to_result(route: &netlink::Route) -> cni::Route {
    let scope = if route.gateway.is_none() { Some(RouteScope::LINK) } else { route.scope };
    let scope = scope.map(|scope| scope.0);
    let (dst, gw, priority, table) = (route.destination, route.gateway, route.priority, route.table);
    cni::Route { dst, gw, mtu: None, advmss: None, priority, table, scope, onlink: route.onlink }
}
