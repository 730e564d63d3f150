//! Where each pool and the configuration stand, and what of it keeps the daemon from being ready.
//! It must not count; it knows only how things are now.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Resource;

/// Where a pool stands with the kubelet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Registration {
    /// The kubelet has not been heard of yet, or not again.
    Waiting(String),
    /// The kubelet does not take it.
    Refused(String),
    /// It could not be served, or the kubelet could not be told.
    Failed(String),
    /// The kubelet has it.
    Registered,
}

/// The answer to a readiness probe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Readiness {
    /// Whether everything that is to be served is.
    pub ready: bool,
    /// What keeps it from that, or is to be known although it does not.
    pub reasons: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Status {
    generation: u64,
    wrong: Option<String>,
    registrations: BTreeMap<String, (Epoch, Option<Registration>)>,
    /// What is looked at, and for how long, where that does not end.
    hangs: BTreeMap<&'static str, Duration>,
}

/// Which front of a pool: a later one is greater.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub(super) u64);

impl Registration {
    /// How an attempt has ended.
    pub(super) fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Waiting(_) => None,
            Self::Refused(_) => Some("refused"),
            Self::Failed(_) => Some("failed"),
            Self::Registered => Some("registered"),
        }
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::Registered => None,
            Self::Waiting(why) | Self::Failed(why) => Some(why.clone()),
            Self::Refused(why) => Some(format!("refused by the kubelet: {why}")),
        }
    }
}

impl Status {
    pub(super) fn configuration(&mut self, generation: u64, wrong: Option<String>) {
        self.generation = generation;
        self.wrong = wrong;
    }

    /// Whether that front may speak for the pool: no later one has.
    pub(super) fn begin(&mut self, resource: &Resource, epoch: Epoch) -> bool {
        let entry = self.registrations.entry(resource.to_string()).or_insert((epoch, None));
        entry.0 = entry.0.max(epoch);
        entry.0 == epoch
    }

    /// Whether it is another than before.
    pub(super) fn registration(&mut self, resource: &Resource, state: Registration) -> bool {
        let entry = self.registrations.entry(resource.to_string()).or_default();
        entry.1.replace(state.clone()) != Some(state)
    }

    /// Whether the pool was that front's.
    pub(super) fn forget(&mut self, resource: &Resource, epoch: Epoch) -> bool {
        let name = resource.to_string();
        let own = self.registrations.get(&name).is_some_and(|(last, _)| *last == epoch);
        own && self.registrations.remove(&name).is_some()
    }

    pub(super) fn hangs(&mut self, what: &'static str, since: Option<Duration>) {
        match since {
            Some(since) => self.hangs.insert(what, since),
            None => self.hangs.remove(what),
        };
    }

    /// A daemon that cannot look at its node any more knows of no change.
    pub(super) fn trouble(&self) -> Option<String> {
        let one = |(what, since): (&&str, &Duration)| format!("a look at {what} has not ended for {since:?}");
        let all: Vec<String> = self.hangs.iter().map(one).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// A file that cannot be served is no reason to be taken for dead: the last good one is served.
    pub(super) fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.generation == 0 {
            reasons.push("no configuration is served yet".to_owned());
        }
        let pools = self.registrations.iter();
        reasons
            .extend(pools.filter_map(|(pool, (_, state))| {
                Some(format!("pool {pool}: {}", state.as_ref()?.reason()?))
            }));
        let ready = reasons.is_empty();
        reasons.extend(self.trouble());
        let wrong = self.wrong.iter();
        reasons.extend(wrong.map(|wrong| format!("the configuration before it is served: {wrong}")));
        Readiness { ready, reasons }
    }
}
