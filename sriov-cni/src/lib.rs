//! The `sriov` CNI plugin: a VF configured through its PF and moved into a pod, or left to DPDK, and given back as it was.
//! It must not choose the VF: the device plugin did.

mod cache;
mod choose;
mod cmd;
mod conf;
mod error;
mod observe;
mod plan;
mod unavailable;

pub use cmd::Sriov;
pub use conf::name_of_nameless as network_name;

/// Reads a request's configuration and arguments as an ADD would: what is odd about them, or what is wrong.
pub fn lint(request: &cni::Request) -> Result<Vec<String>, cni::Error> {
    match cmd::read(request) {
        Ok(netconf) => Ok(netconf.warnings.iter().map(ToString::to_string).collect()),
        Err(error) => Err(error.explain(request)),
    }
}
