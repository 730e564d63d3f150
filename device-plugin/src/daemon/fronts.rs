//! The fronts by which the pools face the kubelet, each with the channel that feeds it, and the CDI files beside them.
//! It must not decide what is in a pool.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Error;
use crate::config::{PoolConfig, Resource};
use crate::device_info::{Host, cdi};
use crate::kubelet::{Folder, Front};
use crate::metrics::Metrics;
use crate::pool::{Hearing, Holds, Pool};

/// The fronts at work, and the channels that feed them.
pub(super) struct Fronts {
    folder: Folder,
    host: Arc<Host>,
    metrics: Metrics,
    open: BTreeMap<Resource, watch::Sender<Arc<Pool>>>,
    /// Pools that are no more, whose CDI files are there for the pods that hold their devices.
    retired: BTreeMap<Resource, Arc<Pool>>,
    /// Whether there may be CDI files of an earlier run that are no pool's now.
    left: bool,
    /// Pools whose CDI file could not be written as they are.
    unspecified: BTreeSet<Resource>,
    tasks: JoinSet<(Resource, Result<(), Error>)>,
}

impl Fronts {
    pub(super) fn new(folder: Folder, host: Host, metrics: Metrics) -> Self {
        Self {
            left: host.cdi.is_some(),
            unspecified: BTreeSet::new(),
            folder,
            host: Arc::new(host),
            metrics,
            open: BTreeMap::new(),
            retired: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Shows the kubelet these pools and no others. A pool that is shown already keeps its socket and its stream, and sends
    /// only where its list has changed; one that never had a device is not shown; one that is no more sends an empty list
    /// and ends. All is done that can be, and what could not is tried again the next time.
    pub(super) fn show(&mut self, pools: &[Arc<Pool>], hearing: &Hearing) -> Vec<Error> {
        let mut errors = Vec::new();
        self.retire(pools);
        errors.extend(self.clear_away(pools, hearing.holds()).err());
        self.clear_left(pools, hearing);
        // Nothing waits until every pool that is shown has its new list: else a device could be allocated from the pool
        // that it has left after another one has it.
        // What loses a device comes first: no two CDI files should have it, not even for a moment.
        let shown = pools.iter().filter_map(|pool| Some((self.open.get(&pool.config.resource)?, pool)));
        let (losing, others): (Vec<_>, Vec<_>) = shown.partition(loses);
        for (front, pool) in losing.into_iter().chain(others) {
            let specified = update(front, pool, &self.host, self.unspecified.remove(&pool.config.resource));
            if let Err(error) = specified {
                self.unspecified.insert(pool.config.resource.clone());
                errors.push(error);
            }
        }
        for pool in pools {
            if !pool.devices.is_empty() && !self.open.contains_key(&pool.config.resource) {
                errors.extend(self.open(pool.clone()).err());
            }
        }
        if hearing.lags() {
            errors.extend(self.remind(pools));
        }
        errors
    }

    /// Sends a list that the kubelet has already, and has it write its checkpoint with that: else a pod that is over would
    /// stay there until the node's next allocation. Where no pool is shown, one without a device is.
    pub(super) fn remind(&mut self, pools: &[Arc<Pool>]) -> Option<Error> {
        match (self.open.values().next(), pools.first()) {
            (Some(front), _) => front.send_modify(|_| {}),
            (None, Some(pool)) => return self.open(pool.clone()).err(),
            (None, None) => {}
        }
        None
    }

    fn open(&mut self, pool: Arc<Pool>) -> Result<(), Error> {
        let resource = pool.config.resource.clone();
        let failed = |source| Error::Front { resource: resource.clone(), source };
        self.folder.check(&resource).map_err(|error| failed(error.into()))?;
        self.host.specify_or_remove(&pool)?;
        let (sender, receiver) = watch::channel(pool);
        let front = Front::new(self.folder.clone(), receiver, self.host.clone(), self.metrics.clone());
        self.open.insert(resource.clone(), sender);
        self.tasks.spawn(async move {
            let served = front.serve().await;
            (resource.clone(), served.map_err(|source| Error::Front { resource, source }))
        });
        Ok(())
    }

    /// Ends the fronts of pools that are no more.
    fn retire(&mut self, pools: &[Arc<Pool>]) {
        let stays = |resource: &Resource| pools.iter().any(|pool| pool.config.resource == *resource);
        for (resource, front) in self.open.extract_if(.., |resource, _| !stays(resource)) {
            let last = front.borrow().clone();
            // A stream passes on what it has not seen yet before it ends with its sender.
            front.send_replace(Arc::new(last.emptied()));
            tracing::info!(pool = %resource, "not in the configuration any more; the pool has ended");
            self.retired.insert(resource, last);
        }
    }

    /// Takes out of the CDI files of retired pools what no pod holds any more: two files must not have one device.
    fn clear_away(&mut self, pools: &[Arc<Pool>], holds: &Holds) -> Result<(), Error> {
        for pool in pools {
            self.retired.remove(&pool.config.resource);
        }
        let mut done = Ok(());
        self.retired.retain(|resource, pool| {
            let name = resource.to_string();
            let mut left = Pool::clone(pool);
            left.devices.retain(|device| holds.get(&device.id()) == Some(&name));
            let fewer = left.devices.len() < pool.devices.len();
            if (fewer || !self.host.is_specified(&left))
                && let Err(error) = self.host.specify_or_remove(&left)
            {
                done = Err(error.into());
                return true;
            }
            *pool = Arc::new(left);
            !pool.devices.is_empty()
        });
        done
    }

    /// Takes out of the CDI files of an earlier run what no pod holds as what they are of: two files must not have one
    /// device, and a container of a pod that runs may be started again. While the holders are not known, what is not offered
    /// stays.
    fn clear_left(&mut self, pools: &[Arc<Pool>], hearing: &Hearing) {
        let Some(cdi) = self.host.cdi.as_ref().filter(|_| self.left) else { return };
        let ours = pools.iter().filter(|pool| !pool.devices.is_empty()).chain(self.retired.values());
        let ours: Vec<&PoolConfig> = ours.map(|pool| &*pool.config).collect();
        let stays = |file: &str, device: &str| {
            let Ok(id) = device.parse() else { return false };
            match hearing.holds().get(&id) {
                Some(resource) => cdi::is_file_of(file, resource),
                None => !hearing.is_answered() && !pools.iter().any(|pool| pool.has(&id)),
            }
        };
        self.left = cdi.cut_others(&ours, stays);
    }

    /// A front that ended by itself is forgotten, so that it is opened again; pending while none does.
    pub(super) async fn failed(&mut self) -> Error {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((resource, Err(error))) = ended {
                self.open.remove(&resource);
                return error;
            }
        }
        std::future::pending().await
    }

    /// Ends every stream, then every server, then removes the sockets.
    pub(super) async fn close(mut self) {
        self.open.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Whether a device that is shown is not in the pool any more.
fn loses((front, pool): &(&watch::Sender<Arc<Pool>>, &Arc<Pool>)) -> bool {
    let before = front.borrow();
    !Arc::ptr_eq(&before, pool) && before.devices.iter().any(|device| !pool.has(&device.id()))
}

/// The kubelet hears of it only where its list is another one; whoever allocates has the newest in any case.
fn update(
    front: &watch::Sender<Arc<Pool>>,
    pool: &Arc<Pool>,
    host: &Host,
    unspecified: bool,
) -> Result<(), Error> {
    let before = front.borrow().clone();
    if Arc::ptr_eq(&before, pool) && !unspecified && host.is_specified(pool) {
        return Ok(());
    }
    let specified = host.specify_or_remove(pool);
    front.send_if_modified(|shown| {
        *shown = pool.clone();
        !pool.lists_as(&before)
    });
    Ok(specified?)
}
