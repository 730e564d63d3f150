//! What was heard of the holders of devices, and what follows: when to ask, and which device stays where it is.
//! It must not ask the kubelet: what that says comes in by `told` and `untold`.

use std::sync::Arc;
use std::time::Instant;

use super::{Grants, Holds, Pool, Why, build};
use crate::config::PoolConfig;
use crate::holdings::Agreed;
use crate::inventory::Snapshot;
use crate::reconcile::Unclean;

/// A pool, and why it is empty where it is.
pub type Built = (Pool, Option<Why>);

/// What the pools are made of, beside what is held.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What is asked for.
    pub configs: &'a [PoolConfig],
    /// The node.
    pub snapshot: &'a Snapshot,
    /// What may not be handed out.
    pub unclean: &'a Unclean,
}

/// What was heard of the holders.
#[derive(Debug)]
pub struct Hearing {
    /// What this process has given.
    grants: Grants,
    /// What the kubelet told last, and when it was asked; `None` before it ever did.
    told: Option<(Holds, Instant)>,
    /// Whether the last question had an answer.
    answered: bool,
    /// Whether the kubelet's accounts have what it does not name.
    lags: bool,
    /// What the pools were made with.
    used: Holds,
    /// Whether a device is where it is for no other reason than that it is held.
    keeps: bool,
}

impl Hearing {
    /// Nothing was heard yet.
    pub fn new(grants: Grants) -> Self {
        let used = Holds::default();
        Self { grants, told: None, answered: true, lags: false, used, keeps: false }
    }

    /// What the pools were made with: which device is held as what.
    pub fn holds(&self) -> &Holds {
        &self.used
    }

    /// Whether the last question had an answer: else more may be held than is known.
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether to ask again though nothing happens: nobody tells of a pod's end.
    pub fn waits(&self) -> bool {
        !self.answered || self.keeps
    }

    /// Whether a device is kept where it is, and the kubelet could know better once it has brought its checkpoint up to date.
    pub fn lags(&self) -> bool {
        self.answered && self.lags && self.keeps
    }

    /// Waits until what was heard is in doubt.
    pub async fn doubted(&self) {
        self.grants.doubted().await;
    }

    /// Whether to ask before the pools are made: a device would leave its pool, or is in one, or in none, only because it
    /// was held.
    pub fn must_ask(&self, scene: Scene<'_>, pools: &[Arc<Pool>], now: Instant) -> bool {
        let holds = self.known(now);
        let built = scene.build(&holds);
        self.told.is_none() || loses_any(pools, &built) || scene.keeps(&built, &holds)
    }

    /// The kubelet's answer to a question of `asked`.
    pub fn told(&mut self, answer: &Agreed, asked: Instant) {
        self.told = Some((Holds::from(&answer.held), asked));
        self.lags = answer.lags;
        self.answered = true;
    }

    /// There was no answer. Whether that is news.
    pub fn untold(&mut self) -> bool {
        std::mem::replace(&mut self.answered, false)
    }

    /// Makes the pools anew. Without an answer every device of `pools`, which were the pools until now, stays where it is.
    pub fn settle(&mut self, scene: Scene<'_>, pools: &[Arc<Pool>], now: Instant) -> Vec<Built> {
        let mut holds = self.known(now);
        if !self.answered {
            holds.all_in_place(pools);
        }
        let built = scene.build(&holds);
        self.keeps = scene.keeps(&built, &holds);
        self.used = holds;
        built
    }

    /// What the kubelet told, and what we gave since. Without an answer also what was held before, pool or no pool: nothing
    /// says that it is free.
    fn known(&self, now: Instant) -> Holds {
        let (mut holds, asked) = self.told.clone().unwrap_or_else(|| (Holds::default(), now));
        self.grants.add_to(&mut holds, asked);
        if !self.answered {
            holds.add(&self.used);
        }
        holds
    }
}

impl Scene<'_> {
    fn build(self, holds: &Holds) -> Vec<Built> {
        build(self.configs, self.snapshot, holds, self.unclean)
    }

    /// Whether a device is where it is, or in no pool, for no other reason than that it is held.
    fn keeps(self, built: &[Built], holds: &Holds) -> bool {
        let has_pool = |name: &str| built.iter().any(|(pool, _)| pool.config.resource.to_string() == name);
        let withheld = |(id, name): (&_, &str)| self.snapshot.get(id).is_some() && !has_pool(name);
        built.iter().any(|(pool, _)| !pool.kept.is_empty()) || holds.iter().any(withheld)
    }
}

/// Whether a device would leave the pool in which it is.
fn loses_any(pools: &[Arc<Pool>], built: &[Built]) -> bool {
    let pool_of = |resource: &_| built.iter().find(|(pool, _)| pool.config.resource == *resource);
    pools.iter().any(|before| match pool_of(&before.config.resource) {
        Some((pool, _)) => before.devices.iter().any(|device| !pool.has(&device.id())),
        None => !before.devices.is_empty(),
    })
}
