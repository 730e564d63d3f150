//! A pool that was empty at start comes with its first device: our part, which ends with its socket, told from the kubelet's,
//! which finds that socket, dials it twice and asks four things before it hears a list.
//! It must not be taken for the time of a change in a pool that the kubelet has already.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::anyhow;
use anyhow::ensure;
use serde_json::Value;

use super::HARDWARE;
use super::KERNEL;
use super::PORT;
use super::healthy;
use super::timing::PROMISE;
use super::timing::median;
use crate::cluster::Cluster;
use crate::host;
use crate::host::Pf;
use crate::host::ip;

/// How often; each time with a daemon of its own, since a pool that was there once keeps its socket.
const TIMES: usize = 3;
/// The socket of [`KERNEL`].
const SOCKET: &str = "/var/lib/kubelet/plugins_registry/intel.com_kernel.sock";
const VFS: usize = 4;

/// From when the VFs are there until the pool's socket is, and from then on until the kubelet has its list.
struct Run {
    served: Duration,
    heard: Duration,
}

pub(super) fn run(config: &Value, pf: &Pf) -> Result<String> {
    let mut runs = Vec::new();
    for _ in 0..TIMES {
        let mut cluster = Cluster::start(config, Vec::new())?;
        cluster.until("the PF without VFs", |state| state.has(PORT, 1))?;
        runs.push(once(&cluster, pf)?);
        cluster.stop()?;
        pf.remove_vfs()?;
    }
    let served: Vec<Duration> = runs.iter().map(|run| run.served).collect();
    let text = |run: &Run| format!("{} then {}", run.served.as_millis(), run.heard.as_millis());
    let said = runs.iter().map(text).collect::<Vec<_>>().join(", ");
    let middle = median(&served);
    ensure!(middle <= PROMISE, "until its socket the median is {middle:?}, the promise {PROMISE:?}; {said}");
    Ok(format!("ms until its socket, then until the kubelet has its list: {said}"))
}

fn once(cluster: &Cluster, pf: &Pf) -> Result<Run> {
    ip(&["link", "set", &pf.name()?, "up"])?;
    ensure!(!Path::new(SOCKET).exists(), "{SOCKET} is there before any VF");
    std::thread::scope(|scope| {
        let socket = || Ok(Path::new(SOCKET).exists().then(Instant::now));
        let served = scope.spawn(move || host::until("socket of the pool", HARDWARE, socket));
        let listed = |state: &_| healthy(state, KERNEL) == VFS;
        let heard = scope.spawn(move || {
            cluster.kubelet.until("list of the pool", HARDWARE, listed).map(|_| Instant::now())
        });
        let made = pf.set_attribute("sriov_numvfs", &VFS.to_string());
        let shown = Instant::now();
        let joined = |joined: std::thread::Result<Result<Instant>>| {
            joined.map_err(|_| anyhow!("a thread that waited for the pool panicked"))?
        };
        let (served, heard) = (joined(served.join()), joined(heard.join()));
        made.context("making VFs")?;
        let (served, heard) = (served?, heard?);
        Ok(Run {
            served: served.saturating_duration_since(shown),
            heard: heard.saturating_duration_since(served.max(shown)),
        })
    })
}
