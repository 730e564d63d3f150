//! The smallest node of a cluster: `sriovdp`, the kubelet stand-in, Multus' part, and containers that containerd runs.
//! No API server and no scheduler: whoever uses this is both.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::Value;
use testkit::kubelet::Allocation;
use testkit::kubelet::Kubelet;
use testkit::kubelet::State;
use testkit::multus;
use testkit::multus::Attachment;
use testkit::multus::Multus;
use testkit::multus::Nad;
use testkit::multus::Paths;
use testkit::multus::network_status;
use testkit::pod::Pod;

use crate::cni::CNI_PATH;
use crate::cni::program;
use crate::containerd::Container;
use crate::host;
use crate::host::Background;
use crate::host::Netns;

const CONFIG: &str = "/etc/pcidp/config.json";

/// A daemon that ends in its own time gets this much of it.
const LIMIT: Duration = Duration::from_mins(1);

/// One node.
pub(crate) struct Cluster {
    pub(crate) kubelet: Kubelet,
    multus: Multus,
    sriovdp: Background,
}

impl Cluster {
    /// Writes the configuration where the ConfigMap would be mounted, and starts the kubelet and `sriovdp`.
    pub(crate) fn start(config: &Value, networks: Vec<Nad>) -> Result<Self> {
        write_config(config)?;
        let kubelet = Kubelet::start("/var/lib/kubelet")?;
        let sriovdp = Background::spawn("sriovdp", &mut Command::new(program("sriovdp")))?;
        let dirs = [Path::new("/share"), Path::new(CNI_PATH)];
        let multus = Multus::new(Paths::below(Path::new("/"), &dirs));
        Ok(Self { kubelet, multus: networks.into_iter().fold(multus, Multus::nad), sriovdp })
    }

    /// Waits until the kubelet knows what `wanted` looks for.
    pub(crate) fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&State) -> bool + Send + Sync,
    ) -> Result<State> {
        self.kubelet
            .until(what, LIMIT, wanted)
            .with_context(|| format!("sriovdp said: {}", self.sriovdp.text()))
    }

    /// Waits until `sriovdp` has said so.
    pub(crate) fn says(&mut self, words: &str) -> Result<()> {
        self.sriovdp.wait_for(words, LIMIT, |text| text.contains(words).then_some(()))
    }

    /// Gives a pod its sandbox, devices and networks, in the order of a real node.
    pub(crate) fn run(&self, pod: Pod) -> Result<Running> {
        let netns = Netns::create(&pod.name)?;
        let allocations = self.kubelet.admit(&pod)?;
        let sandbox = multus::Sandbox::new(&pod.uid, netns.path());
        let attachments = match self.multus.add(&pod, &sandbox) {
            Ok(attachments) => attachments,
            Err(error) => {
                self.kubelet.delete(&pod);
                return Err(error.context(format!("pod {}", pod.name)));
            }
        };
        Ok(Running { pod, netns, sandbox, allocations, attachments })
    }

    /// Takes the pod's networks away, then its devices.
    pub(crate) fn delete(&self, running: &Running) -> Result<()> {
        self.multus.del(&running.pod, &running.sandbox)?;
        ensure!(self.kubelet.delete(&running.pod), "the kubelet does not know pod {}", running.pod.name);
        Ok(())
    }

    /// Ends `sriovdp` as the roll-out of a `DaemonSet` does.
    pub(crate) fn stop(self) -> Result<()> {
        self.sriovdp.signal(Signal::SIGTERM)?;
        let done = self.sriovdp.finish(LIMIT)?;
        ensure!(done.succeeded(), "sriovdp ended with {:?}: {}", done.code, done.stdout);
        Ok(())
    }
}

/// What `sriovdp list` prints for a configuration.
pub(crate) fn list(config: &Value) -> Result<String> {
    write_config(config)?;
    host::output(Command::new(program("sriovdp")).args(["--log-level=error", "list"]))
}

/// Writes the configuration where the `ConfigMap` would be mounted.
pub(crate) fn write_config(config: &Value) -> Result<()> {
    fs::create_dir_all("/etc/pcidp")?;
    fs::write(CONFIG, config.to_string()).with_context(|| format!("cannot write {CONFIG}"))
}

/// A pod with its sandbox.
pub(crate) struct Running {
    pub(crate) pod: Pod,
    pub(crate) netns: Netns,
    sandbox: multus::Sandbox,
    pub(crate) allocations: Vec<Allocation>,
    pub(crate) attachments: Vec<Attachment>,
}

impl Running {
    /// The one device that it got.
    pub(crate) fn device(&self) -> Result<&str> {
        let device = self.allocations.first().and_then(|allocation| allocation.devices.first());
        Ok(device.with_context(|| format!("pod {} got no device", self.pod.name))?)
    }

    /// `container` in this pod: its namespace, and the variables and device nodes that the device plugin answered.
    pub(crate) fn dress(&self, container: Container) -> Container {
        let responses = self.allocations.iter().map(|allocation| &allocation.response);
        responses.fold(container.netns(&self.netns.path()), |container, response| {
            let with_env = response.envs.iter().fold(container, |with, (name, value)| with.env(name, value));
            response.devices.iter().fold(with_env, |with, device| with.device(&device.host_path))
        })
    }

    /// The network status that Multus would write to the pod.
    pub(crate) fn status(&self) -> Value {
        network_status(&self.attachments)
    }
}
