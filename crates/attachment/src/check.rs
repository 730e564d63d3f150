//! CHECK: is the pod's interface still as the ADD promised?
//! It must not change anything, and it looks at all before it complains of any.

use cni::{Code, Interface, Outcome, Request};
use netlink::{Link, Netlink, Netns};

/// What is not as promised, or cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The runtime gave no result of the ADD.
    #[error("Required prevResult missing")]
    NoResult,
    /// It gave something that is no result.
    #[error("could not convert prevResult: {0}")]
    Result(#[from] cni::ResultError),
    /// The result names no interface of this name.
    #[error("Container interface name missing in prevResult: {name}")]
    NoInterface {
        /// `CNI_IFNAME`
        name: String,
    },
    /// It names one of another namespace.
    #[error("Sandbox in prevResult {found} doesn't match configured netns: {wanted}")]
    OtherSandbox {
        /// The result's namespace.
        found: String,
        /// `CNI_NETNS`
        wanted: String,
    },
    /// It names one of the host's.
    #[error(
        "Error: Container interface {name} should not be in host namespace; Sandbox in prevResult  doesn't match configured \
         netns: {wanted}"
    )]
    OnHost {
        /// `CNI_IFNAME`
        name: String,
        /// `CNI_NETNS`
        wanted: String,
    },
    /// The pod's namespace cannot be opened.
    #[error(transparent)]
    Netns(#[from] netlink::NetnsError),
    /// rtnetlink refused.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The IPAM plugin complains.
    #[error(transparent)]
    Ipam(#[from] cni::Error),
    /// The pod's interface differs.
    #[error("{}", deviations.join("; "))]
    Differs {
        /// Each deviation.
        deviations: Vec<String>,
    },
}

impl From<CheckError> for cni::Error {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Ipam(error) => error,
            CheckError::NoResult
            | CheckError::NoInterface { .. }
            | CheckError::OtherSandbox { .. }
            | CheckError::OnHost { .. } => Self::new(Code::CONFIG, error.to_string()),
            CheckError::Result(_) => Self::new(Code::DECODE, error.to_string()),
            _ => Self::new(Code::INTERNAL, error.to_string()),
        }
    }
}

/// Holds the pod's interface against the request's `prevResult`. `has_link`: the function is not under a userspace driver,
/// which leaves nothing to look at.
pub fn check(request: &Request, has_link: bool) -> Result<(), CheckError> {
    let path = request.netns.clone().unwrap_or_default();
    let netns = Netns::open(&path)?;
    let leased = match &request.conf.ipam {
        Some(ipam) => cni::ipam::check(request, ipam),
        None => Ok(()),
    };
    let promised =
        request.conf.raw.get("prevResult").filter(|result| !result.is_null()).ok_or(CheckError::NoResult)?;
    let promised = Outcome::parse(promised.to_string().as_bytes(), request.conf.version)?;
    if !has_link {
        return Ok(leased?);
    }
    let sandbox = path.to_string_lossy();
    let (position, interface) = ours(&promised, &request.ifname, &sandbox)?;
    let mut netlink = netns.netlink()??;
    let mut deviations = Vec::new();
    match find(&mut netlink, &request.ifname)? {
        None => {
            deviations.push(format!("Container Interface name in prevResult: {} not found", interface.name));
        }
        Some(link) => {
            deviations.extend(mac(&link, &interface.mac));
            deviations.extend(state(&link, &interface.pci_id));
            deviations.extend(addresses(&mut netlink, &link, &promised, position)?);
            deviations.extend(routes(&mut netlink, &link, &promised)?);
        }
    }
    if deviations.is_empty() {
        return Ok(leased?);
    }
    deviations.extend(leased.err().map(|error| error.to_string()));
    Err(CheckError::Differs { deviations })
}

/// The pod's interface in the result, and where it stands there.
fn ours<'a>(promised: &'a Outcome, name: &str, sandbox: &str) -> Result<(usize, &'a Interface), CheckError> {
    let named = promised.interfaces.iter().enumerate().filter(|(_, interface)| interface.name == name);
    let (mut here, elsewhere): (Vec<_>, Vec<_>) =
        named.partition(|(_, interface)| interface.sandbox == sandbox);
    let (name, wanted) = (name.to_owned(), sandbox.to_owned());
    match (here.pop(), elsewhere.first()) {
        (Some(ours), _) => Ok(ours),
        (None, Some((_, on_host))) if on_host.sandbox.is_empty() => Err(CheckError::OnHost { name, wanted }),
        (None, Some((_, other))) => Err(CheckError::OtherSandbox { found: other.sandbox.clone(), wanted }),
        (None, None) => Err(CheckError::NoInterface { name }),
    }
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Option<Link>, CheckError> {
    Ok(netlink.links()?.into_iter().find(|link| link.name == name))
}

fn mac(link: &Link, promised: &str) -> Option<String> {
    let found = link.mac.as_ref().map(ToString::to_string).unwrap_or_default();
    let differs = !promised.is_empty() && found != promised.to_ascii_lowercase();
    differs.then(|| format!("Interface {} Mac {promised} doesn't match container Mac: {found}", link.name))
}

/// The MTU is no promise: a plugin that comes later in the chain may set it and leave the result as it is.
fn state(link: &Link, device: &str) -> Vec<String> {
    let other = link.parent.as_deref().filter(|parent| !device.is_empty() && *parent != device);
    let other = other.map(|parent| format!("Interface {} is of {parent}, not of {device}", link.name));
    let down = (!link.up).then(|| format!("Interface {} is down", link.name));
    other.into_iter().chain(down).collect()
}

fn addresses(
    netlink: &mut Netlink,
    link: &Link,
    promised: &Outcome,
    position: usize,
) -> Result<Vec<String>, CheckError> {
    let present = netlink.addresses(link.index)?;
    let ours = promised.ips.iter().filter(|ip| ip.interface.is_none_or(|interface| interface == position));
    let missing = ours.filter(|ip| !present.iter().any(|address| address.net == ip.address));
    Ok(missing.map(|ip| format!("Failed to match addr {} on interface {}", ip.address, link.name)).collect())
}

fn routes(netlink: &mut Netlink, link: &Link, promised: &Outcome) -> Result<Vec<String>, CheckError> {
    let present = netlink.routes_by(link.index)?;
    let missing = promised.routes.iter().filter(|route| {
        !present.iter().any(|found| {
            found.destination.trunc() == route.dst.trunc()
                && route.gw.is_none_or(|gw| found.gateway == Some(gw))
        })
    });
    let told = |route: &cni::Route| format!("Expected Route {} not found in routing table", route.dst);
    Ok(missing.map(told).collect())
}
