//! Attachments made by the plugins under test, and a function's state as the kernel tells it before and after.
//! Nothing here asks the plugins what they did.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::runtime::Invocation;
use testkit::runtime::Output;

use crate::host;
use crate::host::Function;
use crate::host::Netns;
use crate::host::Pf;
use crate::host::ip_json;

/// Where the IPAM plugins of Debian's containernetworking-plugins are.
pub(crate) const CNI_PATH: &str = "/usr/lib/cni";

/// How long a NIC's carrier and its link-local address may take.
const CARRIER: Duration = Duration::from_secs(30);

/// A program of the share.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new("/share").join(name)
}

/// A pod as far as a CNI plugin knows one: a sandbox and a container id.
pub(crate) struct Sandbox {
    pub(crate) netns: Netns,
    pub(crate) id: String,
}

impl Sandbox {
    /// A sandbox whose namespace and container are both called `name`.
    pub(crate) fn create(name: &str) -> Result<Self> {
        Ok(Self { netns: Netns::create(name)?, id: name.to_owned() })
    }

    /// A call for `net1` of this sandbox.
    pub(crate) fn call(&self, command: &str, conf: &Value) -> Invocation {
        call(command, &self.id, &self.netns.path(), conf)
    }

    /// Runs the plugin that `conf` names.
    pub(crate) fn run(&self, command: &str, conf: &Value) -> Output {
        self.call(command, conf).run(program(conf["type"].as_str().unwrap_or_default()))
    }

    /// ADD, which must succeed.
    pub(crate) fn add(&self, conf: &Value) -> Result<Value> {
        accepted(&self.run("ADD", conf))
    }

    /// DEL, which must succeed.
    pub(crate) fn del(&self, conf: &Value) -> Result<()> {
        accepted(&self.run("DEL", conf)).map(drop)
    }
}

/// A call for `net1` of any sandbox, one that is gone included.
pub(crate) fn call(command: &str, id: &str, netns: &Path, conf: &Value) -> Invocation {
    Invocation::attachment(command, id, &netns.to_string_lossy(), "net1").path(CNI_PATH).conf(conf)
}

/// The result of a call that must succeed.
pub(crate) fn accepted(output: &Output) -> Result<Value> {
    ensure!(output.ok(), "the plugin failed: {} {}", output.stdout.trim(), output.stderr.trim());
    Ok(output.json.clone().unwrap_or_default())
}

/// The message of a call that must fail.
pub(crate) fn refused(output: &Output) -> Result<String> {
    ensure!(!output.ok(), "the plugin succeeded: {}", output.stdout.trim());
    let error = output.json.as_ref().context("no JSON on stdout")?;
    Ok(error["msg"].as_str().context("no msg in the error")?.to_owned())
}

/// A configuration of `sriov` for a VF, with more keys.
pub(crate) fn sriov(vf: &Function, keys: Value) -> Value {
    // Debian's IPAM plugins are of the generation before 1.1.0.
    let version = if keys.get("ipam").is_some() { "1.0.0" } else { "1.1.0" };
    let conf = json!({"cniVersion": version, "name": "sriov-net", "type": "sriov", "deviceID": vf.address()});
    merged(conf, keys)
}

/// `conf` with the keys of `more`.
pub(crate) fn merged(mut conf: Value, more: Value) -> Value {
    if let (Value::Object(conf), Value::Object(more)) = (&mut conf, more) {
        conf.extend(more);
    }
    conf
}

/// IPAM by Debian's `static`.
pub(crate) fn address(address: &str) -> Value {
    json!({"type": "static", "addresses": [{"address": address}]})
}

/// Everything about a function that an attachment can change: its driver, its link, and what its PF holds for it.
pub(crate) fn state(function: &Function, of: Option<(&Pf, usize)>) -> Result<Value> {
    let link = match function.netdev()? {
        Some(name) => link_state(&name)?,
        None => Value::Null,
    };
    let held = of.map(|(pf, index)| pf.vf_state(index)).transpose()?;
    Ok(json!({"driver": function.driver(), "link": link, "held by the PF": held}))
}

/// What of a link must be the same before and after.
fn link_state(name: &str) -> Result<Value> {
    let all = ip_json(&["link", "show", "dev", name])?;
    let link = &all[0];
    let flag = |name: &str| link["flags"].as_array().is_some_and(|flags| flags.contains(&json!(name)));
    Ok(json!({
        "name": link["ifname"], "address": link["address"], "mtu": link["mtu"], "alias": link["ifalias"],
        "altnames": link["altnames"], "up": flag("UP"), "allmulti": flag("ALLMULTI"),
    }))
}

/// All that `ip -d -j` tells of a link, its addresses and its routes in every table, without what is no state that a DEL could
/// give back.
pub(crate) fn told(name: &str) -> Result<Value> {
    let mut all = json!({
        "link": ip_json(&["link", "show", "dev", name])?[0],
        "addresses": ip_json(&["address", "show", "dev", name])?[0]["addr_info"],
        "routes": ip_json(&["route", "show", "table", "all", "dev", name])?,
        "routes6": ip_json(&["-6", "route", "show", "table", "all", "dev", name])?,
        // Those of several gateways are not shown by their link.
        "ways": [ip_json(&["route", "show", "192.0.2.0/25"])?, ip_json(&["-6", "route", "show", "2001:db8:c::/48"])?],
    });
    passing(&mut all);
    for list in ["addresses", "routes", "routes6"] {
        // The kernel's own come when the carrier does, before or after ours.
        all[list].as_array_mut().into_iter().for_each(|list| list.sort_by_key(ToString::to_string));
    }
    Ok(all)
}

/// Waits until the same is told again: a carrier takes its time, and the kernel's own address comes with it.
pub(crate) fn told_again(name: &str, before: &Value) -> Result<()> {
    let waited = host::until("link as it was", CARRIER, || Ok((told(name)? == *before).then_some(())));
    waited.or_else(|_| same(before, &told(name)?))
}

/// Takes out what the kernel must change, and what counts or passes.
fn passing(value: &mut Value) {
    const PASSING: [&str; 13] = [
        // Each namespace counts anew; the kernel keeps it where it is free.
        "ifindex",
        "link_index",
        // The address at the driver's last reset (`igbvf_reset`), which no one can set.
        "permaddr",
        // The carrier's.
        "operstate",
        "linkdown",
        "dead",
        // Detection of duplicates is not over yet.
        "tentative",
        // Timers and counters of a port's protocol with its master.
        "hold_timer",
        "message_age_timer",
        "forward_delay_timer",
        "link_failure_count",
        "mii_status",
        "state",
    ];
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !PASSING.contains(&key.as_str()));
            if let Some(Value::Array(flags)) = object.get_mut("flags") {
                flags.retain(|flag| {
                    !matches!(flag.as_str(), Some("LOWER_UP" | "NO-CARRIER" | "linkdown" | "dead"))
                });
            }
            object.values_mut().for_each(passing);
        }
        Value::Array(items) => items.iter_mut().for_each(passing),
        _ => {}
    }
}

/// Fails where two states differ, naming both.
pub(crate) fn same(before: &Value, after: &Value) -> Result<()> {
    ensure!(before == after, "was {before}, is {after}");
    Ok(())
}
