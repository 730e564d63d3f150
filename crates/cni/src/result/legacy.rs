//! Results before 1.0.0: 0.1.0 and 0.2.0 with one address per family, 0.3.0 to 0.4.0 with a family in each address.
//! It must not be needed for anything newer.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Dns, IpConfig, Outcome, ResultError, Route, null_is_default, pretty};
use crate::version::Version;

#[derive(Serialize)]
struct Third<'a> {
    #[serde(rename = "cniVersion")]
    version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<ThirdInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<ThirdIp>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
    dns: &'a Dns,
}

#[derive(Serialize)]
struct ThirdInterface<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

#[derive(Serialize)]
struct ThirdIp {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

pub(super) fn third(outcome: &Outcome, version: Version) -> String {
    let interfaces = outcome.interfaces.iter();
    let ips = outcome.ips.iter();
    pretty(&Third {
        version: version.as_str(),
        interfaces: interfaces
            .map(|interface| ThirdInterface {
                name: &interface.name,
                mac: &interface.mac,
                sandbox: &interface.sandbox,
            })
            .collect(),
        ips: ips
            .map(|ip| ThirdIp {
                version: if ip.address.addr().is_ipv4() { "4" } else { "6" },
                interface: ip.interface,
                address: ip.address,
                gateway: ip.gateway,
            })
            .collect(),
        routes: &outcome.routes,
        dns: &outcome.dns,
    })
}

#[derive(Deserialize, Serialize)]
struct First {
    #[serde(rename = "cniVersion", default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<FirstIp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<FirstIp>,
    #[serde(default, deserialize_with = "null_is_default")]
    dns: Dns,
}

#[derive(Deserialize, Serialize)]
struct FirstIp {
    ip: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    routes: Vec<Route>,
}

pub(super) fn first(outcome: &Outcome, version: Version) -> Result<String, ResultError> {
    if outcome.ips.is_empty() && !outcome.addressless {
        return Err(ResultError::NoAddresses);
    }
    let family = |v4: bool| {
        let ip = outcome.ips.iter().find(|ip| ip.address.addr().is_ipv4() == v4)?;
        let routes =
            outcome.routes.iter().filter(|route| route.dst.addr().is_ipv4() == v4).cloned().collect();
        Some(FirstIp { ip: ip.address, gateway: ip.gateway, routes })
    };
    let version = Some(version.as_str().to_owned());
    Ok(pretty(&First { version, ip4: family(true), ip6: family(false), dns: outcome.dns.clone() }))
}

pub(super) fn parse(value: Value) -> Result<Outcome, serde_json::Error> {
    let first: First = serde_json::from_value(value)?;
    let mut outcome = Outcome { dns: first.dns, ..Outcome::default() };
    for ip in [first.ip4, first.ip6].into_iter().flatten() {
        outcome.ips.push(IpConfig { address: ip.ip, gateway: ip.gateway, interface: None });
        outcome.routes.extend(ip.routes);
    }
    Ok(outcome)
}
