//! Which devices there are and which container holds which: the accounting of the device manager, and its choice.
//! It must not do I/O: what plugins say comes in as `Pool`, what they are asked goes out as lists of ids.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use crate::pod::Pod;

/// One device of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Whether its plugin says `Healthy`.
    pub healthy: bool,
    /// Its NUMA nodes; empty where the plugin gives no topology.
    pub numa: Vec<i64>,
}

/// One extended resource, as its plugin last described it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// The devices of the last list, by id.
    pub devices: BTreeMap<String, Device>,
    /// Whether `ListAndWatch` is open. When it is not, no device is healthy.
    pub connected: bool,
    /// Whether the plugin wants `PreStartContainer`.
    pub pre_start: bool,
    /// Whether the plugin offers `GetPreferredAllocation`.
    pub preferred_allocation: bool,
    /// The plugin's socket.
    pub socket: PathBuf,
    /// How often a plugin registered this resource since the kubelet started.
    pub registrations: u64,
    /// How many lists this registration has sent.
    pub lists: u64,
}

impl Pool {
    /// The ids that are healthy, in order.
    pub fn healthy(&self) -> Vec<&str> {
        self.devices.iter().filter(|(_, device)| device.healthy).map(|(id, _)| id.as_str()).collect()
    }
}

/// What one container holds of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The container's name.
    pub container: String,
    /// The extended resource.
    pub resource: String,
    /// The device ids, in the order in which the plugin was asked for them, with their NUMA nodes.
    pub devices: Vec<(String, Vec<i64>)>,
}

/// Who holds what on this node. It outlives a kubelet: the real one has it in a checkpoint file.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pods: Vec<(Pod, Vec<Grant>)>,
    /// Pods that are over, of which the accounts do not know yet.
    ended: Vec<(Pod, Vec<Grant>)>,
    /// What it says of all that.
    pub(super) tells: Tells,
}

/// What a kubelet tells of who holds what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tells {
    /// All that it knows.
    #[default]
    Everything,
    /// As one that has just started and has not heard of its pods: `PodResources` names none, the checkpoint has them all.
    NoPods,
    /// As one a moment later: `PodResources` names a static pod alone, which holds nothing, the checkpoint has them all.
    StaticPods,
    /// `PodResources` fails, and there is no checkpoint.
    Nothing,
}

impl Ledger {
    /// The pods, in the order of their admission.
    pub fn pods(&self) -> impl Iterator<Item = &(Pod, Vec<Grant>)> {
        self.pods.iter()
    }

    /// What `pod` holds; `None` when it was never admitted.
    pub fn grants(&self, pod: &Pod) -> Option<&[Grant]> {
        self.pods.iter().find(|(held, _)| held.uid == pod.uid).map(|(_, grants)| grants.as_slice())
    }

    /// Adds a pod that holds nothing yet.
    pub(super) fn admit(&mut self, pod: &Pod) {
        self.pods.push((pod.clone(), Vec::new()));
    }

    /// Writes down what a container was given.
    pub(super) fn grant(&mut self, pod: &Pod, grant: Grant) {
        if let Some((_, grants)) = self.pods.iter_mut().find(|(held, _)| held.uid == pod.uid) {
            grants.push(grant);
        }
    }

    /// Frees all that `pod` holds. Whether there was such a pod. The accounts have it until they are brought up to date.
    pub(super) fn free(&mut self, pod: &Pod) -> bool {
        let before = self.ended.len();
        self.ended.extend(self.pods.extract_if(.., |(held, _)| held.uid == pod.uid));
        self.ended.len() != before
    }

    /// Takes back a pod that is not admitted.
    pub(super) fn refuse(&mut self, pod: &Pod) {
        self.pods.retain(|(held, _)| held.uid != pod.uid);
    }

    /// Takes pods that are over out of the accounts: a kubelet does it at each admission and each `List`, once it knows its
    /// pods, and writes it down with the next list of a plugin or the next admission.
    pub(super) fn update(&mut self) {
        if !matches!(self.tells, Tells::NoPods | Tells::StaticPods) {
            self.ended.clear();
        }
    }

    /// The accounts as a checkpoint has them, by pod UID.
    pub(super) fn checkpoint(&self) -> serde_json::Value {
        let entries = self.pods.iter().chain(&self.ended).flat_map(|(pod, grants)| {
            grants.iter().map(|grant| {
                let ids: Vec<&str> = grant.devices.iter().map(|(id, _)| id.as_str()).collect();
                json!({"PodUID": pod.uid, "ContainerName": grant.container, "ResourceName": grant.resource,
                       "DeviceIDs": {"-1": ids}, "AllocResp": ""})
            })
        });
        let entries: Vec<_> = entries.collect();
        json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 0})
    }

    /// The devices of `resource` that some container holds.
    pub fn held(&self, resource: &str) -> BTreeSet<&str> {
        self.pods
            .iter()
            .flat_map(|(_, grants)| grants)
            .filter(|grant| grant.resource == resource)
            .flat_map(|grant| grant.devices.iter().map(|(id, _)| id.as_str()))
            .collect()
    }

    /// The devices from which `count` may be taken: healthy and free ones; those of the lowest NUMA node that has
    /// enough of them, or all where none has.
    ///
    /// # Errors
    /// The number that is there, when it is less than `count`.
    pub(super) fn candidates(&self, resource: &str, pool: &Pool, count: usize) -> Result<Vec<String>, usize> {
        let held = self.held(resource);
        let free: Vec<&str> = pool.healthy().into_iter().filter(|id| !held.contains(id)).collect();
        if free.len() < count {
            return Err(free.len());
        }
        let nodes: BTreeSet<i64> =
            free.iter().flat_map(|id| pool.devices[*id].numa.iter().copied()).collect();
        let on = |node| free.iter().copied().filter(move |id| pool.devices[*id].numa.contains(&node));
        let aligned =
            nodes.into_iter().map(|node| on(node).collect::<Vec<_>>()).find(|ids| ids.len() >= count);
        Ok(aligned.unwrap_or(free).into_iter().map(str::to_owned).collect())
    }
}

/// Takes `count` of `candidates`: those that the plugin prefers first (ids it made up are passed over), then in order.
pub(super) fn choose(candidates: &[String], preferred: &[String], count: usize) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::with_capacity(count);
    for id in preferred.iter().filter(|id| candidates.contains(id)).chain(candidates) {
        if chosen.len() < count && !chosen.contains(id) {
            chosen.push(id.clone());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(devices: &[(&str, bool, &[i64])]) -> Pool {
        let devices = devices
            .iter()
            .map(|&(id, healthy, numa)| (id.to_owned(), Device { healthy, numa: numa.to_vec() }))
            .collect();
        Pool { devices, connected: true, ..Pool::default() }
    }

    fn holding(pod: &Pod, resource: &str, ids: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.admit(pod);
        let devices = ids.iter().map(|id| ((*id).to_owned(), vec![])).collect();
        ledger.grant(pod, Grant { container: "c".into(), resource: resource.into(), devices });
        ledger
    }

    #[test]
    fn one_numa_node_is_preferred() {
        let pool = pool(&[("a", true, &[0]), ("b", true, &[1]), ("c", true, &[1]), ("d", true, &[])]);
        let ledger = Ledger::default();
        assert_eq!(ledger.candidates("r", &pool, 1).unwrap(), ["a"]);
        assert_eq!(ledger.candidates("r", &pool, 2).unwrap(), ["b", "c"]);
        assert_eq!(ledger.candidates("r", &pool, 3).unwrap(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn sick_and_held_devices_are_not_given() {
        let pool = pool(&[("a", true, &[]), ("b", false, &[]), ("c", true, &[]), ("d", true, &[])]);
        let pod = Pod::new("n", "p");
        let mut ledger = holding(&pod, "r", &["a"]);
        assert_eq!(ledger.candidates("r", &pool, 2).unwrap(), ["c", "d"]);
        assert_eq!(ledger.candidates("r", &pool, 3), Err(2));
        assert_eq!(ledger.candidates("other", &pool, 3).unwrap(), ["a", "c", "d"]);
        assert!(ledger.free(&pod));
        assert!(!ledger.free(&pod));
        assert_eq!(ledger.candidates("r", &pool, 3).unwrap(), ["a", "c", "d"]);
    }

    #[test]
    fn a_pod_of_the_same_name_is_another_pod() {
        let (old, new) = (Pod::new("n", "p"), Pod::new("n", "p"));
        let mut ledger = holding(&old, "r", &["a"]);
        assert!(!ledger.free(&new));
        assert_eq!(ledger.held("r"), BTreeSet::from(["a"]));
    }

    #[test]
    fn the_plugins_preference_is_followed_where_it_can_be() {
        let ids = |list: &[&str]| list.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let candidates = ids(&["a", "b", "c"]);
        assert_eq!(choose(&candidates, &ids(&["c", "a"]), 2), ["c", "a"]);
        assert_eq!(choose(&candidates, &ids(&["c"]), 2), ["c", "a"]);
        assert_eq!(choose(&candidates, &ids(&["x", "b", "b", "c", "a"]), 2), ["b", "c"]);
        assert_eq!(choose(&candidates, &[], 0), Vec::<String>::new());
    }
}
