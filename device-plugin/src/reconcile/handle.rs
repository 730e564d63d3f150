//! The reconciler as the rest of the daemon has it: what is unclean, the first look, and a way to wake it.
//! It must not look for anything itself.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use super::unclean::Unclean;

/// How long the pools wait for what is put back at once, so that after a reboot the kubelet hears of clean devices only. What
/// takes longer is unhealthy meanwhile.
const FIRST: Duration = Duration::from_millis(150);

/// The reconciler at work. It ends with this.
#[derive(Debug)]
pub struct Handle {
    pub(super) unclean: watch::Receiver<Unclean>,
    pub(super) wake: Arc<Notify>,
    pub(super) lags: Arc<Notify>,
    pub(super) first: Option<oneshot::Receiver<()>>,
    pub(super) task: Option<JoinHandle<()>>,
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

    /// Waits until it knows what is unclean, and a moment for it to put that back.
    pub async fn first(&mut self) {
        let Some(first) = self.first.take() else { return };
        let mut late = pin!(tokio::time::sleep(FIRST));
        // Whatever it takes: until then nobody knows what is clean.
        let _ = self.unclean.changed().await;
        tokio::select! {
            _ = first => {}
            () = &mut late => tracing::info!(
                "pods left more behind than is put back at once; those devices are unhealthy until they are"
            ),
        }
    }

    /// Waits until the kubelet's accounts keep a device from being put back that the kubelet itself does not name.
    pub async fn lags(&self) {
        self.lags.notified().await;
    }

    /// One that never finds anything, for who has switched it off.
    pub fn idle() -> Self {
        let (wake, lags) = Default::default();
        Self { unclean: watch::channel(Unclean::default()).1, wake, lags, first: None, task: None }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
