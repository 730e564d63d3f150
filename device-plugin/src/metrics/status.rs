//! Where each pool and the configuration stand, and what of it keeps the daemon from being ready.
//! It must not count; it knows only how things are now.

use std::collections::BTreeMap;

use serde::Serialize;

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
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
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
    registrations: BTreeMap<String, Registration>,
}

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

    /// Whether it is another than before.
    pub(super) fn registration(&mut self, resource: &Resource, state: Registration) -> bool {
        let name = resource.to_string();
        let changed = self.registrations.get(&name) != Some(&state);
        self.registrations.insert(name, state);
        changed
    }

    pub(super) fn forget(&mut self, resource: &Resource) {
        self.registrations.remove(&resource.to_string());
    }

    /// A file that cannot be served is no reason to be taken for dead: the last good one is served.
    pub(super) fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.generation == 0 {
            reasons.push("no configuration is served yet".to_owned());
        }
        let pools = self.registrations.iter();
        reasons.extend(
            pools.filter_map(|(pool, state)| state.reason().map(|reason| format!("pool {pool}: {reason}"))),
        );
        let ready = reasons.is_empty();
        let wrong = self.wrong.iter();
        reasons.extend(wrong.map(|wrong| format!("the configuration before it is served: {wrong}")));
        Readiness { ready, reasons }
    }
}
