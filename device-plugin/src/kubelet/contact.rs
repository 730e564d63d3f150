//! What has been heard of the kubelet about one pool: whether it took it, and whether it listens.
//! It must not act on it; the front does.

use std::time::Duration;

use tokio::sync::watch;

use crate::config::Resource;
use crate::metrics::{Epoch, Metrics, Registration};

/// How long nobody may listen before a pool takes itself for forgotten. A kubelet that starts again looks at the sockets
/// in its folder each second (`pkg/kubelet/pluginmanager/plugin_manager.go`).
const GRACE: Duration = Duration::from_millis(1500);

/// One pool's line to the kubelet. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    resource: Resource,
    metrics: Metrics,
    epoch: Epoch,
    streams: watch::Sender<Streams>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    now: usize,
    ever: bool,
    /// What is heard from now on is of what was before.
    closed: bool,
}

/// An open `ListAndWatch`. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Listening(Contact);

impl Contact {
    pub(super) fn new(resource: Resource, metrics: Metrics, epoch: Epoch) -> Self {
        Self { resource, metrics, epoch, streams: watch::Sender::default() }
    }

    /// Where the pool stands now.
    pub(super) fn is(&self, state: Registration) {
        if !self.streams.borrow().closed {
            self.metrics.registration(&self.resource, self.epoch, state);
        }
    }

    /// Nothing that is still heard counts: a stream may end after its successor has begun.
    pub(super) fn close(&self) {
        self.streams.send_modify(|streams| streams.closed = true);
    }

    /// The kubelet has begun to listen, so it has the pool.
    pub(super) fn listen(&self) -> Listening {
        self.streams
            .send_modify(|streams| *streams = Streams { now: streams.now + 1, ever: true, ..*streams });
        self.is(Registration::Registered);
        Listening(self.clone())
    }

    /// Whether the kubelet listens.
    pub(super) fn is_listening(&self) -> bool {
        self.streams.borrow().now > 0
    }

    /// Whether it ever has.
    pub(super) fn has_listened(&self) -> bool {
        self.streams.borrow().ever
    }

    /// Waits until the kubelet listens.
    pub(super) async fn heard(&self) {
        // The sender is our own, so the channel stays open.
        let _ = self.streams.subscribe().wait_for(|streams| streams.now > 0).await;
    }

    /// Waits until the kubelet has listened, be it no more.
    pub(super) async fn listened(&self) {
        let _ = self.streams.subscribe().wait_for(|streams| streams.ever).await;
    }

    /// Waits until nobody listens, and nobody has come back at once.
    pub(super) async fn silence(&self) {
        let mut streams = self.streams.subscribe();
        loop {
            let _ = streams.wait_for(|streams| streams.now == 0).await;
            if tokio::time::timeout(GRACE, self.heard()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let contact = &self.0;
        contact.streams.send_modify(|streams| streams.now -= 1);
        if !contact.is_listening() {
            contact.is(Registration::Waiting("the kubelet does not listen any more".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn contact() -> (Contact, Metrics) {
        let metrics = Metrics::new();
        metrics.configuration(1, None);
        (Contact::new(Resource::new("intel.com", "net").unwrap(), metrics.clone(), metrics.epoch()), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_kubelet_that_comes_back_at_once_is_not_lost() {
        let (contact, metrics) = contact();
        let first = contact.listen();
        assert!(metrics.readiness().ready);
        let watched = contact.clone();
        let silent = tokio::spawn(async move { watched.silence().await });
        tokio::task::yield_now().await;
        drop(first);
        assert!(!metrics.readiness().ready);
        tokio::time::sleep(GRACE / 2).await;
        let second = contact.listen();
        tokio::time::sleep(GRACE * 2).await;
        assert!(!silent.is_finished() && metrics.readiness().ready);
        let began = Instant::now();
        drop(second);
        silent.await.unwrap();
        assert!(began.elapsed() >= GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_streams_may_end() {
        let (contact, metrics) = contact();
        let (first, second) = (contact.listen(), contact.listen());
        drop(first);
        assert!(contact.is_listening() && metrics.readiness().ready);
        assert!(tokio::time::timeout(GRACE * 3, contact.silence()).await.is_err());
        contact.close();
        drop(second);
        assert!(metrics.readiness().ready, "the end of a stream says nothing of the one after it");
    }
}
