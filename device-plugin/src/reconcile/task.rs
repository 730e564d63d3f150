//! When to look for what is left behind: at start, when the node changed, at an interval; and what is said of it.
//! It must not decide or do anything by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use attachment::{Life, Record};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use super::decide::{Act, decide};
use super::pass::{self, Done, Outcome, Plugin, Released, Sight};
use super::unclean::Unclean;
use crate::holdings::{self, Held, Sources};
use crate::inventory::DeviceId;
use crate::metrics::Metrics;

/// How long the pools wait for what is put back at once, so that after a reboot the kubelet hears of clean devices only. What
/// takes longer is unhealthy meanwhile.
const FIRST: Duration = Duration::from_millis(100);
/// How long they wait for the kubelet's word on what was found. One that is silent may be as long as it likes: what it could
/// clear is unhealthy until it speaks.
const WORD: Duration = Duration::from_millis(100);
/// No two looks are closer: what is done to a link is itself news of the node.
const GAP: Duration = Duration::from_millis(100);
/// How soon to look again where somebody is busy with a device.
const BUSY: Duration = Duration::from_secs(1);
/// How soon to look again where something could not be put back yet.
const WAITING: Duration = Duration::from_secs(5);

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
    /// How often to look where nothing happens.
    pub interval: Duration,
}

/// The reconciler at work. It ends with this.
#[derive(Debug)]
pub struct Handle {
    unclean: watch::Receiver<Unclean>,
    wake: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Handle {
    /// The devices that must not be handed out, as they change.
    pub fn unclean(&self) -> watch::Receiver<Unclean> {
        self.unclean.clone()
    }

    /// The node has changed: look now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// One that never finds anything, for who has switched it off.
    pub fn idle() -> Self {
        Self { unclean: watch::channel(Unclean::default()).1, wake: Arc::default(), task: None }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Starts it, and returns when it knows what is unclean and has put back what takes no time.
pub async fn start(setup: Setup, metrics: Metrics) -> Handle {
    let (unclean, mut receiver) = watch::channel(Unclean::default());
    let wake = Arc::<Notify>::default();
    let (done, first) = oneshot::channel();
    let keeper = Keeper {
        setup,
        metrics,
        unclean,
        found: Vec::new(),
        published: false,
        wake: wake.clone(),
        said: BTreeMap::new(),
        reserved: BTreeMap::new(),
        releases: None,
    };
    let task = tokio::spawn(keeper.run(done));
    // Whatever it takes: until then nobody knows what is clean.
    let _ = receiver.changed().await;
    if tokio::time::timeout(FIRST, first).await.is_err() {
        tracing::info!(
            "pods left more behind than is put back at once; those devices are unhealthy until they are"
        );
    }
    Handle { unclean: receiver, wake, task: Some(task) }
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
    /// What was said last of each attachment, so that it is said once.
    said: BTreeMap<String, String>,
    /// The same of addresses that stay reserved.
    reserved: BTreeMap<String, String>,
    /// IPAM plugins at work.
    releases: Option<JoinHandle<Vec<(Record, Released)>>>,
}

impl Keeper {
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
        let (state, sysfs) = (self.setup.state.clone(), self.setup.sysfs.clone());
        let sight = on_thread(move || pass::look(&Plugin::all(&state, &sysfs))).await;
        // It has panicked, and said so: what is known stays.
        let sight = sight.unwrap_or_else(Sight::unseen);
        let held = if sight.found.iter().all(|(_, leftover)| leftover.life == Life::Alive) {
            None
        } else {
            self.held(&sight).await
        };
        self.publish(unclean(&sight, held.as_ref()), &sight.unseen);
        let (odd, unseen) = (sight.odd.clone(), sight.unseen.clone());
        let acted = held.clone();
        let outcomes = on_thread(move || pass::act(sight, acted.as_ref())).await;
        if let Some(outcomes) = &outcomes {
            self.publish(outcomes.iter().filter_map(Outcome::unclean).collect(), &unseen);
        }
        let outcomes = outcomes.unwrap_or_default();
        self.tell(&outcomes, odd);
        self.release(&outcomes).await;
        self.pause(&outcomes)
    }

    /// What the kubelet says. Somebody waits for the first look: he is not to wait for a kubelet that is silent.
    async fn held(&mut self, sight: &Sight) -> Option<Held> {
        let sources = self.setup.sources.clone();
        let mut asked = pin!(holdings::read(&sources));
        let at_once = tokio::time::timeout(WORD, &mut asked).await;
        let told = if let Ok(told) = at_once {
            told
        } else {
            if !self.published {
                self.publish(unclean(sight, None), &sight.unseen);
            }
            asked.await
        };
        told.inspect_err(|error| tracing::debug!("{error}")).ok()
    }

    /// What was unclean by the state of a plugin that is `unseen` stays so. The first is news in any case: somebody waits
    /// for it.
    fn publish(&mut self, mut found: Vec<Dirty>, unseen: &[&'static str]) {
        found.extend(self.found.drain(..).filter(|(plugin, ..)| unseen.contains(plugin)));
        self.found = found;
        let unclean = self.found.iter().map(|(_, device, why)| (device.clone(), why.clone())).collect();
        let first = !std::mem::replace(&mut self.published, true);
        self.unclean.send_if_modified(|last| {
            let changed = first || *last != unclean;
            *last = unclean;
            changed
        });
    }

    /// Says and counts what is new.
    fn tell(&mut self, outcomes: &[Outcome], odd: Vec<String>) {
        let mut said = BTreeMap::new();
        for outcome in outcomes {
            let (key, text) = (outcome.key(), outcome.text());
            let is_new = self.said.get(&key) != Some(&text);
            outcome.tell(&self.metrics, is_new);
            said.insert(key, text);
        }
        for text in odd {
            if !self.said.contains_key(&text) {
                tracing::warn!("passed over: {text}");
            }
            said.insert(text.clone(), text);
        }
        self.said = said;
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

    fn pause(&self, outcomes: &[Outcome]) -> Duration {
        let interval = self.setup.interval;
        if outcomes.iter().any(|outcome| matches!(outcome.done, Done::Otherwise)) {
            return BUSY.min(interval);
        }
        let waits =
            |outcome: &Outcome| outcome.verdict.act == Act::Wait || matches!(outcome.done, Done::Failed(_));
        if outcomes.iter().any(waits) { WAITING.min(interval) } else { interval }
    }
}

/// What is not to be handed out, before anything is done.
fn unclean(sight: &Sight, held: Option<&Held>) -> Vec<Dirty> {
    let one = |(plugin, leftover): &(Plugin, attachment::Leftover)| {
        let verdict = decide(leftover, pass::holding(leftover, held));
        let device = leftover.device.parse().ok().filter(|_| verdict.unclean)?;
        Some((plugin.name, device, verdict.why))
    };
    sight.found.iter().filter_map(one).collect()
}

/// Runs blocking work in a thread that ends with it: it steps into network namespaces, and one from which there was no way
/// back must not be met again. `None` where it panicked.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name("reconcile".into()).spawn(move || {
        // Nobody listens where the daemon is ending.
        let _ = sender.send(work());
    });
    if let Err(error) = started {
        tracing::error!("cannot start a thread: {error}");
        return None;
    }
    receiver.await.ok()
}

#[cfg(test)]
mod tests;
