//! ADD: configuration, observation, plan, and the attachment as planned.
//! It must not touch anything before the device is locked and known to be free.

use std::path::Path;

use attachment::{Host, Owner, Paths, Plan, Pod, Record, Sandbox, Step, Store};
use cni::{Args, Interface, Outcome, Request};
use netlink::Netns;

use crate::cache;
use crate::conf::Conf;
use crate::error::Error;
use crate::observe::{Observed, observe};
use crate::plan::{plan, reported_mac};

pub(super) fn add(paths: &Paths, store: &Store, request: &Request) -> Result<Outcome, Error> {
    let args = Args::parse(&request.args, &["MAC"])?;
    let conf = Conf::parse(request, &args)?;
    let netns = Netns::open(request.netns.as_deref().unwrap_or(Path::new("")))?;
    let mut host = Host::open(paths)?;
    let device = conf.device.to_string();
    let _lock = store.lock(&device).map_err(Error::Claim)?;
    attachment::free(request, store, &mut host, &device).map_err(Error::Claim)?;
    let observed = observe(&mut host, conf.device)?;
    let planned = make_plan(request, &conf, &observed, &netns)?;
    let attached = attachment::attach(request, store, &mut host, netns, &planned);
    attached.map_err(|error| {
        Error::attach(error, &request.ifname, &observed.pf_link.name, planned.record.ipam.as_deref())
    })
}

fn make_plan(request: &Request, conf: &Conf, observed: &Observed, netns: &Netns) -> Result<Plan, Error> {
    let owner = Owner::of(request).map_err(Error::IfName)?;
    let steps = plan(conf, observed, &owner.ifname).map_err(Error::IfName)?;
    let ipam = request.conf.ipam.clone();
    let interface = Interface {
        name: request.ifname.clone(),
        mac: reported_mac(conf, observed).map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: observed.link.as_ref().unwrap_or(&observed.pf_link).mtu,
        sandbox: netns.path().display().to_string(),
        pci_id: conf.device.to_string(),
    };
    Ok(Plan {
        beside: cache::beside(&request.conf.raw, conf, observed, ipam.as_deref()),
        record: Record {
            version: Record::VERSION,
            owner,
            pod: Pod::of(request),
            sandbox: Sandbox::of(netns),
            device: conf.device.to_string(),
            function: Some(observed.function.address),
            pf: Some(observed.pf),
            ipam,
            config: request.conf.raw.clone(),
            undo: steps.iter().map(Step::undo).collect(),
        },
        steps,
        link: observed.link.clone(),
        interface,
        inherited: Outcome::default(),
        dns: None,
        announce: true,
        mtu: None,
        allmulti: false,
        optimistic: conf.mac.is_some(),
    })
}
