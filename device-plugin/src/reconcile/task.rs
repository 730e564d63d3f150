//! When to look for what is left behind: at start, when the node changed, at an interval; and what is said of it.
//! It must not decide or do anything by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attachment::{Leftover, Life, Record};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use super::decide::{Act, Holding, decide};
use super::handle::Handle;
use super::pass::{self, Done, Outcome, Plugin, Released, Sight, Word};
use super::tell;
use super::unclean::Unclean;
use super::work::{Work, on_thread};
use crate::holdings::{self, PodName, Sources};
use crate::inventory::DeviceId;
use crate::metrics::Metrics;
use crate::pool::Grants;

/// How long the kubelet's word is waited for before that is done for which it does not matter.
const WORD: Duration = Duration::from_millis(100);
/// No two looks are closer: what is done to a link is itself news of the node.
const GAP: Duration = Duration::from_millis(100);
/// How soon to look again where somebody is busy with a device, or is about to let go of it.
const BUSY: Duration = Duration::from_secs(1);
/// How soon to look again where something could not be put back yet.
const WAITING: Duration = Duration::from_secs(5);
/// How long to wait for what is put back. What takes longer hangs, and goes on by itself.
const LONGEST: Duration = Duration::from_secs(10);
/// What is looked at, for whoever is told that a look hangs.
const LOOKED_AT: &str = "what pods left behind";

/// What the reconciler needs to know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The directory of the CNI plugins' state directories.
    pub state: PathBuf,
    /// The sysfs tree.
    pub sysfs: PathBuf,
    /// Where IPAM plugins are.
    pub ipam: Vec<PathBuf>,
    /// Where the kubelet tells who holds what.
    pub sources: Sources,
    /// What was given, and must not be.
    pub grants: Grants,
    /// How often to look where nothing happens.
    pub interval: Duration,
    /// How long a look may take.
    pub limit: Duration,
}

/// Starts it. [`Handle::first`] waits for its first look.
pub fn start(setup: Setup, metrics: Metrics) -> Handle {
    let (done, first) = oneshot::channel();
    let (keeper, unclean) = Keeper::new(setup, metrics);
    let (wake, lags) = (keeper.wake.clone(), keeper.lags.clone());
    Handle { unclean, wake, lags, first: Some(first), task: Some(tokio::spawn(keeper.run(done))) }
}

/// A device that must not be handed out, the CNI plugin by whose state, and why.
type Dirty = (&'static str, DeviceId, String);

struct Keeper {
    setup: Setup,
    metrics: Metrics,
    unclean: watch::Sender<Unclean>,
    /// What is unclean by each plugin's state, as far as that could be read last.
    found: Vec<Dirty>,
    published: bool,
    wake: Arc<Notify>,
    lags: Arc<Notify>,
    /// What was said last of each attachment, so that it is said once.
    said: BTreeMap<String, String>,
    /// The same of addresses that stay reserved.
    reserved: BTreeMap<String, String>,
    /// IPAM plugins at work.
    releases: Option<JoinHandle<Vec<(Record, Released)>>>,
    work: Work,
}

impl Keeper {
    fn new(setup: Setup, metrics: Metrics) -> (Self, watch::Receiver<Unclean>) {
        let (unclean, receiver) = watch::channel(Unclean::default());
        let (wake, lags) = Default::default();
        let keeper = Self {
            setup,
            metrics,
            unclean,
            found: Vec::new(),
            published: false,
            wake,
            lags,
            said: BTreeMap::new(),
            reserved: BTreeMap::new(),
            releases: None,
            work: Work::new(),
        };
        (keeper, receiver)
    }

    async fn run(mut self, done: oneshot::Sender<()>) {
        let mut done = Some(done);
        loop {
            let pause = self.pass().await;
            // Nobody waits any more where the time was over.
            let _ = done.take().map(|done| done.send(()));
            tokio::time::sleep(GAP.min(pause)).await;
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look and what follows; gives how long it may be until the next.
    async fn pass(&mut self) -> Duration {
        let mut sight = self.look().await;
        self.begin(&sight);
        let mut word = Word { held: None, asked: Instant::now(), grants: self.setup.grants.clone() };
        let (mut outcomes, mut begun_with, mut lags) = (Vec::new(), Vec::new(), false);
        if sight.found.iter().any(|(_, leftover)| leftover.life != Life::Alive) {
            let (sources, begun) = (self.setup.sources.clone(), Instant::now());
            let mut asked = pin!(holdings::agreed(&sources));
            let told = match tokio::time::timeout(WORD, &mut asked).await {
                Ok(told) => told,
                // Somebody waits for the first look, and for what can be put back whatever the kubelet says. By its
                // checkpoint, no device that a pod holds is called unhealthy meanwhile.
                Err(_silent) => {
                    word.asked = Instant::now();
                    word.held = holdings::noted(&sources).map(Arc::new);
                    self.publish(unclean(&sight.found, &word), &sight.unseen);
                    begun_with = sight.found.extract_if(.., |(_, it)| is_certain(it)).collect();
                    outcomes = self.act(begun_with.clone(), &word).await;
                    asked.await
                }
            };
            let told = told.inspect_err(|error| tracing::debug!("{error}")).ok();
            if let Some(told) = told {
                self.setup.grants.told(&told.held, begun);
                (lags, word.held, word.asked) = (told.lags, Some(Arc::new(told.held)), begun);
            } else {
                word.held = None;
            }
        }
        let done: BTreeSet<String> = outcomes.iter().map(Outcome::key).collect();
        // What hangs has no outcome, and is as unclean as before.
        begun_with.retain(|(plugin, leftover)| !done.contains(&tell::key(plugin, leftover)));
        let mut found = unclean(&sight.found, &word);
        found.extend(unclean(&begun_with, &word));
        found.extend(outcomes.iter().filter_map(Outcome::unclean));
        self.publish(found, &sight.unseen);
        outcomes.extend(self.act(std::mem::take(&mut sight.found), &word).await);
        if lags && outcomes.iter().any(|outcome| is_kept_by_account(outcome, &word)) {
            self.lags.notify_one();
        }
        self.release(&outcomes).await;
        self.pause(&outcomes, &sight)
    }

    /// All that is there now. A look that does not end is waited for: nothing can be done without it.
    async fn look(&self) -> Sight {
        let (state, sysfs, limit) = (self.setup.state.clone(), self.setup.sysfs.clone(), self.setup.limit);
        let mut looking = pin!(on_thread(move || pass::look(&Plugin::all(&state, &sysfs))));
        let sight = match tokio::time::timeout(limit, &mut looking).await {
            Ok(sight) => sight,
            Err(_late) => {
                tracing::error!("a look at {LOOKED_AT} has not ended after {limit:?}, and is waited for");
                self.metrics.hangs(LOOKED_AT, Some(limit));
                let sight = looking.await;
                self.metrics.hangs(LOOKED_AT, None);
                sight
            }
        };
        // It has panicked, and said so: what is known stays.
        sight.unwrap_or_else(Sight::unseen)
    }

    /// Takes in what was done since, forgets what was said of what is there no more, and says what cannot be read.
    fn begin(&mut self, sight: &Sight) {
        while let Some(outcome) = self.work.ready() {
            self.take(&outcome);
        }
        let found = || sight.found.iter();
        let keys: BTreeSet<String> = found().map(|(plugin, leftover)| tell::key(plugin, leftover)).collect();
        self.said.retain(|key, _| keys.contains(key) || sight.odd.contains(key));
        let owners: BTreeSet<String> =
            found().filter_map(|(_, leftover)| Some(leftover.record.as_ref()?.owner.key())).collect();
        self.reserved.retain(|owner, _| owners.contains(owner));
        for text in &sight.odd {
            if self.said.insert(text.clone(), text.clone()).is_none() {
                tracing::warn!("passed over: {text}");
            }
        }
    }

    /// Has each group's attachments put back beside the others', and tells of each as soon as it is done. A group that hangs
    /// keeps no other, and goes on by itself.
    async fn act(&mut self, found: Vec<(Plugin, Leftover)>, word: &Word) -> Vec<Outcome> {
        let started = self.work.begin(found, word);
        let (mut outcomes, mut late) = (Vec::new(), pin!(tokio::time::sleep(LONGEST)));
        while self.work.is_at(&started) {
            tokio::select! {
                outcome = self.work.next() => outcomes.extend(outcome.inspect(|outcome| self.take(outcome))),
                () = &mut late => {
                    self.metrics.reconciled("failed");
                    let what = self.work.hanging(&started);
                    tracing::error!(
                        "what pods left at {what} is not put back after {LONGEST:?}; it is waited for, and others go on"
                    );
                    break;
                }
            }
            // What is there already is told with it.
            while let Some(outcome) = self.work.ready() {
                self.take(&outcome);
                outcomes.push(outcome);
            }
            self.send();
        }
        outcomes
    }

    /// Says what became of an attachment, once, and counts it.
    fn take(&mut self, outcome: &Outcome) {
        let (key, text) = (outcome.key(), outcome.text());
        outcome.tell(&self.metrics, self.said.get(&key) != Some(&text));
        self.said.insert(key, text);
        if outcome.leftover.claimed {
            let (plugin, device) = (outcome.plugin.name, &outcome.leftover.device);
            self.found.retain(|(by, id, _)| *by != plugin || id.to_string() != *device);
            self.found.extend(outcome.unclean());
        }
    }

    /// What was unclean by the state of a plugin that is `unseen` stays so.
    fn publish(&mut self, mut found: Vec<Dirty>, unseen: &[&'static str]) {
        found.extend(self.found.drain(..).filter(|(plugin, ..)| unseen.contains(plugin)));
        self.found = found;
        self.send();
    }

    /// Bars what is unclean from being given, and tells of it. The first is news in any case: somebody waits for it.
    fn send(&mut self) {
        let found = self.found.iter().map(|(_, device, why)| (device.clone(), why.clone()));
        let found: BTreeMap<DeviceId, String> = found.collect();
        self.setup.grants.bar(found.clone(), Instant::now());
        let unclean = found.into_iter().collect();
        let first = !std::mem::replace(&mut self.published, true);
        self.unclean.send_if_modified(|last| {
            let changed = first || *last != unclean;
            *last = unclean;
            changed
        });
    }

    /// Has IPAM plugins give back the addresses of what is put back, one round at a time: one that hangs must not keep
    /// devices from being put back.
    async fn release(&mut self, outcomes: &[Outcome]) {
        if let Some(releases) = self.releases.take_if(|releases| releases.is_finished()) {
            for (record, released) in releases.await.unwrap_or_default() {
                self.tell_release(&record, &released);
            }
        }
        let due: Vec<(Plugin, Record)> = outcomes.iter().filter_map(Outcome::to_release).collect();
        if due.is_empty() || self.releases.is_some() {
            return;
        }
        let (path, wake) = (self.setup.ipam.clone(), self.wake.clone());
        self.releases = Some(tokio::spawn(async move {
            let all = move || {
                let one = |(plugin, record): (Plugin, Record)| {
                    let released = pass::release(&plugin, &record, &path);
                    (record, released)
                };
                due.into_iter().map(one).collect::<Vec<_>>()
            };
            let released = on_thread(all).await.unwrap_or_default();
            if released.iter().any(|(_, released)| matches!(released, Released::Yes)) {
                wake.notify_one();
            }
            released
        }));
    }

    fn tell_release(&mut self, record: &Record, released: &Released) {
        let (device, container) = (&record.device, &record.owner.container_id);
        let ipam = record.ipam.as_deref().unwrap_or_default();
        let text = match released {
            Released::Yes => {
                self.metrics.reconciled("released");
                self.reserved.remove(&record.owner.key());
                tracing::info!(device, container, ipam, "released the addresses of a pod that is gone");
                return;
            }
            Released::NoPlugin if record.sandbox.id.is_none() => {
                "the Go plugin kept too little of its IPAM configuration; a DEL or GC can release them"
                    .to_owned()
            }
            Released::NoPlugin => {
                "its IPAM plugin is not in --cni-bin-dir; a DEL or GC can release them".to_owned()
            }
            Released::Failed(error) => error.clone(),
        };
        if self.reserved.insert(record.owner.key(), text.clone()).as_ref() == Some(&text) {
            return;
        }
        if matches!(released, Released::Failed(_)) {
            self.metrics.reconciled("failed");
        }
        tracing::warn!(device, container, ipam, "the addresses of a pod that is gone stay reserved: {text}");
    }

    fn pause(&self, outcomes: &[Outcome], sight: &Sight) -> Duration {
        let interval = self.setup.interval;
        // A pod that is over, and which the kubelet is about to forget: then its device may be given to another.
        let ends = |outcome: &Outcome| {
            outcome.verdict.act == Act::Leave && matches!(outcome.leftover.life, Life::Over(_))
        };
        if outcomes.iter().any(|outcome| ends(outcome) || matches!(outcome.done, Done::Otherwise)) {
            return BUSY.min(interval);
        }
        let waits =
            |outcome: &Outcome| outcome.verdict.act == Act::Wait || matches!(outcome.done, Done::Failed(_));
        let again = outcomes.iter().any(waits) || self.work.is_at_any() || !sight.unseen.is_empty();
        if again { WAITING.min(interval) } else { interval }
    }
}

/// What is not to be handed out, before anything is done.
fn unclean(found: &[(Plugin, Leftover)], word: &Word) -> Vec<Dirty> {
    let one = |(plugin, leftover): &(Plugin, Leftover)| {
        let verdict = word.decide(leftover);
        let device = leftover.device.parse().ok().filter(|_| verdict.unclean)?;
        Some((plugin.name, device, verdict.why))
    };
    found.iter().filter_map(one).collect()
}

/// Whether it is to be put back whatever the kubelet says.
fn is_certain(leftover: &Leftover) -> bool {
    matches!(decide(leftover, Holding::Untold).act, Act::Restore | Act::Forget)
}

/// Whether a pod that is over keeps its device by the checkpoint alone, which the kubelet brings up to date at a list.
fn is_kept_by_account(outcome: &Outcome, word: &Word) -> bool {
    let over = matches!(outcome.leftover.life, Life::Over(_));
    let by_account =
        |holding| matches!(holding, Holding::By(holder) if matches!(holder.pod, PodName::Uid(_)));
    over && matches!(outcome.verdict.act, Act::Leave | Act::Wait)
        && by_account(word.holding(&outcome.leftover))
}

#[cfg(test)]
mod tests;
