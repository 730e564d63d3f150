//! When a kubelet that must be told has come back: its socket was created anew.
//! It must not look at the socket itself, which stays as a file while nobody listens.

use std::io;
use std::path::{Path, PathBuf};

use inotify::{Inotify, WatchMask};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::register::KUBELET_SOCKET;

/// The kubelet's folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path} for the kubelet's return: {source}; is --kubelet-root right?")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Counts how often the kubelet's socket was created; each clone sees each change once.
#[derive(Clone, Debug)]
pub struct Restarts(Option<watch::Receiver<u64>>);

impl Restarts {
    /// For a kubelet that finds us by itself, however often it comes back.
    pub fn none() -> Self {
        Self(None)
    }

    /// Watches the kubelet's folder, from now on and as long as the runtime lives.
    pub fn watch(dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error { path: dir.to_owned(), source };
        let inotify = Inotify::init().map_err(failed)?;
        inotify.watches().add(dir, WatchMask::CREATE | WatchMask::MOVED_TO).map_err(failed)?;
        let mut events = inotify.into_event_stream([0; 4096]).map_err(failed)?;
        let (count, restarts) = watch::channel(0);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) if event.name.as_deref().is_some_and(|name| name == KUBELET_SOCKET) => {
                        count.send_modify(|count| *count += 1);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!("cannot watch for the kubelet's return any more: {error}");
                        break;
                    }
                }
            }
        });
        Ok(Self(Some(restarts)))
    }

    /// Waits for the next time that the kubelet comes back.
    pub(super) async fn next(&mut self) {
        if let Some(restarts) = &mut self.0
            && restarts.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
