//! The `sriov` CNI plugin: a VF configured through its PF and moved into a pod, or left to DPDK, and given back as it was.
//! It must not choose the VF: the device plugin did.

mod cache;
mod cmd;
mod conf;
mod error;
mod observe;
mod plan;

pub use cmd::Sriov;
