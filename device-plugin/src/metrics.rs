//! What the daemon tells Prometheus of itself, and whether it is ready: counted where it happens, read by `web`.
//! It must not decide anything, nor fail: whoever counts has something better to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::config::Resource;
use crate::pool::Pool;

mod status;

use status::Status;
pub use status::{Epoch, Readiness, Registration};

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    status: Mutex<Status>,
    devices: Family<DeviceLabels, Gauge>,
    allocations: Family<AllocationLabels, Counter>,
    allocation_took: Family<ResourceLabel, Histogram>,
    scan_took: Histogram,
    generation: Gauge,
    reload_ok: Gauge,
    registered: Family<ResourceLabel, Gauge>,
    registrations: Family<RegistrationLabels, Counter>,
    reconciled: Family<ActionLabel, Counter>,
    epochs: AtomicU64,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DeviceLabels {
    resource: String,
    state: &'static str,
    numa_node: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResourceLabel {
    resource: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AllocationLabels {
    resource: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RegistrationLabels {
    resource: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ActionLabel {
    action: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet, and not ready.
    pub fn new() -> Self {
        // 100 microseconds to 1.6 seconds: an allocation takes half a millisecond, a scan of a thousand VFs fifty.
        let seconds = || Histogram::new(exponential_buckets(1e-4, 4.0, 8));
        let mut inner = Inner {
            registry: Registry::default(),
            status: Mutex::default(),
            devices: Family::default(),
            allocations: Family::default(),
            allocation_took: Family::new_with_constructor(seconds),
            scan_took: seconds(),
            generation: Gauge::default(),
            reload_ok: Gauge::default(),
            registered: Family::default(),
            registrations: Family::default(),
            reconciled: Family::default(),
            epochs: AtomicU64::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// One look at the whole node.
    pub fn scan_took(&self, took: Duration) {
        self.0.scan_took.observe(took.as_secs_f64());
    }

    /// One `Allocate` call, and whether it was granted.
    pub fn allocation(&self, resource: &Resource, took: Duration, granted: bool) {
        let resource = resource.to_string();
        self.0
            .allocation_took
            .get_or_create(&ResourceLabel { resource: resource.clone() })
            .observe(took.as_secs_f64());
        let outcome = if granted { "granted" } else { "refused" };
        self.0.allocations.get_or_create(&AllocationLabels { resource, outcome }).inc();
    }

    /// The configuration that is served, counted from 1, and what is wrong with the file now, where it is a later one
    /// that cannot be served.
    pub fn configuration(&self, generation: u64, wrong: Option<String>) {
        self.0.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.0.reload_ok.set(i64::from(wrong.is_none()));
        self.status().configuration(generation, wrong);
    }

    /// What tells one front's words from those of the front before it, which may still be ending.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.0.epochs.fetch_add(1, Ordering::Relaxed))
    }

    /// Where a pool stands with the kubelet now, unless a later front has said it. What it was already is not counted again,
    /// and waiting never.
    pub fn registration(&self, resource: &Resource, epoch: Epoch, state: Registration) {
        if !self.status().begin(resource, epoch) {
            return;
        }
        let name = resource.to_string();
        let label = ResourceLabel { resource: name.clone() };
        self.0.registered.get_or_create(&label).set(i64::from(state == Registration::Registered));
        let outcome = state.outcome();
        let changed = self.status().registration(resource, state);
        if let Some(outcome) = outcome.filter(|_| changed) {
            self.0.registrations.get_or_create(&RegistrationLabels { resource: name, outcome }).inc();
        }
    }

    /// The pool is not served any more, unless a later front has it.
    pub fn forget(&self, resource: &Resource, epoch: Epoch) {
        if self.status().forget(resource, epoch) {
            self.0.registered.remove(&ResourceLabel { resource: resource.to_string() });
        }
    }

    /// A look at the node has not ended for so long; `None` where it has.
    pub fn hangs(&self, what: &'static str, since: Option<Duration>) {
        self.status().hangs(what, since);
    }

    /// Whether the daemon can do its work at all, and if not why.
    pub fn liveness(&self) -> Readiness {
        let trouble = self.status().trouble();
        Readiness { ready: trouble.is_none(), reasons: trouble.into_iter().collect() }
    }

    /// One thing that the reconciler did, by its kind.
    pub fn reconciled(&self, action: &str) {
        self.0.reconciled.get_or_create(&ActionLabel { action: action.to_owned() }).inc();
    }

    /// What the pools offer now, in the place of what they did.
    pub fn pools<'a>(&self, pools: impl IntoIterator<Item = &'a Pool>) {
        self.0.devices.clear();
        for pool in pools {
            let resource = pool.config.resource.to_string();
            for device in &pool.devices {
                let numa_node = device.function.numa_node.map(|node| node.to_string()).unwrap_or_default();
                let state = if pool.is_healthy(device) { "healthy" } else { "unhealthy" };
                let labels = DeviceLabels { resource: resource.clone(), state, numa_node };
                self.0.devices.get_or_create(&labels).inc();
            }
        }
    }

    /// Whether there is work for the kubelet to give, and if not why.
    pub fn readiness(&self) -> Readiness {
        self.status().readiness()
    }

    /// Everything, in Prometheus's text format (`OpenMetrics` 1.0).
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("sriovdp_build", "The version that runs", build);
        let devices = self.devices.clone();
        registry.register("sriovdp_devices", "Devices that a pool has", devices);
        let allocations = self.allocations.clone();
        registry.register("sriovdp_allocations", "Allocate calls of the kubelet", allocations);
        let took = self.allocation_took.clone();
        let help = "How long Allocate calls took";
        registry.register_with_unit("sriovdp_allocation_duration", help, Unit::Seconds, took);
        let took = self.scan_took.clone();
        let help = "How long it took to look at the whole node";
        registry.register_with_unit("sriovdp_scan_duration", help, Unit::Seconds, took);
        let help = "The configuration that is served, counted from 1 at start";
        registry.register("sriovdp_configuration_generation", help, self.generation.clone());
        let help =
            "1 where the configuration file is the one that is served, 0 where it is one that cannot be";
        registry.register("sriovdp_configuration_last_reload_successful", help, self.reload_ok.clone());
        let help = "1 where the kubelet has taken the pool";
        registry.register("sriovdp_pool_registered", help, self.registered.clone());
        let help = "Attempts to register a pool with the kubelet";
        registry.register("sriovdp_registrations", help, self.registrations.clone());
        let help = "What the reconciler did";
        registry.register("sriovdp_reconciler_actions", help, self.reconciled.clone());
    }
}

#[cfg(test)]
mod tests;
