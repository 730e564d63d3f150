//! The `host-device` CNI plugin: any NIC of the host moved into a pod, or left to DPDK, and given back as it was.
//! It must not configure the NIC through a PF: that is `sriov`'s.

mod cmd;
mod conf;
mod error;
mod observe;
mod plan;

pub use cmd::HostDevice;
