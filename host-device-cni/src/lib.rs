//! The `host-device` CNI plugin: any NIC of the host moved into a pod, or left to DPDK, and given back as it was.
//! It must not configure the NIC through a PF: that is `sriov`'s.

mod claim;
mod cmd;
mod conf;
mod error;
mod observe;
mod plan;

pub use cmd::HostDevice;

/// Reads a request's configuration as an ADD would: what is wrong with it. There are no oddities that it goes past.
pub fn lint(request: &cni::Request) -> Result<Vec<String>, cni::Error> {
    Ok(conf::Conf::parse(request).map(|_| Vec::new()).map_err(error::Error::from)?)
}
