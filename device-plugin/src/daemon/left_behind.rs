//! The reconciler and the answers about pods, set up from the options.
//! It must not do the work of either.

use crate::cli::Options;
use crate::holdings::Sources;
use crate::metrics::Metrics;
use crate::pool::Grants;
use crate::reconcile::{self, Handle, Setup};

/// The reconciler at its first look; an idle one where it is switched off.
pub(super) fn reconciler(options: &Options, grants: Grants, metrics: &Metrics) -> Handle {
    if !options.reconcile {
        tracing::info!("--reconcile=false: what pods leave behind is left to the next ADD of the device");
        return Handle::idle();
    }
    let setup = Setup {
        state: options.cni_state_dir.clone(),
        sysfs: options.sysfs_root.clone(),
        ipam: vec![options.cni_bin_dir.clone()],
        sources: sources(options),
        grants,
        interval: options.reconcile_interval,
        limit: options.look_timeout,
    };
    reconcile::start(setup, metrics.clone())
}

/// Where the kubelet tells who holds what.
pub(super) fn sources(options: &Options) -> Sources {
    Sources::of(&options.kubelet_root, options.pod_resources_socket.as_deref())
}
