//! The daemon's life: configuration, one scan, pools, a front for each, and an orderly end at a signal.
//! It must not know how any of these work.

use std::io;
use std::path::absolute;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::Options;
use crate::config::{self, Config, PoolConfig, Resource};
use crate::device_info::cdi::Cdi;
use crate::device_info::{CdiError, Host};
use crate::explain;
use crate::inventory::{self, Device, Kind, Needs, Roots, Scan, Snapshot};
use crate::kubelet::{self, Front, Kubelet, Restarts};
use crate::pool::{self, Pool, Why};
use crate::selector::Key;

mod log;

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
    /// The kubelet's return would go unnoticed.
    #[error(transparent)]
    Watch(#[from] kubelet::WatchError),
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
    /// 2 where the command line or the configuration is to be changed, 1 where the node is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cdi(CdiError::Vendor { .. }) | Self::Config(_) | Self::NoPool(_) | Self::Unknown(_) => 2,
            Self::Cdi(CdiError::Write { .. })
            | Self::Scan(_)
            | Self::Front { .. }
            | Self::Watch(_)
            | Self::System { .. } => 1,
        }
    }
}

/// Serves until a signal asks for the end.
pub async fn run(options: &Options) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|source| Error::System { doing: "catch signals", source })?;
    let pools = pools(options)?;
    // The kubelet is told of our sockets by their full path.
    let root = absolute(&options.kubelet_root)
        .map_err(|source| Error::System { doing: "make --kubelet-root absolute", source })?;
    if pools.is_empty() {
        tracing::warn!("there is nothing to offer; waiting to be stopped");
    }
    let host = host(options);
    if let Some(cdi) = &host.cdi {
        cdi.remove_others(&pools.iter().map(|pool| &*pool.config).collect::<Vec<_>>());
    }
    let mut fronts = Fronts::new(Kubelet::find(&root), host);
    for pool in pools {
        fronts.host.specify(&pool)?;
        fronts.open(pool).await?;
    }
    tokio::select! {
        name = signals.next() => tracing::info!("{name}: stopping"),
        error = fronts.failed() => return Err(error),
    }
    fronts.close().await;
    Ok(())
}

/// What the daemon would make of the node, for showing: every device, and the pools.
pub fn pools_of(options: &Options, config: Option<&Config>) -> Result<Shown, Error> {
    let configs = config.map_or(&[][..], |config| &config.pools);
    let Scan { snapshot, odd } = look(options, configs, true)?;
    for error in odd {
        tracing::warn!("passed over: {error}");
    }
    let pools = pool::build(configs, &snapshot);
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
        ddp: asks(Key::DdpProfiles).then_some(&profile_matters),
        host_interfaces: options.allow_host_interfaces,
    };
    inventory::scan(&roots(options), &needs)
}

fn host(options: &Options) -> Host {
    Host {
        sysfs: pci::Sysfs::new(&options.sysfs_root),
        dev: options.dev_root.clone(),
        devinfo: options.devinfo_dir.clone(),
        cdi: options.use_cdi.then(|| Arc::new(Cdi::new(options.cdi_dir.clone()))),
    }
}

/// The pools that have something to offer, from the file and one scan.
fn pools(options: &Options) -> Result<Vec<Pool>, Error> {
    let config = Config::read(&options.config_file, &options.resource_prefix)?;
    log::config(&config);
    if config.pools.is_empty() {
        return Err(Error::NoPool(options.config_file.clone()));
    }
    let Scan { snapshot, odd } = look(options, &config.pools, false)?;
    log::scan(&snapshot, &odd);
    let pools = pool::build(&config.pools, &snapshot);
    log::pools(&pools);
    Ok(pools.into_iter().map(|(pool, _)| pool).filter(|pool| !pool.devices.is_empty()).collect())
}

/// The fronts at work, and the channels that feed them.
struct Fronts {
    kubelet: Kubelet,
    host: Arc<Host>,
    /// Made with the first front: without one nobody needs the kubelet.
    restarts: Option<Restarts>,
    pools: Vec<watch::Sender<Arc<Pool>>>,
    tasks: JoinSet<Result<(), Error>>,
}

impl Fronts {
    fn new(kubelet: Kubelet, host: Host) -> Self {
        Self { kubelet, host: Arc::new(host), restarts: None, pools: Vec::new(), tasks: JoinSet::new() }
    }

    async fn open(&mut self, pool: Pool) -> Result<(), Error> {
        let restarts = match &self.restarts {
            Some(restarts) => restarts.clone(),
            None => self.restarts.insert(watch_kubelet(&self.kubelet)?).clone(),
        };
        let resource = pool.config.resource.clone();
        let (sender, receiver) = watch::channel(Arc::new(pool));
        let failed = move |source| Error::Front { resource, source };
        let front = Front::new(self.kubelet.clone(), receiver, self.host.clone());
        let open = front.open().await.map_err(failed.clone())?;
        self.pools.push(sender);
        self.tasks.spawn(async move { open.keep(restarts).await.map_err(failed) });
        Ok(())
    }

    /// The first front that fails; pending while none does.
    async fn failed(&mut self) -> Error {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Ends every stream, then every server, then removes the sockets.
    async fn close(mut self) {
        self.pools.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn watch_kubelet(kubelet: &Kubelet) -> Result<Restarts, kubelet::WatchError> {
    match kubelet {
        Kubelet::Watches { .. } => Ok(Restarts::none()),
        Kubelet::MustBeTold { dir } => Restarts::watch(dir),
    }
}

/// The signals that end the Go plugin, too.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}
