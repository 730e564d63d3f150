//! What Multus does between a pod and our CNI plugins: annotations and devices in, plugin calls and network status out.
//! It is not Multus and must not become it.
//!
//! What it does as Multus does (4.2 to 4.3): the networks annotation in both forms, the pod's devices from `PodResources`
//! `List` by name and namespace, one per network of a resource in annotation order, `deviceID` and `pciBusID` in every
//! plugin, `runtimeConfig` for declared capabilities, `CNI_ARGS`, the device-info file from `dp` to `cni`, networks one
//! after another, DEL backwards after a failure and at the end, the delegates and results on disk between the two.
//!
//! What it is not: there is no API server, so objects are handed over and the status is handed back. There is no default
//! network: the first network is `net1`, and whoever calls this makes `eth0` or none. Left out: default routes, the check
//! that an interface name is free, namespace isolation, the checkpoint file and DRA as sources of devices, CHECK, GC and
//! STATUS (which do not reach secondary networks in Multus either), the shim, its waits and its swallowed errors.
//!
//! A node with one pod, as a test or a program on the emulated node runs it:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::path::Path;
//! use std::time::Duration;
//! use testkit::{kubelet::Kubelet, multus::{Multus, Nad, Paths, Sandbox, network_status}, pod::Pod};
//!
//! let kubelet = Kubelet::start("/var/lib/kubelet")?;
//! // … sriovdp is started …
//! kubelet.until("the VFs", Duration::from_secs(10), |state| state.has("intel.com/vf", 4))?;
//!
//! let conf = serde_json::json!({"cniVersion": "1.0.0", "type": "sriov", "vlan": 100});
//! let multus = Multus::new(Paths::below(Path::new("/"), &[Path::new("/opt/cni/bin")]))
//!     .nad(Nad::new("default", "vlan-100", conf).resource("intel.com/vf"));
//! let pod = Pod::new("default", "left").container("app", &[("intel.com/vf", 1)]).networks("vlan-100");
//!
//! let given = kubelet.admit(&pod)?; // given[0].response: variables and device nodes
//! let sandbox = Sandbox::new(&pod.uid, "/run/netns/left");
//! let attachments = multus.add(&pod, &sandbox)?;
//! println!("{} {}", given[0].devices[0], network_status(&attachments));
//!
//! multus.del(&pod, &sandbox)?;
//! kubelet.delete(&pod);
//! # Ok(())
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its tools fail"
)]

mod chain;
mod delegate;
mod devices;
mod networks;
mod status;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use chain::Chain;
use delegate::Delegate;
use devices::Deck;
pub use networks::{Nad, RESOURCE_NAME};

use crate::kubelet;
use crate::pod::{NETWORKS, Pod};

/// Where things are on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The directories with plugins: `CNI_PATH`.
    pub bin_dirs: Vec<PathBuf>,
    /// The kubelet's `PodResources` socket.
    pub pod_resources: PathBuf,
    /// The directory of device-info files, with `dp` and `cni` in it.
    pub devinfo: PathBuf,
    /// Multus' own state: the delegates of each sandbox, and `results`.
    pub cni_dir: PathBuf,
}

impl Paths {
    /// The usual places below `root`, which is `/` on a node.
    pub fn below(root: &Path, bin_dirs: &[&Path]) -> Self {
        Self {
            bin_dirs: bin_dirs.iter().map(|dir| dir.to_path_buf()).collect(),
            pod_resources: root.join("var/lib/kubelet/pod-resources/kubelet.sock"),
            devinfo: root.join("var/run/k8s.cni.cncf.io/devinfo"),
            cni_dir: root.join("var/lib/cni/multus"),
        }
    }
}

/// A pod's sandbox, as the container runtime made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The sandbox' id: `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; `None` for a DEL after the namespace went away.
    pub netns: Option<String>,
}

impl Sandbox {
    /// A sandbox whose network namespace is at `netns`.
    pub fn new(container_id: &str, netns: impl AsRef<Path>) -> Self {
        let netns = netns.as_ref().to_string_lossy().into_owned();
        Self { container_id: container_id.to_owned(), netns: Some(netns) }
    }
}

/// One network that a pod has.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// `<namespace>/<name>` of the network.
    pub network: String,
    /// The interface's name in the pod.
    pub ifname: String,
    /// The device that came from the network's resource.
    pub device: Option<String>,
    /// The last plugin's result.
    pub result: Value,
    /// This network's entries of the network status.
    pub status: Vec<Value>,
}

/// The value of the `k8s.v1.cni.cncf.io/network-status` annotation.
pub fn network_status(attachments: &[Attachment]) -> Value {
    attachments.iter().flat_map(|attachment| attachment.status.clone()).collect()
}

/// The stand-in for Multus on one node.
#[derive(Debug, Clone)]
pub struct Multus {
    paths: Paths,
    nads: networks::Nads,
    sorted: bool,
}

impl Multus {
    /// A Multus that knows no network yet.
    pub fn new(paths: Paths) -> Self {
        Self { paths, nads: networks::Nads::new(), sorted: false }
    }

    /// Adds a network, in place of one of the same name.
    #[must_use]
    pub fn nad(mut self, nad: Nad) -> Self {
        self.nads.insert((nad.namespace.clone(), nad.name.clone()), nad);
        self
    }

    /// Deals devices out in the order of their ids, as version 4.3.0 alone does, instead of the kubelet's order.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.sorted = true;
        self
    }

    /// Attaches all networks of a pod's annotation, one after another.
    ///
    /// # Errors
    /// The first failure; all that was attached, and the failed one too, was given DEL by then.
    pub fn add(&self, pod: &Pod, sandbox: &Sandbox) -> Result<Vec<Attachment>> {
        let delegates = self.delegates(pod, sandbox)?;
        let kept = self.paths.cni_dir.join(&sandbox.container_id);
        std::fs::create_dir_all(&self.paths.cni_dir)?;
        std::fs::write(&kept, serde_json::to_vec(&delegates)?)
            .with_context(|| format!("write {}", kept.display()))?;
        let mut attachments = Vec::new();
        for (index, delegate) in delegates.iter().enumerate() {
            match self.attach(pod, sandbox, delegate) {
                Ok(attachment) => attachments.push(attachment),
                Err(error) => {
                    for delegate in delegates[..=index].iter().rev() {
                        // Multus drops these errors as well, and leaves its file for the runtime's own DEL.
                        let _ = self.detach(pod, sandbox, delegate);
                    }
                    return Err(error);
                }
            }
        }
        Ok(attachments)
    }

    /// Detaches what the ADD of this sandbox had attached or tried to. All are tried, the last one first.
    ///
    /// # Errors
    /// All failures, one line each.
    pub fn del(&self, pod: &Pod, sandbox: &Sandbox) -> Result<()> {
        let kept = self.paths.cni_dir.join(&sandbox.container_id);
        // Without its file, and with the pod gone, Multus calls nobody and says that all is well.
        let Ok(text) = std::fs::read(&kept) else { return Ok(()) };
        let delegates: Vec<Delegate> = serde_json::from_slice(&text)?;
        let failed = delegates.iter().rev().filter_map(|delegate| self.detach(pod, sandbox, delegate).err());
        let failures: Vec<String> = failed.map(|error| format!("{error:#}")).collect();
        std::fs::remove_file(&kept).with_context(|| format!("remove {}", kept.display()))?;
        if failures.is_empty() { Ok(()) } else { Err(anyhow!(failures.join("\n"))) }
    }

    /// The pod's networks with their devices.
    fn delegates(&self, pod: &Pod, sandbox: &Sandbox) -> Result<Vec<Delegate>> {
        let annotation = pod.annotations.get(NETWORKS).map_or("", String::as_str);
        let mut deck: Option<Deck> = None;
        let mut delegates = Vec::new();
        for (index, wish) in networks::parse(annotation, &pod.namespace)?.into_iter().enumerate() {
            let nad = self.nads.get(&(wish.namespace.clone(), wish.name.clone()));
            let nad =
                nad.with_context(|| format!("cannot find a network {}/{}", wish.namespace, wish.name))?;
            let device = match &nad.resource {
                None => None,
                Some(resource) => {
                    if deck.is_none() {
                        let listed = kubelet::list(&self.paths.pod_resources)?;
                        deck = Some(Deck::of(pod, &listed, self.sorted));
                    }
                    deck.as_mut().and_then(|deck| deck.deal(resource))
                }
            };
            let mut delegate = Delegate::new(nad, &wish, device, format!("net{}", index + 1))?;
            if delegate.offered.contains_key("deviceID") {
                let file = self.info_file(&delegate, sandbox);
                delegate.offered.insert("CNIDeviceInfoFile".to_owned(), json!(file));
            }
            delegates.push(delegate);
        }
        Ok(delegates)
    }

    fn attach(&self, pod: &Pod, sandbox: &Sandbox, delegate: &Delegate) -> Result<Attachment> {
        let attach = || {
            let file = self.info_file(delegate, sandbox);
            self.copy_info(delegate, &file)?;
            let result = Chain { multus: self, pod, sandbox, delegate }.add()?;
            let info: Option<Value> =
                std::fs::read(&file).ok().map(|text| serde_json::from_slice(&text)).transpose()?;
            Ok(Attachment {
                network: delegate.network.clone(),
                ifname: delegate.ifname.clone(),
                device: delegate.device.clone(),
                status: status::entries(&delegate.network, &result, info.as_ref()),
                result,
            })
        };
        attach().map_err(|error: anyhow::Error| {
            error.context(format!("add {} as {}", delegate.network, delegate.ifname))
        })
    }

    fn detach(&self, pod: &Pod, sandbox: &Sandbox, delegate: &Delegate) -> Result<()> {
        let outcome = Chain { multus: self, pod, sandbox, delegate }.del();
        // Also after a failure, and whether or not there was one.
        let _ = std::fs::remove_file(self.info_file(delegate, sandbox));
        outcome.with_context(|| format!("delete {} as {}", delegate.network, delegate.ifname))
    }

    /// The file in which a plugin finds the device's information and may leave its own.
    fn info_file(&self, delegate: &Delegate, sandbox: &Sandbox) -> PathBuf {
        let name = format!("{}-{}_{}", delegate.network, sandbox.container_id, delegate.ifname);
        self.paths.devinfo.join("cni").join(name.replace('/', "-"))
    }

    /// Copies what the device plugin wrote of the device; it need not have written anything.
    fn copy_info(&self, delegate: &Delegate, to: &Path) -> Result<()> {
        if let (Some(resource), Some(device)) = (&delegate.resource, &delegate.device) {
            let name = format!("{resource}-{device}-device.json").replace('/', "-");
            let from = self.paths.devinfo.join("dp").join(name);
            if from.exists() {
                std::fs::create_dir_all(self.paths.devinfo.join("cni"))?;
                let text = std::fs::read(&from).with_context(|| from.display().to_string())?;
                std::fs::write(to, text).with_context(|| to.display().to_string())?;
            }
        }
        Ok(())
    }
}
