//! A stand-in for the kubelet's device manager: it finds device plugins, keeps their lists, allocates to pods, and answers `PodResources`.
//! It is not a kubelet and must not become one.
//!
//! What it does as a kubelet does (v1.26 to v1.36): the plugin watcher on `plugins_registry`, the old `Register` call on
//! `device-plugins/kubelet.sock`, the removal of every socket beside that one at start, one `ListAndWatch` per resource,
//! serial admission of pods, `GetPreferredAllocation`, `Allocate` and `PreStartContainer`, accounting that outlives a restart.
//!
//! What it is not: there is no API server, no scheduling, no container and no cgroup, so nothing runs and the answer to
//! `Allocate` is handed back instead of being applied. There is no Topology Manager: devices of one NUMA node are
//! preferred as its `best-effort` policy would, the lowest node first, whereas a real kubelet without that policy picks at
//! random. A pool whose plugin went away is kept, without healthy devices, for good; a real one drops it after five
//! minutes. Init containers, a checksum in the checkpoint, plugin sockets in subfolders and other plugin types (CSI, DRA) are left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its tools fail"
)]

mod admission;
mod devices;
pub mod direct;
#[cfg(test)]
pub(crate) mod fake;
mod plugins;
mod pod_resources;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub use admission::Allocation;
pub use devices::{Device, Grant, Ledger, Pool, Tells};
pub use pod_resources::{get, list};

use crate::pod::Pod;

/// All that the kubelet knows of its plugins at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The pools, by extended resource.
    pub pools: BTreeMap<String, Pool>,
    /// Plugins that were refused or could not be reached, oldest first: their socket and why.
    pub refusals: Vec<(PathBuf, String)>,
}

impl State {
    /// Whether `resource` is there, connected, and has exactly `healthy` healthy devices.
    pub fn has(&self, resource: &str, healthy: usize) -> bool {
        self.pools.get(resource).is_some_and(|pool| pool.connected && pool.healthy().len() == healthy)
    }
}

/// The file of the device manager's accounts.
const CHECKPOINT: &str = "kubelet_internal_checkpoint";

/// How a kubelet is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kubelet's root: `/var/lib/kubelet` on a node.
    pub root: PathBuf,
    /// Whether there is a `plugins_registry` folder. Without one, plugins have only the `Register` call.
    pub plugins_registry: bool,
}

/// The stand-in. Dropping it is a crash: every connection ends, every socket file stays behind.
#[derive(Debug)]
pub struct Kubelet {
    options: Options,
    state: Arc<watch::Sender<State>>,
    ledger: Arc<Mutex<Ledger>>,
    running: Option<(Runtime, Arc<Node>)>,
}

/// What the tasks of one running kubelet share.
#[derive(Debug)]
struct Node {
    device_plugins: PathBuf,
    state: Arc<watch::Sender<State>>,
    ledger: Arc<Mutex<Ledger>>,
    plugins: plugins::Plugins,
    admission: tokio::sync::Mutex<()>,
}

impl Node {
    /// Writes the accounts down, as a kubelet does after an admission and at each list of a plugin: whole, or not at all.
    fn write_checkpoint(&self) -> Result<()> {
        let path = self.device_plugins.join(CHECKPOINT);
        let ledger = lock(&self.ledger);
        if ledger.tells == Tells::Nothing {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        let new = self.device_plugins.with_extension("checkpoint");
        std::fs::write(&new, ledger.checkpoint().to_string())?;
        std::fs::rename(&new, &path).with_context(|| path.display().to_string())
    }
}

impl Kubelet {
    /// Starts a kubelet on `root`, with a `plugins_registry`.
    pub fn start(root: impl Into<PathBuf>) -> Result<Self> {
        Self::with(Options { root: root.into(), plugins_registry: true })
    }

    /// Starts a kubelet.
    pub fn with(options: Options) -> Result<Self> {
        let mut kubelet = Self {
            options,
            state: Arc::new(watch::Sender::new(State::default())),
            ledger: Arc::default(),
            running: None,
        };
        kubelet.resume()?;
        Ok(kubelet)
    }

    /// Ends the kubelet as a kill would: no plugin is told, and its own sockets stay behind, with nobody listening.
    pub fn stop(&mut self) {
        if let Some((runtime, _)) = self.running.take() {
            // On another thread, because a runtime may not wait inside a runtime, and callers may be in one.
            let end = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
            drop(end.join());
        }
        self.state.send_replace(State::default());
    }

    /// Starts a stopped kubelet again. It still knows which pod holds which device, and knows no plugin.
    pub fn resume(&mut self) -> Result<()> {
        anyhow::ensure!(self.running.is_none(), "the kubelet runs already");
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("kubelet").enable_all().build()?;
        let device_plugins = self.options.root.join("device-plugins");
        let pod_resources = self.options.root.join("pod-resources");
        clear(&device_plugins)?;
        clear(&pod_resources)?;
        let node = Arc::new(Node {
            device_plugins: device_plugins.clone(),
            state: Arc::clone(&self.state),
            ledger: Arc::clone(&self.ledger),
            plugins: plugins::Plugins::default(),
            admission: tokio::sync::Mutex::default(),
        });
        {
            let _in_runtime = runtime.enter();
            pod_resources::serve(&node, &pod_resources.join("kubelet.sock"))?;
            if self.options.plugins_registry {
                let registry = self.options.root.join("plugins_registry");
                std::fs::create_dir_all(&registry).with_context(|| registry.display().to_string())?;
                plugins::watch_registry(&node, registry)?;
            }
            // Last: this is the file whose appearance tells plugins that the kubelet is back.
            plugins::serve_register(&node, &device_plugins.join("kubelet.sock"))?;
        }
        self.running = Some((runtime, node));
        Ok(())
    }

    /// `stop` and `resume`.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.resume()
    }

    /// The kubelet's root.
    pub fn root(&self) -> &Path {
        &self.options.root
    }

    /// What the kubelet knows now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Every change of the state, over restarts too: for tests that are asynchronous themselves.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until `condition` holds, and returns the state in which it did. The error says `what` was waited for.
    pub fn until(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&State) -> bool + Send,
    ) -> Result<State> {
        let mut states = self.watch();
        let found = block(async {
            let found = tokio::time::timeout(limit, states.wait_for(|state| condition(state))).await;
            // The channel is never closed: `self` holds its sender.
            found.ok()?.ok().map(|state| state.clone())
        });
        found.with_context(|| format!("waited {limit:?} for {what}; the kubelet has {:#?}", self.state()))
    }

    /// Gives a pod's containers the devices that they ask for. All or nothing; one pod at a time, as in a kubelet.
    ///
    /// # Errors
    /// What a kubelet would write on the pod as `UnexpectedAdmissionError`.
    pub fn admit(&self, pod: &Pod) -> Result<Vec<Allocation>> {
        let (_, node) = self.running.as_ref().context("the kubelet is stopped")?;
        block(node.admit(pod))
    }

    /// Frees what a pod holds. Whether the pod was there.
    pub fn delete(&self, pod: &Pod) -> bool {
        lock(&self.ledger).free(pod)
    }

    /// What the kubelet tells of who holds what, from now on and over restarts.
    pub fn tells(&self, tells: Tells) -> Result<()> {
        lock(&self.ledger).tells = tells;
        self.running.as_ref().map_or(Ok(()), |(_, node)| node.write_checkpoint())
    }

    /// Who holds what.
    pub fn ledger(&self) -> Ledger {
        lock(&self.ledger).clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes `dir` and removes the sockets in it, as a kubelet does with `device-plugins` when it starts.
fn clear(dir: &Path) -> Result<()> {
    let clear = || -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() && entry.file_name() != CHECKPOINT {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    clear().with_context(|| format!("clear {}", dir.display()))
}

/// Drives `future` on a thread of its own, so that synchronous code and code inside any runtime may call alike.
fn block<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(future)
        });
        driver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A lock whose holder cannot have left half a change behind: poison is no news.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
