//! The daemon's life: what it knows of the world, the pools of it, a front for each, and an orderly end at a signal.
//! It must not know how any of these work.

use std::io;
use std::path::absolute;
use std::sync::Arc;

use tokio::sync::watch;

use crate::cli::Options;
use crate::config::{self, Resource};
use crate::control;
use crate::device_info::cdi::Cdi;
use crate::device_info::{CdiError, Host};
use crate::explain;
use crate::inventory::{self, Cause};
use crate::kubelet::{self, Folder};
use crate::metrics::Metrics;
use crate::pool::Grants;
use crate::web;

mod answers;
mod fronts;
mod left_behind;
mod log;
mod scan;
mod signals;
mod world;

use fronts::Fronts;
pub use scan::{Shown, pools_of};
use signals::Signals;
use world::{Stir, World};

/// What ends the daemon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A pool's CDI specification cannot be written.
    #[error(transparent)]
    Cdi(#[from] CdiError),
    /// No configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Every pool was refused.
    #[error("no pool of {0} can be served; the reasons are above")]
    NoPool(std::path::PathBuf),
    /// What is to be explained is not there.
    #[error(transparent)]
    Unknown(#[from] explain::Unknown),
    /// No inventory.
    #[error(transparent)]
    Scan(#[from] inventory::Error),
    /// A pool does not reach the kubelet.
    #[error("pool {resource}: {source}")]
    Front {
        /// The pool.
        resource: Resource,
        /// Why.
        source: kubelet::Error,
    },
    /// The running daemon is not there to answer.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// A path that cannot be made absolute, or no signals.
    #[error("cannot {doing}: {source}")]
    System {
        /// What failed.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    fn needs_new_container(&self) -> bool {
        matches!(self, Self::Front { source: kubelet::Error::Orphaned { .. }, .. })
    }

    /// 2 where the command line or the configuration is to be changed, 1 where the node is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cdi(CdiError::Vendor { .. }) | Self::Config(_) | Self::NoPool(_) | Self::Unknown(_) => 2,
            Self::Cdi(CdiError::Write { .. })
            | Self::Scan(_)
            | Self::Front { .. }
            | Self::Control(_)
            | Self::System { .. } => 1,
        }
    }
}

/// Serves until a signal asks for the end. What fails at the start ends it; later it goes on with what it has.
pub async fn run(options: &Options) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|source| Error::System { doing: "catch signals", source })?;
    let host = host(options);
    let metrics = Metrics::new();
    // Before the first look, which may take a while: the probes are to hear that.
    let web =
        options.metrics_address.clone().map(|address| tokio::spawn(web::serve(address, metrics.clone())));
    let sources = left_behind::sources(options);
    let (shown, pools) = watch::channel(Vec::new());
    let answers = answers::serve(options, sources.clone(), pools, metrics.clone());
    let starting = async {
        let mut reconciler = left_behind::reconciler(options, host.grants.clone(), &metrics);
        let world =
            World::new(options, sources, host.grants.clone(), &mut reconciler, metrics.clone()).await?;
        // What came home between its look and ours was no change to ours.
        reconciler.wake();
        Ok::<_, Error>((reconciler, world))
    };
    let (reconciler, mut world) = tokio::select! {
        name = signals.next() => {
            tracing::info!("{name}: stopping");
            return Ok(());
        }
        started = starting => started?,
    };
    // The kubelet is told of our sockets by their full path.
    let root = absolute(&options.kubelet_root)
        .map_err(|source| Error::System { doing: "make --kubelet-root absolute", source })?;
    if world.pools().iter().all(|pool| pool.devices.is_empty()) {
        tracing::warn!("there is nothing to offer yet; waiting for the first device");
    }
    let mut fronts = Fronts::new(Folder::follow(&root, options.handover), host, metrics);
    if let Some(error) = fronts.show(world.pools(), world.hearing()).into_iter().next() {
        return Err(error);
    }
    shown.send_replace(world.pools().to_vec());
    let name = loop {
        let stir = tokio::select! {
            name = signals.next() => break name,
            error = fronts.failed() => {
                if error.needs_new_container() {
                    return Err(error);
                }
                tracing::error!("{error}; it is opened again when something changes");
                continue;
            }
            () = reconciler.lags() => {
                if let Some(error) = fronts.remind(world.pools()) {
                    tracing::error!("{error}");
                }
                continue;
            }
            stir = world.stirred() => stir,
        };
        if stir == Stir::Node(Cause::Event) {
            // A link that comes home may be no change to the pools.
            reconciler.wake();
        }
        let changed = tokio::select! {
            name = signals.next() => break name,
            changed = world.look(stir) => changed,
        };
        if changed {
            reconciler.wake();
        }
        shown.send_replace(world.pools().to_vec());
        for error in fronts.show(world.pools(), world.hearing()) {
            tracing::error!("{error}; trying again in {:?} at the latest", options.rescan_interval);
        }
    };
    tracing::info!("{name}: stopping");
    if let Some(answers) = answers {
        answers.abort();
    }
    fronts.close().await;
    if let Some(web) = web {
        web.abort();
    }
    Ok(())
}

fn host(options: &Options) -> Host {
    Host {
        sysfs: pci::Sysfs::new(&options.sysfs_root),
        dev: options.dev_root.clone(),
        devinfo: options.devinfo_dir.clone(),
        cdi: options.use_cdi.then(|| Arc::new(Cdi::new(options.cdi_dir.clone()))),
        grants: Grants::default(),
    }
}
