//! Tools for tests alone: sysfs trees, a kubelet stand-in, Multus and container runtime calls, network namespaces, kills.
//! No product code may depend on it.

pub mod kill;
#[cfg(feature = "kubelet")]
pub mod kubelet;
#[cfg(feature = "kubelet")]
pub mod manifests;
#[cfg(feature = "kubelet")]
pub mod multus;
pub mod netlink;
pub mod netns;
pub mod pod;
pub mod runtime;
pub mod sysfs;
