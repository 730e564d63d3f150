//! What the daemon knows: the configuration, the node, what pods hold and what is unclean; and the pools that come of it.
//! It must not serve them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::Options;
use crate::config::{Config, PoolConfig, Watched};
use crate::holdings::{self, Sources};
use crate::inventory::{self, Cause, Scan, Snapshot, Watch};
use crate::metrics::Metrics;
use crate::pool::{self, Grants, Holds, Pool, Why};
use crate::reconcile::Unclean;

use super::scan::{look, roots};
use super::{Error, log};

/// How soon the kubelet is asked again while the answer keeps a device where it is: nobody tells of a pod's end.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Everything that the pools follow from, and the pools.
pub(super) struct World {
    options: Arc<Options>,
    file: Watched,
    node: Watch,
    sources: Sources,
    unclean: watch::Receiver<Unclean>,
    metrics: Metrics,
    /// The last configuration that could be served.
    pools_wanted: Arc<[PoolConfig]>,
    generation: u64,
    snapshot: Snapshot,
    held: HeldNow,
    pools: Vec<Arc<Pool>>,
    /// A look that did not end in time. Until it does nobody looks: it would not fare better.
    late: Option<Looking>,
}

/// A look at the node at work, on another thread: an allocation must not wait for a thousand functions.
type Looking = JoinHandle<Result<Scan, inventory::Error>>;

/// What was heard of the holders.
struct HeldNow {
    /// What this process has given.
    grants: Grants,
    /// What the kubelet told last, and when it was asked; `None` before it ever did.
    told: Option<(Holds, Instant)>,
    /// Whether the last question had an answer.
    answered: bool,
    /// What the pools were made with.
    used: Holds,
    /// When to ask again.
    again: Option<tokio::time::Instant>,
}

/// A pool, and why it is empty where it is.
type Built = (Pool, Option<Why>);

/// Why to look again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stir {
    /// The file may have changed.
    File,
    /// The node may have.
    Node(Cause),
    /// The reconciler, or the kubelet's answer.
    Other,
}

impl World {
    /// Reads the configuration and the node.
    pub(super) async fn new(
        options: &Options,
        sources: Sources,
        grants: Grants,
        unclean: watch::Receiver<Unclean>,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let options = Arc::new(options.clone());
        let (file, config) = Watched::open(&options.config_file, &options.resource_prefix);
        let config = servable(config.map_err(Error::Config)?, &file)?;
        // Before the first look, so that nothing falls between the two.
        let node = Watch::new(&roots(&options), options.rescan_interval);
        let Scan { snapshot, odd } = first(&options, &config.pools, &metrics).await?;
        log::scan(&snapshot, &odd);
        let held = HeldNow { grants, told: None, answered: true, used: Holds::default(), again: None };
        let mut world = Self {
            options,
            file,
            node,
            sources,
            unclean,
            metrics,
            pools_wanted: Arc::default(),
            generation: 0,
            snapshot,
            held,
            pools: Vec::new(),
            late: None,
        };
        let wrong = world.adopt(config);
        let pools = world.settle().await;
        // Not before there are pools: who asks whether all are registered must not hear of none.
        world.metrics.configuration(world.generation, wrong);
        log::pools(&pools);
        Ok(world)
    }

    /// The pools as they are now, in the configuration's order.
    pub(super) fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// What the pools were made with: which device is held as what.
    pub(super) fn holds(&self) -> &Holds {
        &self.held.used
    }

    /// Waits until there may be something new. May be given up and begun again.
    pub(super) async fn stirred(&mut self) -> Stir {
        let again = self.held.again;
        tokio::select! {
            () = self.file.changed() => Stir::File,
            cause = self.node.changed() => Stir::Node(cause),
            () = changed(&mut self.unclean) => Stir::Other,
            () = until(again) => Stir::Other,
            () = self.held.grants.doubted() => Stir::Other,
            () = ended(&mut self.late) => {
                tracing::info!("the look at the node that was late has ended");
                self.late = None;
                self.metrics.hangs(None);
                Stir::Node(Cause::Clock)
            }
        }
    }

    /// Looks at what may be new, and makes the pools anew. Whether the node has changed.
    pub(super) async fn look(&mut self, stir: Stir) -> bool {
        let reloaded = matches!(stir, Stir::File | Stir::Node(Cause::Clock)) && self.reload();
        let changed = match stir {
            Stir::Node(cause) if !reloaded => self.rescan(cause).await,
            _ if reloaded => self.rescan(Cause::Clock).await,
            _ => false,
        };
        let before = self.pools.clone();
        self.settle().await;
        log::changes(&before, &self.pools);
        changed
    }

    /// Takes in a file that has changed; one that cannot be served leaves everything as it is. Whether it did.
    fn reload(&mut self) -> bool {
        let Some(read) = self.file.reread() else { return false };
        match read.map_err(Error::Config).and_then(|config| servable(config, &self.file)) {
            Ok(config) => {
                let wrong = self.adopt(config.over(&self.pools_wanted));
                self.metrics.configuration(self.generation, wrong);
                tracing::info!(generation = self.generation, "configuration read again");
                true
            }
            Err(error) => {
                tracing::error!("{error}; generation {} of the configuration stays", self.generation);
                self.metrics.configuration(self.generation, Some(error.to_string()));
                false
            }
        }
    }

    /// What is wrong with a part of it.
    fn adopt(&mut self, config: Config) -> Option<String> {
        self.generation += 1;
        self.pools_wanted = config.pools.into();
        let refused: Vec<String> = config.refused.iter().map(ToString::to_string).collect();
        (!refused.is_empty()).then(|| refused.join("; "))
    }

    /// Reads the node. Whether it has changed. What is costly to know and seldom changes is left to the clock. Where that
    /// takes too long the node counts as it was.
    async fn rescan(&mut self, cause: Cause) -> bool {
        if self.late.is_some() {
            return false;
        }
        let began = Instant::now();
        let known = (cause == Cause::Event).then(|| self.snapshot.clone());
        let mut looking = begin(&self.options, &self.pools_wanted, known);
        let Ok(scan) = tokio::time::timeout(self.options.look_timeout, &mut looking).await else {
            hangs(&self.options, &self.metrics);
            self.late = Some(looking);
            return false;
        };
        self.node.looked(began.elapsed());
        let Scan { snapshot, odd } = match scan {
            Ok(Ok(scan)) => scan,
            Ok(Err(error)) => {
                tracing::error!("{error}; the node counts as it was");
                return false;
            }
            // It has said so, and the next look may end otherwise.
            Err(_panicked) => return false,
        };
        self.metrics.scan_took(began.elapsed());
        tracing::debug!("looked at the node in {:?}", began.elapsed());
        for error in odd {
            tracing::debug!("passed over: {error}");
        }
        let snapshot = snapshot.remembering(&self.snapshot);
        let changed = snapshot != self.snapshot;
        self.snapshot = snapshot;
        changed
    }

    /// Makes the pools from all that is known. The kubelet is asked where a device would leave its pool, or is in one only
    /// because it was held; while it does not answer, no device leaves.
    async fn settle(&mut self) -> Vec<(Arc<Pool>, Option<Why>)> {
        let mut holds = self.held.known();
        let built = self.build(&holds);
        if self.held.told.is_none() || self.loses_any(&built) || self.kept_by_holds(&built, &holds) {
            self.held.ask(&self.sources).await;
            holds = self.held.known();
            if !self.held.answered {
                holds.all_in_place(&self.pools);
            }
        }
        let built = self.build(&holds);
        let again = !self.held.answered || self.kept_by_holds(&built, &holds);
        let soon = ASK_AGAIN.min(self.options.rescan_interval);
        self.held.again = again.then(|| tokio::time::Instant::now() + soon);
        self.held.used = holds;
        // One that has not changed stays the same: whoever has it can tell by its address.
        let same = |pool: Pool| {
            let known = self.pools.iter().find(|known| ***known == pool);
            known.cloned().unwrap_or_else(|| Arc::new(pool))
        };
        let built: Vec<_> = built.into_iter().map(|(pool, why)| (same(pool), why)).collect();
        self.pools = built.iter().map(|(pool, _)| pool.clone()).collect();
        let offered = |id: &_| self.pools.iter().any(|pool| pool.has(id));
        self.snapshot.forget_gone(offered);
        self.metrics.pools(self.pools.iter().map(|pool| &**pool));
        let asking = self.pools.iter().filter(|pool| pool.config.pf_carrier);
        let ports = asking.flat_map(|pool| &pool.devices);
        self.node.carriers(ports.filter_map(|device| Some((device.port()?.to_owned(), device.carrier))));
        built
    }

    fn build(&mut self, holds: &Holds) -> Vec<Built> {
        let unclean = self.unclean.borrow_and_update();
        pool::build(&self.pools_wanted, &self.snapshot, holds, &unclean)
    }

    /// Whether a device would leave the pool in which it is.
    fn loses_any(&self, built: &[Built]) -> bool {
        let pool_of = |resource: &_| built.iter().find(|(pool, _)| pool.config.resource == *resource);
        self.pools.iter().any(|before| match pool_of(&before.config.resource) {
            Some((pool, _)) => before.devices.iter().any(|device| !pool.has(&device.id())),
            None => !before.devices.is_empty(),
        })
    }

    /// Whether a device is where it is, or in no pool, for no other reason than that it is held.
    fn kept_by_holds(&self, built: &[Built], holds: &Holds) -> bool {
        let has_pool = |name: &str| built.iter().any(|(pool, _)| pool.config.resource.to_string() == name);
        let withheld = |(id, name): (&_, &str)| self.snapshot.get(id).is_some() && !has_pool(name);
        built.iter().any(|(pool, _)| !pool.kept.is_empty()) || holds.iter().any(withheld)
    }
}

impl HeldNow {
    /// What the kubelet told, and what we gave since.
    fn known(&self) -> Holds {
        let (mut holds, asked) = self.told.clone().unwrap_or_else(|| (Holds::default(), Instant::now()));
        self.grants.add_to(&mut holds, asked);
        holds
    }

    async fn ask(&mut self, sources: &Sources) {
        let asked = Instant::now();
        match holdings::read(sources).await {
            Ok(held) => {
                self.told = Some((Holds::from(&held), asked));
                self.answered = true;
            }
            Err(error) if self.answered => {
                tracing::warn!("{error}; until then no device leaves its pool");
                self.answered = false;
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

/// The first look, without which there is nothing to go on with.
async fn first(options: &Arc<Options>, pools: &[PoolConfig], metrics: &Metrics) -> Result<Scan, Error> {
    let began = Instant::now();
    let mut looking = begin(options, &pools.into(), None);
    let in_time = tokio::time::timeout(options.look_timeout, &mut looking).await;
    let scan = if let Ok(scan) = in_time {
        scan
    } else {
        hangs(options, metrics);
        let scan = looking.await;
        metrics.hangs(None);
        scan
    };
    metrics.scan_took(began.elapsed());
    let panicked = |source| Error::System { doing: "look at the node", source: io::Error::other(source) };
    Ok(scan.map_err(panicked)??)
}

fn begin(options: &Arc<Options>, pools: &Arc<[PoolConfig]>, known: Option<Snapshot>) -> Looking {
    let (options, pools) = (options.clone(), pools.clone());
    tokio::task::spawn_blocking(move || look(&options, &pools, false, known.as_ref()))
}

fn hangs(options: &Options, metrics: &Metrics) {
    let limit = options.look_timeout;
    tracing::error!(
        "a look at the node has not ended after {limit:?}, and is waited for; until then the node counts as it was"
    );
    metrics.hangs(Some(limit));
}

/// Pending for ever where there is none.
async fn ended(late: &mut Option<Looking>) {
    match late {
        Some(looking) => drop(looking.await),
        None => std::future::pending().await,
    }
}

/// A file in which no pool can be served is none.
fn servable(config: Config, file: &Watched) -> Result<Config, Error> {
    log::config(&config);
    if config.pools.is_empty() { Err(Error::NoPool(file.path().to_owned())) } else { Ok(config) }
}

/// Pending for ever when there is no reconciler any more.
async fn changed(unclean: &mut watch::Receiver<Unclean>) {
    if unclean.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
