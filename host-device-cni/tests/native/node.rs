//! A node with one veth to give away, and a pod.
#![allow(clippy::unwrap_used, reason = "a test ends where its tools fail")]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::netns::Namespace;
use testkit::runtime::{Invocation, Output};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_host-device");

/// A node in a namespace of its own, so that no test touches the machine's.
pub(crate) struct Node {
    pub(crate) host: Namespace,
    pub(crate) pod: Namespace,
    pub(crate) state: tempfile::TempDir,
}

impl Node {
    /// A node with `nic0`, up, with an MTU, an alternative name and an alias of its own; its peer is `peer0`.
    pub(crate) fn new() -> Self {
        let host = Namespace::new("host");
        host.ip(&["link", "add", "nic0", "type", "veth", "peer", "name", "peer0"]);
        host.ip(&["link", "set", "nic0", "address", "02:00:00:00:00:10", "mtu", "1400", "alias", "rack 7"]);
        host.ip(&["link", "property", "add", "dev", "nic0", "altname", "nic0-by-slot"]);
        host.ip(&["link", "set", "nic0", "up"]);
        host.ip(&["link", "set", "peer0", "up"]);
        Self { host, pod: Namespace::new("pod"), state: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn call(&self, command: &str, conf: &Value) -> Output {
        self.invocation(command, conf).run_in(&self.host, Path::new(BINARY))
    }

    pub(crate) fn invocation(&self, command: &str, conf: &Value) -> Invocation {
        let netns = self.pod.path();
        Invocation::attachment(command, "c1", &netns.to_string_lossy(), "net1")
            .path(ipam_dir())
            .env("SLUICE_STATE_DIR", self.state.path().to_string_lossy())
            .conf(conf)
    }

    /// All that `ip` says of the link on the host, without what each namespace gives anew and what its carrier, which comes
    /// later, changes; of the flags whether it is up.
    pub(crate) fn nic(&self) -> Value {
        let mut link = self.host.link("nic0").unwrap_or(Value::Null);
        for volatile in ["ifindex", "link_index", "operstate"] {
            link.as_object_mut().map(|link| link.remove(volatile));
        }
        if let Some(flags) = link.get_mut("flags") {
            *flags = is_up(flags).into();
        }
        link
    }

    /// The state files that are left, locks apart.
    pub(crate) fn records(&self) -> Vec<String> {
        let mut left = Vec::new();
        let mut dirs = vec![self.state.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if is_left(&path) {
                    left.push(path.display().to_string());
                }
            }
        }
        left
    }
}

/// A device's lock stays for the next, and the test's own IPAM plugin notes its configuration.
fn is_left(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".lease.lock") || !(name.ends_with(".lock") || name == "conf" || name == "gate")
}

/// Reads until it is as is wanted: the kernel makes the routes of an IPv6 address in a worker of its own.
pub(crate) fn comes_to(wanted: &Value, read: impl Fn() -> Value, told: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while read() != *wanted && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(read(), *wanted, "{told}");
}

/// Whether a link with these flags is up.
pub(crate) fn is_up(flags: &Value) -> bool {
    flags.as_array().is_some_and(|flags| flags.contains(&json!("UP")))
}

/// A configuration of the veth by its name.
pub(crate) fn conf(extra: &[(&str, Value)]) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "n", "type": "host-device", "device": "nic0"});
    for (key, value) in extra {
        conf[key] = value.clone();
    }
    conf
}

/// An IPAM plugin that leases one address and remembers it in a file, so that a leak can be seen.
pub(crate) fn ipam_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/native/ipam"))
}
