//! What the daemon knows: the configuration, the node, what pods hold and what is unclean; and the pools that come of it.
//! It must not serve them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::Options;
use crate::config::{Config, PoolConfig, Watched};
use crate::holdings::{self, Agreed, Sources};
use crate::inventory::{self, Cause, Known, Scan, Snapshot, Watch};
use crate::metrics::Metrics;
use crate::pool::{Grants, Hearing, Pool, Scene, Why};
use crate::reconcile::{Handle, Unclean};

use super::scan::{look, roots};
use super::{Error, log};

/// How soon the kubelet is asked again while the answer keeps a device where it is: nobody tells of a pod's end.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How soon the first time that its checkpoint lags behind: it writes that anew at our next list.
const UP_TO_DATE: Duration = Duration::from_millis(200);

/// What is looked at, for whoever is told that a look hangs.
const LOOKED_AT: &str = "the node";

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
    /// The one after it, until the node was looked at for what that asks of the devices.
    next: Option<Next>,
    generation: u64,
    snapshot: Snapshot,
    hearing: Hearing,
    /// Whether the kubelet's accounts lagged behind when the pools were made.
    lagged: bool,
    /// When to ask the kubelet again.
    again: Option<tokio::time::Instant>,
    pools: Vec<Arc<Pool>>,
    /// Which of them are empty, with the reasons that the log has.
    empty: log::Emptiness,
    /// A look that did not end in time. Until it does nobody looks: it would not fare better.
    late: Option<Looking>,
}

/// A configuration that can be served, and what is wrong with a part of its file.
struct Next {
    pools: Arc<[PoolConfig]>,
    wrong: Option<String>,
}

impl From<Config> for Next {
    fn from(config: Config) -> Self {
        let refused: Vec<String> = config.refused.iter().map(ToString::to_string).collect();
        Self { pools: config.pools.into(), wrong: (!refused.is_empty()).then(|| refused.join("; ")) }
    }
}

/// A look at the node at work, on another thread: an allocation must not wait for a thousand functions.
type Looking = JoinHandle<Result<Scan, inventory::Error>>;

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
        reconciler: &mut Handle,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let options = Arc::new(options.clone());
        let (file, config) = Watched::open(&options.config_file, &options.resource_prefix);
        let Next { pools, wrong } = servable(config.map_err(Error::Config)?, &file)?.into();
        // Before the first look, so that nothing falls between the two.
        let node = Watch::new(&roots(&options), options.rescan_interval);
        let asked = Instant::now();
        // What needs the same time is waited for at once.
        let scan = first(&options, &pools, &metrics);
        let (scan, answer, ()) = tokio::join!(scan, holdings::agreed_soon(&sources), reconciler.first());
        let Scan { snapshot, odd } = scan?;
        log::scan(&snapshot, &odd);
        let mut world = Self {
            options,
            file,
            node,
            sources,
            unclean: reconciler.unclean(),
            metrics,
            pools_wanted: pools,
            next: None,
            generation: 1,
            snapshot,
            hearing: Hearing::new(grants),
            lagged: false,
            again: None,
            pools: Vec::new(),
            empty: log::Emptiness::new(),
            late: None,
        };
        world.hear(answer, asked);
        let pools = world.build(true);
        // Not before there are pools: who asks whether all are registered must not hear of none.
        world.metrics.configuration(world.generation, wrong);
        log::pools(&pools);
        world.empty = log::emptiness(pools);
        Ok(world)
    }

    /// The pools as they are now, in the configuration's order.
    pub(super) fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// What was heard of the devices' holders.
    pub(super) fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// Waits until there may be something new. May be given up and begun again.
    pub(super) async fn stirred(&mut self) -> Stir {
        let again = self.again;
        tokio::select! {
            () = self.file.changed() => Stir::File,
            cause = self.node.changed() => Stir::Node(cause),
            () = changed(&mut self.unclean) => Stir::Other,
            () = until(again) => Stir::Other,
            () = self.hearing.doubted() => Stir::Other,
            () = ended(&mut self.late) => {
                tracing::info!("the look at the node that was late has ended");
                self.late = None;
                self.metrics.hangs(LOOKED_AT, None);
                Stir::Node(Cause::Clock)
            }
        }
    }

    /// Looks at what may be new, and makes the pools anew. Whether the node has changed.
    pub(super) async fn look(&mut self, stir: Stir) -> bool {
        if matches!(stir, Stir::File | Stir::Node(Cause::Clock)) {
            self.reread();
        }
        let changed = match stir {
            _ if self.next.is_some() => self.rescan(Cause::Clock).await,
            Stir::Node(cause) => self.rescan(cause).await,
            Stir::File | Stir::Other => false,
        };
        if self.next.is_some() {
            let wrong = "the node could not be looked at for what a newer one asks; it is tried again";
            // Not at each event, of which there may be many while a look hangs.
            if stir != Stir::Node(Cause::Event) {
                tracing::error!("generation {} of the configuration stays: {wrong}", self.generation);
            }
            self.metrics.configuration(self.generation, Some(wrong.to_owned()));
        }
        let before = self.pools.clone();
        let built = self.settle().await;
        log::changes(&before, &self.pools);
        let empty = log::emptiness(built);
        log::emptied(&self.empty, &empty);
        self.empty = empty;
        changed
    }

    /// Reads a file that has changed; one that cannot be served leaves everything as it is.
    fn reread(&mut self) {
        let Some(read) = self.file.reread() else { return };
        match read.map_err(Error::Config).and_then(|config| servable(config, &self.file)) {
            Ok(config) => self.next = Some(config.over(&self.pools_wanted).into()),
            Err(error) => {
                self.next = None;
                tracing::error!("{error}; generation {} of the configuration stays", self.generation);
                self.metrics.configuration(self.generation, Some(error.to_string()));
            }
        }
    }

    /// The node was looked at for the configuration that was read last: it counts from now on.
    fn adopt(&mut self) {
        let Some(Next { pools, wrong }) = self.next.take() else { return };
        self.generation += 1;
        self.pools_wanted = pools;
        self.metrics.configuration(self.generation, wrong);
        tracing::info!(generation = self.generation, "configuration read again");
        // Whoever has edited the file is told of every pool that is empty with it.
        self.empty.clear();
    }

    /// Reads the node. Whether it has changed. What is costly to know and seldom changes is left to the clock. Where that
    /// takes too long the node counts as it was.
    async fn rescan(&mut self, cause: Cause) -> bool {
        if self.late.is_some() {
            return false;
        }
        let began = Instant::now();
        let pools = self.next.as_ref().map_or(&self.pools_wanted, |next| &next.pools);
        let mut looking = begin(&self.options, pools, Some((self.snapshot.clone(), cause)));
        let in_time = tokio::select! {
            in_time = tokio::time::timeout(self.options.look_timeout, &mut looking) => in_time,
            never = self.node.listen() => match never {},
        };
        let Ok(scan) = in_time else {
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
        self.adopt();
        let snapshot = snapshot.remembering(&self.snapshot);
        let changed = snapshot != self.snapshot;
        self.snapshot = snapshot;
        changed
    }

    /// Makes the pools from all that is known, and asks the kubelet before where that matters.
    async fn settle(&mut self) -> Vec<(Arc<Pool>, Option<Why>)> {
        let due = self.again.is_some_and(|again| again <= tokio::time::Instant::now());
        let unclean = self.unclean.borrow_and_update().clone();
        let scene = Scene { configs: &self.pools_wanted, snapshot: &self.snapshot, unclean: &unclean };
        let asks = due || self.hearing.must_ask(scene, &self.pools, Instant::now());
        if asks {
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = holdings::agreed(&self.sources) => answer,
                never = self.node.listen() => match never {},
            };
            self.hear(answer, asked);
        }
        self.build(asks)
    }

    fn hear(&mut self, answer: Result<Agreed, holdings::Error>, asked: Instant) {
        match answer {
            Ok(answer) => self.hearing.told(&answer, asked),
            Err(error) if self.hearing.untold() => {
                tracing::warn!("{error}; until then no device leaves its pool");
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// Makes the pools from all that is known.
    fn build(&mut self, asked: bool) -> Vec<(Arc<Pool>, Option<Why>)> {
        let unclean = self.unclean.borrow_and_update().clone();
        let scene = Scene { configs: &self.pools_wanted, snapshot: &self.snapshot, unclean: &unclean };
        let built = self.hearing.settle(scene, &self.pools, Instant::now());
        if asked || !self.hearing.waits() {
            // The kubelet is about to bring its accounts up to date where they lag for the first time.
            let soon = if self.hearing.lags() && !self.lagged { UP_TO_DATE } else { ASK_AGAIN };
            let soon = soon.min(self.options.rescan_interval);
            self.again = self.hearing.waits().then(|| tokio::time::Instant::now() + soon);
        }
        self.lagged = self.hearing.lags();
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
}

/// The first look, without which there is nothing to go on with.
async fn first(options: &Arc<Options>, pools: &Arc<[PoolConfig]>, metrics: &Metrics) -> Result<Scan, Error> {
    let began = Instant::now();
    let mut looking = begin(options, pools, None);
    let in_time = tokio::time::timeout(options.look_timeout, &mut looking).await;
    let scan = if let Ok(scan) = in_time {
        scan
    } else {
        hangs(options, metrics);
        let scan = looking.await;
        metrics.hangs(LOOKED_AT, None);
        scan
    };
    metrics.scan_took(began.elapsed());
    let panicked = |source| Error::System { doing: "look at the node", source: io::Error::other(source) };
    Ok(scan.map_err(panicked)??)
}

fn begin(options: &Arc<Options>, pools: &Arc<[PoolConfig]>, before: Option<(Snapshot, Cause)>) -> Looking {
    let (options, pools) = (options.clone(), pools.clone());
    tokio::task::spawn_blocking(move || {
        let known = before.as_ref().map(|(snapshot, cause)| Known { snapshot, anew: *cause == Cause::Clock });
        look(&options, &pools, false, known)
    })
}

fn hangs(options: &Options, metrics: &Metrics) {
    let limit = options.look_timeout;
    tracing::error!(
        "a look at {LOOKED_AT} has not ended after {limit:?}, and is waited for; until then the node counts as it was"
    );
    metrics.hangs(LOOKED_AT, Some(limit));
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
