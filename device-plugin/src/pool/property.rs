//! Random nodes, configurations and pods: whatever happens to a node, a device that a pod holds is offered as what the pod
//! holds it as or not at all, and no device is offered twice. It must not do I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pci::{Function, Role, VfIndex};
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::config::Config;
use crate::holdings::{Agreed, Held, Holder, PodName};
use crate::inventory::Snapshot;
use crate::reconcile::Unclean;

const VFS: u16 = 8;
const DRIVERS: [&str; 3] = ["iavf", "vfio-pci", "igb_uio"];

#[derive(Clone, Debug)]
enum Step {
    /// The pools: a resource each, the drivers and the VFs that it takes.
    Configure(Vec<(usize, Vec<&'static str>, Vec<u16>)>),
    /// Makes a VF or binds it anew: to a driver, or to none.
    Bind(u16, Option<&'static str>),
    /// Removes a VF.
    Remove(u16),
    /// A pod takes the healthy device of that number, counted through the pools.
    Hold(usize),
    /// The pod that holds the device ends.
    Release(u16),
    /// Whether the kubelet tells who holds what.
    Kubelet(bool),
    /// What the reconciler has yet to restore.
    Unclean(Vec<u16>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let vfs = || subsequence((0..VFS).collect::<Vec<_>>(), 0..=usize::from(VFS));
    let pool = (0..4_usize, subsequence(DRIVERS.to_vec(), 0..=3), vfs());
    let driver = prop::option::weighted(0.9, prop::sample::select(&DRIVERS[..]));
    let step = prop_oneof![
        3 => prop::collection::vec(pool, 1..4).prop_map(Step::Configure),
        3 => (0..VFS, driver).prop_map(|(vf, driver)| Step::Bind(vf, driver)),
        1 => (0..VFS).prop_map(Step::Remove),
        4 => (0..32_usize).prop_map(Step::Hold),
        3 => (0..VFS).prop_map(Step::Release),
        1 => any::<bool>().prop_map(Step::Kubelet),
        1 => vfs().prop_map(Step::Unclean),
    ];
    prop::collection::vec(step, 1..40)
}

fn id(vf: u16) -> DeviceId {
    format!("0000:3b:02.{vf}").parse().unwrap()
}

fn device(vf: u16, driver: Option<&str>) -> Device {
    let DeviceId::Function(address) = id(vf) else { panic!("a function") };
    let role = Role::Vf { pf: "0000:3b:00.0".parse().unwrap(), index: VfIndex::new(vf.into()) };
    let function = Function {
        address,
        vendor: "8086".into(),
        device: "154c".into(),
        class: 0x02_00_00,
        driver: driver.map(str::to_owned),
        numa_node: None,
        role,
        netdevs: Vec::new(),
        iommu_group: None,
        uio: None,
        vfio_dev: None,
        rdma: Vec::new(),
        acpi_index: None,
    };
    let mut device = Device::new(function, None);
    device.left_out = driver.is_none().then_some(LeftOut::NoDriver);
    device
}

fn configs(pools: &[(usize, Vec<&str>, Vec<u16>)]) -> Vec<PoolConfig> {
    let mut named: BTreeMap<usize, String> = BTreeMap::new();
    for (resource, drivers, vfs) in pools {
        let addresses: Vec<String> = vfs.iter().map(|vf| id(*vf).to_string()).collect();
        let text = format!(
            r#"{{"resourceName":"r{resource}","selectors":{{"drivers":{drivers:?},"pciAddresses":{addresses:?}}}}}"#
        );
        named.entry(*resource).or_insert(text);
    }
    let text = named.into_values().collect::<Vec<_>>().join(",");
    Config::parse(format!(r#"{{"resourceList":[{text}]}}"#).as_bytes(), "a.b").unwrap().pools
}

/// What is really so, beside what the plugin makes of it.
struct Model {
    node: BTreeMap<u16, Option<&'static str>>,
    held: BTreeMap<DeviceId, String>,
    silent: bool,
    unclean: Vec<u16>,
    configs: Vec<PoolConfig>,
    snapshot: Snapshot,
    grants: Grants,
    hearing: Hearing,
    now: Instant,
    pools: Vec<Arc<Pool>>,
}

impl Model {
    fn new() -> Self {
        let grants = Grants::default();
        Self {
            node: (0..VFS).map(|vf| (vf, Some("iavf"))).collect(),
            held: BTreeMap::new(),
            silent: false,
            unclean: Vec::new(),
            configs: configs(&[(0, vec![], vec![])]),
            snapshot: Snapshot::default(),
            hearing: Hearing::new(grants.clone()),
            grants,
            now: Instant::now(),
            pools: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        // So long that the kubelet could have told of every grant.
        self.now += Duration::from_secs(20);
        match step {
            Step::Configure(pools) => self.configs = configs(&pools),
            Step::Bind(vf, driver) => drop(self.node.insert(vf, driver)),
            Step::Remove(vf) => drop(self.node.remove(&vf)),
            Step::Hold(number) => {
                let offered = self.offered();
                if let Some((id, resource)) = offered.get(number % offered.len().max(1)).cloned() {
                    assert!(!self.held.contains_key(&id), "{id} is given to a second pod");
                    self.grants.note(id.clone(), resource.clone(), self.now);
                    self.held.insert(id, resource);
                }
            }
            Step::Release(vf) => drop(self.held.remove(&id(vf))),
            Step::Kubelet(tells) => self.silent = !tells,
            Step::Unclean(vfs) => self.unclean = vfs,
        }
    }

    /// What a kubelet would give to a pod: of each resource it knows what is held of that one alone.
    fn offered(&self) -> Vec<(DeviceId, String)> {
        let pools = self.pools.iter().map(|pool| (pool, pool.config.resource.to_string()));
        pools
            .flat_map(|(pool, resource)| {
                let healthy = pool.devices.iter().filter(|device| pool.is_healthy(device));
                healthy.map(|device| (device.id(), resource.clone())).collect::<Vec<_>>()
            })
            .filter(|(id, resource)| self.held.get(id) != Some(resource))
            .collect()
    }

    /// What the kubelet would answer.
    fn answer(&self) -> Agreed {
        let holder = |resource: &String| Holder {
            resource: resource.clone(),
            pod: PodName::Uid("u".into()),
            container: "c".into(),
        };
        let held: Held = self.held.iter().map(|(id, resource)| (id.clone(), holder(resource))).collect();
        Agreed { held, lags: false }
    }

    /// As the daemon does, with its own code.
    fn settle(&mut self) {
        let devices = self.node.iter().map(|(vf, driver)| device(*vf, *driver)).collect();
        self.snapshot = Snapshot::new(devices).remembering(&self.snapshot);
        let unclean: Unclean = self.unclean.iter().map(|vf| (id(*vf), "VLAN 7 is set".to_owned())).collect();
        let scene = Scene { configs: &self.configs, snapshot: &self.snapshot, unclean: &unclean };
        // The daemon asks when it must, and again after a while where something waits for it.
        if self.hearing.waits() || self.hearing.must_ask(scene, &self.pools, self.now) {
            if self.silent {
                self.hearing.untold();
            } else {
                self.hearing.told(&self.answer(), self.now);
            }
        }
        let scene = Scene { configs: &self.configs, snapshot: &self.snapshot, unclean: &unclean };
        let built = self.hearing.settle(scene, &self.pools, self.now);
        self.pools = built.into_iter().map(|(pool, _)| Arc::new(pool)).collect();
        self.snapshot.forget_gone(|id| self.pools.iter().any(|pool| pool.has(id)));
    }

    fn check(&self) {
        let mut seen = BTreeMap::new();
        for pool in &self.pools {
            for device in &pool.devices {
                let (id, resource) = (device.id(), pool.config.resource.to_string());
                if let Some(other) = seen.insert(id.clone(), resource.clone()) {
                    panic!("{id} is in {other} and in {resource}");
                }
                if let Some(holder) = self.held.get(&id) {
                    assert_eq!(*holder, resource, "{id} is held as another resource");
                }
                let healthy = pool.is_healthy(device);
                let wrong_driver = self.configs.iter().any(|config| {
                    let drivers = config.refusal(device).is_some_and(|refusal| refusal.key == Key::Drivers);
                    config.resource == pool.config.resource && drivers
                });
                let unclean = self.unclean.iter().any(|vf| super::property::id(*vf) == id);
                if device.left_out.is_some() || wrong_driver || unclean {
                    assert!(!healthy, "{id} is healthy in {resource}: {device:?}");
                } else {
                    assert!(healthy, "{id} in {resource}: {:?}", pool.ill.get(&id));
                }
                let gone = device.left_out == Some(LeftOut::Gone);
                assert!(!gone || self.silent || self.held.contains_key(&id), "{id} is gone, and free");
            }
        }
        if !self.silent {
            self.check_what_is_free();
        }
        // A pod's device stays listed while there is a pool to list it.
        for (id, resource) in &self.held {
            let pool = self.pools.iter().find(|pool| pool.config.resource.to_string() == *resource);
            let known = self.snapshot.get(id).is_some();
            assert!(
                !known || pool.is_none_or(|pool| pool.has(id)),
                "{id} is held as {resource} and not in it"
            );
        }
    }

    /// What no pod holds is where it would be had none ever held it.
    fn check_what_is_free(&self) {
        for (wanted, _) in unheld(&self.configs, &self.snapshot) {
            let resource = &wanted.config.resource;
            let found = self.pools.iter().find(|pool| pool.config.resource == *resource);
            for id in wanted.devices.iter().map(|device| device.id()).filter(|id| !self.held.contains_key(id))
            {
                assert!(found.is_some_and(|pool| pool.has(&id)), "{id} is free and not in {resource}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_stays_and_nothing_is_offered_twice(steps in steps()) {
        let mut model = Model::new();
        model.settle();
        for step in steps {
            model.step(step);
            model.settle();
            model.check();
        }
    }
}
