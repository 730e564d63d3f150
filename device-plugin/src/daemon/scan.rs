//! One look at the node for a daemon or a command: which of its attributes the pools need to be known.
//! It must not keep what it saw.

use crate::cli::Options;
use crate::config::{AllocationPolicy, Config, PoolConfig};
use crate::inventory::{self, Device, Kind, Known, Needs, Roots, Scan, Snapshot, Unread};
use crate::pool::{self, Pool, Why};
use crate::selector::Key;

use super::Error;

/// What the daemon would make of the node, for showing: every device, and the pools.
pub fn pools_of(options: &Options, config: Option<&Config>) -> Result<Shown, Error> {
    let configs = config.map_or(&[][..], |config| &config.pools);
    let Scan { snapshot, odd } = look(options, configs, true, None)?;
    let pools = pool::unheld(configs, &snapshot);
    Ok(Shown { snapshot, pools, odd })
}

/// What is to be shown.
#[derive(Debug)]
pub struct Shown {
    /// The devices.
    pub snapshot: Snapshot,
    /// Each pool, with why it is empty.
    pub pools: Vec<(Pool, Option<Why>)>,
    /// What cannot be read.
    pub odd: Vec<Unread>,
}

/// Where the node's files are, by the options.
pub(super) fn roots(options: &Options) -> Roots {
    Roots { sysfs: pci::Sysfs::new(&options.sysfs_root), proc: options.proc_root.clone() }
}

/// Reads the node, and of each device as much as the pools need; what is `known` may not be asked for again where that is costly.
pub(super) fn look(
    options: &Options,
    pools: &[PoolConfig],
    every_kind: bool,
    known: Option<Known<'_>>,
) -> Result<Scan, inventory::Error> {
    let profile_matters = |device: &Device| pools.iter().any(|pool| pool.wants_profile(device));
    let asks = |key| pools.iter().any(|pool| pool.asks_for(key));
    let needs = Needs {
        link_types: asks(Key::LinkTypes),
        p_keys: asks(Key::PKeys),
        rdma: asks(Key::IsRdma),
        vdpa: asks(Key::VdpaType),
        subfunctions: every_kind || pools.iter().any(|pool| pool.kind == Kind::Subfunction),
        carriers: pools.iter().any(|pool| pool.pf_carrier),
        bridges: pools.iter().any(|pool| pool.allocation_policy == AllocationPolicy::Pcie),
        ddp: asks(Key::DdpProfiles).then_some(&profile_matters),
        known,
        host_interfaces: options.allow_host_interfaces,
    };
    inventory::scan(&roots(options), &needs)
}
