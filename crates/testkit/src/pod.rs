//! A pod, as far as devices and networks go: its name, its annotations, and what its containers ask for.
//! It must not know who reads it: the kubelet stand-in and Multus both do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde_json::Value;

/// The annotation that names a pod's networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// A pod that was scheduled to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`: another one for each pod, also for one that takes the name of an earlier one.
    pub uid: String,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.containers`.
    pub containers: Vec<Container>,
}

/// One container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// `name`.
    pub name: String,
    /// The extended resources of `resources.limits`, with their count.
    pub limits: BTreeMap<String, usize>,
}

impl Pod {
    /// A pod with no containers yet.
    pub fn new(namespace: &str, name: &str) -> Self {
        static CREATED: AtomicU64 = AtomicU64::new(1);
        let created = CREATED.fetch_add(1, Ordering::Relaxed);
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: format!("00000000-0000-4000-8000-{created:012x}"),
            annotations: BTreeMap::new(),
            containers: Vec::new(),
        }
    }

    /// Adds a container that asks for `limits`.
    #[must_use]
    pub fn container(mut self, name: &str, limits: &[(&str, usize)]) -> Self {
        let limits = limits.iter().map(|&(resource, count)| (resource.to_owned(), count)).collect();
        self.containers.push(Container { name: name.to_owned(), limits });
        self
    }

    /// Sets the networks annotation, in its short or its JSON form.
    #[must_use]
    pub fn networks(mut self, value: impl AsRef<str>) -> Self {
        self.annotations.insert(NETWORKS.to_owned(), value.as_ref().to_owned());
        self
    }

    /// Reads a `v1` Pod manifest. Limits that are no extended resources (cpu, memory, hugepages) are left out.
    pub fn from_manifest(manifest: &Value) -> Result<Self> {
        anyhow::ensure!(manifest["kind"] == "Pod", "kind is {}, wanted \"Pod\"", manifest["kind"]);
        let metadata = &manifest["metadata"];
        let name = metadata["name"].as_str().context("the pod has no metadata.name")?;
        let mut pod = Self::new(metadata["namespace"].as_str().unwrap_or("default"), name);
        for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
            let value = value.as_str().with_context(|| format!("annotation {key} is no string"))?;
            pod.annotations.insert(key.clone(), value.to_owned());
        }
        for container in manifest["spec"]["containers"].as_array().into_iter().flatten() {
            let name = container["name"].as_str().context("a container has no name")?;
            let mut limits = BTreeMap::new();
            for (resource, quantity) in container["resources"]["limits"].as_object().into_iter().flatten() {
                if resource.contains('/') {
                    let count = quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned);
                    let count = count.parse().with_context(|| format!("limit {resource}: {count}"))?;
                    limits.insert(resource.clone(), count);
                }
            }
            pod.containers.push(Container { name: name.to_owned(), limits });
        }
        Ok(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_is_read() {
        let pod = Pod::from_manifest(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "annotations": {(NETWORKS): "a,b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {
                "cpu": "2", "hugepages-2Mi": "64Mi", "intel.com/x": "2", "amazon.com/y": 1}}}]},
        }))
        .unwrap();
        let wanted = Pod { uid: pod.uid.clone(), ..Pod::new("default", "p") }
            .container("c", &[("intel.com/x", 2), ("amazon.com/y", 1)])
            .networks("a,b");
        assert_eq!(pod, wanted);
        assert!(Pod::from_manifest(&json!({"kind": "ConfigMap"})).is_err());
    }

    #[test]
    fn each_pod_has_its_own_uid() {
        assert_ne!(Pod::new("a", "b").uid, Pod::new("a", "b").uid);
    }
}
