//! The node's hardware and kernel as its administrator sees them: sysfs, ip(8), modprobe(8).
//! Uses none of Sluice's own crates, for this is what their work is judged by.

mod command;
mod function;
mod memory;
mod netns;
mod pf;
mod watch;

pub(crate) use command::Background;
pub(crate) use command::Done;
pub(crate) use command::attempt;
pub(crate) use command::output;
pub(crate) use command::run;
pub(crate) use function::Function;
pub(crate) use memory::reserve_hugepages;
pub(crate) use netns::Netns;
pub(crate) use netns::ip;
pub(crate) use netns::ip_json;
pub(crate) use netns::wait_namespaces_over;
pub(crate) use pf::Pf;
pub(crate) use watch::until;

/// The PF on NUMA node 0 (QEMU's `igb0`). Names such as eth0 are not stable between boots, addresses are.
pub(crate) const PF0: &str = "0000:21:00.0";
/// The PF on NUMA node 1 (QEMU's `igb1`).
pub(crate) const PF1: &str = "0000:41:00.0";
/// The e1000e that stands in for a cloud NIC such as an AWS ENI (QEMU's `eni0`).
pub(crate) const ENI: &str = "0000:42:00.0";
/// A virtio-net, whose netdev sits one level deeper in sysfs (QEMU's `virtio0`).
pub(crate) const VIRTIO: &str = "0000:43:00.0";
