//! The fronts by which the pools face the kubelet, each with the channel that feeds it.
//! It must not decide what is in a pool.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Error;
use crate::device_info::Host;
use crate::kubelet::{self, Front, Kubelet, Restarts};
use crate::pool::Pool;

/// The fronts at work, and the channels that feed them.
pub(super) struct Fronts {
    kubelet: Kubelet,
    pub(super) host: Arc<Host>,
    /// Made with the first front: without one nobody needs the kubelet.
    restarts: Option<Restarts>,
    pools: Vec<watch::Sender<Arc<Pool>>>,
    tasks: JoinSet<Result<(), Error>>,
}

impl Fronts {
    pub(super) fn new(kubelet: Kubelet, host: Host) -> Self {
        Self { kubelet, host: Arc::new(host), restarts: None, pools: Vec::new(), tasks: JoinSet::new() }
    }

    pub(super) async fn open(&mut self, pool: Pool) -> Result<(), Error> {
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
    pub(super) async fn failed(&mut self) -> Error {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Ends every stream, then every server, then removes the sockets.
    pub(super) async fn close(mut self) {
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
