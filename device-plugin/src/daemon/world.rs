//! What the daemon knows of the node and of what is wanted of it, and the pools that come of both.
//! It must not serve them.

use crate::cli::Options;
use crate::config::{Config, PoolConfig};
use crate::inventory::{self, Device, Kind, Needs, Roots, Scan, Snapshot};
use crate::pool::{self, Pool, Why};
use crate::selector::Key;

use super::{Error, log};

/// What the daemon would make of the node, for showing: every device, and the pools.
pub fn pools_of(options: &Options, config: Option<&Config>) -> Result<Shown, Error> {
    let configs = config.map_or(&[][..], |config| &config.pools);
    let Scan { snapshot, odd } = look(options, configs, true)?;
    for error in odd {
        tracing::warn!("passed over: {error}");
    }
    let pools = pool::unheld(configs, &snapshot);
    Ok((snapshot, pools))
}

/// The devices, and each pool with why it is empty.
pub type Shown = (Snapshot, Vec<(Pool, Option<Why>)>);

/// Where the node's files are, by the options.
fn roots(options: &Options) -> Roots {
    Roots { sysfs: pci::Sysfs::new(&options.sysfs_root), proc: options.proc_root.clone() }
}

/// Reads the node, and of each device as much as the pools need.
fn look(options: &Options, pools: &[PoolConfig], every_kind: bool) -> Result<Scan, inventory::Error> {
    let profile_matters = |device: &Device| pools.iter().any(|pool| pool.wants_profile(device));
    let asks = |key| pools.iter().any(|pool| pool.asks_for(key));
    let needs = Needs {
        link_types: asks(Key::LinkTypes),
        p_keys: asks(Key::PKeys),
        rdma: asks(Key::IsRdma),
        vdpa: asks(Key::VdpaType),
        subfunctions: every_kind || pools.iter().any(|pool| pool.kind == Kind::Subfunction),
        carriers: pools.iter().any(|pool| pool.pf_carrier),
        ddp: asks(Key::DdpProfiles).then_some(&profile_matters),
        host_interfaces: options.allow_host_interfaces,
    };
    inventory::scan(&roots(options), &needs)
}

/// The pools that have something to offer, from the file and one scan.
pub(super) fn pools(options: &Options) -> Result<Vec<Pool>, Error> {
    let config = Config::read(&options.config_file, &options.resource_prefix)?;
    log::config(&config);
    if config.pools.is_empty() {
        return Err(Error::NoPool(options.config_file.clone()));
    }
    let Scan { snapshot, odd } = look(options, &config.pools, false)?;
    log::scan(&snapshot, &odd);
    let pools = pool::unheld(&config.pools, &snapshot);
    log::pools(&pools);
    Ok(pools.into_iter().map(|(pool, _)| pool).filter(|pool| !pool.devices.is_empty()).collect())
}
