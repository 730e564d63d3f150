//! The threads that put things back, one for each group of attachments that could stop each other, and what they tell.
//! It must not wait for one that hangs, nor begin another for the same group.

use std::collections::{BTreeMap, BTreeSet};

use attachment::Leftover;
use tokio::sync::{mpsc, oneshot};

use super::pass::{self, Outcome, Plugin, Word};

/// What a thread tells.
#[derive(Debug)]
enum Event {
    /// What became of one attachment.
    Became(Box<Outcome>),
    /// The group is done with.
    Over(String),
}

/// The groups that a call of [`Work::begin`] has begun with.
pub(super) type Started = BTreeSet<String>;

/// All threads at work.
pub(super) struct Work {
    busy: BTreeSet<String>,
    teller: mpsc::UnboundedSender<Event>,
    told: mpsc::UnboundedReceiver<Event>,
}

impl Work {
    pub(super) fn new() -> Self {
        let (teller, told) = mpsc::unbounded_channel();
        Self { busy: BTreeSet::new(), teller, told }
    }

    /// Has done what is decided of these, each group's one after the other. Groups at which a thread is still at work are left
    /// out.
    pub(super) fn begin(&mut self, found: Vec<(Plugin, Leftover)>, word: &Word) -> Started {
        let mut groups: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (plugin, leftover) in found {
            groups.entry(pass::group(&leftover)).or_default().push((plugin, leftover));
        }
        groups.retain(|group, _| !self.busy.contains(group));
        let mut started = Started::new();
        for (group, found) in groups {
            let (over, word) = (Over { teller: self.teller.clone(), group: group.clone() }, word.clone());
            let began = thread(move || {
                // Nobody listens where the daemon is ending.
                pass::act(found, &word, |outcome| drop(over.teller.send(Event::Became(Box::new(outcome)))));
                drop(over);
            });
            if began {
                self.busy.insert(group.clone());
                started.insert(group);
            }
        }
        started
    }

    /// Whether any of these groups is not done with.
    pub(super) fn is_at(&self, started: &Started) -> bool {
        !started.is_disjoint(&self.busy)
    }

    /// Whether any group is not done with.
    pub(super) fn is_at_any(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Those of these groups that are not done with, in words.
    pub(super) fn hanging(&self, started: &Started) -> String {
        let hanging: Vec<&str> = started.intersection(&self.busy).map(String::as_str).collect();
        hanging.join(", ")
    }

    /// Waits for the next outcome; `None`: a group is done with. May be given up and begun again.
    pub(super) async fn next(&mut self) -> Option<Outcome> {
        let event = self.told.recv().await;
        event.and_then(|event| self.take(event))
    }

    /// The next outcome that is there already.
    pub(super) fn ready(&mut self) -> Option<Outcome> {
        while let Ok(event) = self.told.try_recv() {
            let outcome = self.take(event);
            if outcome.is_some() {
                return outcome;
            }
        }
        None
    }

    fn take(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Became(outcome) => Some(*outcome),
            Event::Over(group) => {
                self.busy.remove(&group);
                None
            }
        }
    }
}

/// Tells of the end of a group's thread, however it ends.
struct Over {
    teller: mpsc::UnboundedSender<Event>,
    group: String,
}

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.teller.send(Event::Over(std::mem::take(&mut self.group)));
    }
}

/// Runs blocking work in a thread that ends with it: it steps into network namespaces, and one from which there was no way
/// back must not be met again. Whether it began.
fn thread(work: impl FnOnce() + Send + 'static) -> bool {
    let started = std::thread::Builder::new().name("reconcile".into()).spawn(work);
    if let Err(error) = &started {
        tracing::error!("cannot start a thread: {error}");
    }
    started.is_ok()
}

/// What blocking work in a thread of its own gives; `None` where it panicked.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    // Nobody listens where the daemon is ending.
    thread(move || drop(sender.send(work())));
    receiver.await.ok()
}
