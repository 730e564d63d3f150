//! Network namespaces and ip(8), here and in them.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde_json::Value;

use super::command;
use super::watch;

/// igbvf has no carrier until its watchdog ran, 0.3 to 3 s after `up`; more on a loaded host.
const CARRIER: Duration = Duration::from_secs(30);

/// How long the kernel may take to end namespaces.
const CLEANUP: Duration = Duration::from_mins(1);

/// Runs `ip ARGUMENTS` in the node's own namespace.
pub(crate) fn ip(arguments: &[&str]) -> Result<()> {
    command::run(Command::new("ip").args(arguments))
}

/// Runs `ip -json -details ARGUMENTS` in the node's own namespace. A netdev's entry is `[0]` even if it is the only one.
pub(crate) fn ip_json(arguments: &[&str]) -> Result<Value> {
    parse(&command::output(Command::new("ip").args(["-json", "-details"]).args(arguments))?)
}

fn parse(text: &str) -> Result<Value> {
    // Nothing to show is nothing at all instead of `[]`.
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(text).context("ip answered with something that is not JSON")
}

/// Waits until the kernel is done with every namespace that was deleted before. It ends them batch by batch and keeps the network's
/// lock for most of it (`cleanup_net` of Linux 6.12's `net_namespace.c`), long after links are home. One end of a pair goes
/// with the other's namespace before that batch is over, so that a second pair tells of the end of the batch of the first.
pub(crate) fn wait_namespaces_over() -> Result<()> {
    for name in ["over-0", "over-1"] {
        let netns = Netns::create(name)?;
        ip(&["link", "add", name, "type", "veth", "peer", "name", "other", "netns", name])?;
        netns.delete()?;
        let link = Path::new("/sys/class/net").join(name);
        watch::until("the end of the namespaces", CLEANUP, || Ok((!link.exists()).then_some(())))?;
    }
    Ok(())
}

/// A network namespace of our own, deleted when dropped.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// Creates it, with `lo` up.
    pub(crate) fn create(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let netns = Self { name: name.to_owned() };
        netns.ip(&["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a CNI plugin is given as `CNI_NETNS`.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// `ip -netns`, see [`ip`].
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-netns", &self.name], arguments].concat())
    }

    /// `ip -netns -json`, see [`ip_json`].
    pub(crate) fn ip_json(&self, arguments: &[&str]) -> Result<Value> {
        ip_json(&[&["-netns", &self.name], arguments].concat())
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Waits until a netdev in here has a carrier.
    pub(crate) fn wait_carrier(&self, link: &str) -> Result<()> {
        watch::until(&format!("carrier of {link} in {}", self.name), CARRIER, || {
            let state = self.ip_json(&["link", "show", "dev", link])?;
            Ok((state[0]["operstate"] == "UP").then_some(()))
        })
    }

    /// Whether one of three pings is answered. Three: the first may be spent on ARP.
    pub(crate) fn pings(&self, address: &str) -> Result<bool> {
        let mut command = self.command("ping");
        Ok(command::attempt(command.args(["-c", "3", "-i", "0.3", "-W", "2", address]))?.succeeded())
    }

    /// Deletes it. The kernel gives its physical netdevs back to the node's own namespace, some time later.
    pub(crate) fn delete(self) -> Result<()> {
        let name = self.name.clone();
        std::mem::forget(self);
        ip(&["netns", "delete", &name])
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("{error:#}");
        }
    }
}
