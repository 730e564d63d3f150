//! One pool in front of the kubelet: a socket that serves it, and the kubelet told of that socket.
//! It must not choose devices or know what is in an answer; it carries a `Pool` out and requests in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Resource;
use crate::device_info::Host;
use crate::pool::Pool;

mod register;
mod restarts;
mod server;
mod socket;

pub use register::Error as RegisterError;
pub(crate) use register::deepest;
pub use restarts::{Error as WatchError, Restarts};
pub use socket::Error as SocketError;

use server::{Running, Service};

/// How this node's kubelet learns of plugins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kubelet {
    /// It finds our sockets by itself.
    Watches {
        /// `plugins_registry`.
        dir: PathBuf,
    },
    /// It must be told on its own socket.
    MustBeTold {
        /// `device-plugins`.
        dir: PathBuf,
    },
}

/// What keeps a pool from the kubelet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket to serve it on.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kubelet did not take it.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The server gave up.
    #[error("the server on {socket} has ended: {source}")]
    Server {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// One pool's place in front of the kubelet.
#[derive(Clone, Debug)]
pub struct Front {
    kubelet: Kubelet,
    pool: watch::Receiver<Arc<Pool>>,
    host: Arc<Host>,
}

/// A front that serves, and of which the kubelet can know.
#[derive(Debug)]
pub struct Open {
    front: Front,
    running: Running,
}

impl Kubelet {
    /// As the Go plugin decides: by whether the folder is there.
    pub fn find(root: &Path) -> Self {
        let registry = root.join("plugins_registry");
        if registry.is_dir() {
            Self::Watches { dir: registry }
        } else {
            Self::MustBeTold { dir: root.join("device-plugins") }
        }
    }

    /// The folder of our sockets.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Watches { dir } | Self::MustBeTold { dir } => dir,
        }
    }
}

/// Whether a pool of that name can be served at all, with the kubelet's root where it is.
pub fn check_socket_path(kubelet: &Kubelet, resource: &Resource) -> Result<(), SocketError> {
    socket::check_length(&kubelet.dir().join(resource.socket_name()))
}

impl Front {
    /// A front for a pool, which may change; it ends when the sender is dropped.
    pub fn new(kubelet: Kubelet, pool: watch::Receiver<Arc<Pool>>, host: Arc<Host>) -> Self {
        Self { kubelet, pool, host }
    }

    /// Binds, serves, and only then tells the kubelet, which may dial before it answers.
    pub async fn open(self) -> Result<Open, Error> {
        let running = self.start().await?;
        Ok(Open { front: self, running })
    }

    async fn start(&self) -> Result<Running, Error> {
        let resource = self.pool.borrow().config.resource.clone();
        let (listener, socket) = socket::bind(&self.kubelet.dir().join(resource.socket_name()))?;
        let service = Service::new(self.pool.clone(), self.host.clone(), socket.path().to_owned());
        let running = Running::start(listener, socket, service);
        if let Kubelet::MustBeTold { dir } = &self.kubelet {
            register::register(dir, &resource).await?;
        }
        Ok(running)
    }

    /// Starts again until it works: a kubelet that has just come back may not listen yet.
    async fn restart(&self, restarts: &mut Restarts) -> Running {
        const LONGEST: Duration = Duration::from_secs(30);
        // The kubelet's socket is there a moment before the kubelet listens.
        let mut pause = Duration::from_millis(20);
        loop {
            match self.start().await {
                Ok(running) => return running,
                Err(error) => tracing::warn!("{error}; trying again in {pause:?}"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = restarts.next() => {}
            }
            pause = LONGEST.min(pause * 2);
        }
    }

    /// Ends when nobody will change the pool any more.
    async fn over(&self) {
        let mut pool = self.pool.clone();
        while pool.changed().await.is_ok() {}
    }
}

impl Open {
    /// Serves until the pool's sender is dropped. A kubelet that comes back has removed our socket and forgotten us
    /// (`pkg/kubelet/cm/devicemanager`), so the front opens again.
    pub async fn keep(mut self, mut restarts: Restarts) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = self.front.over() => {
                    self.running.stop().await;
                    return Ok(());
                }
                ended = self.running.ended() => {
                    let socket = self.running.path().to_owned();
                    return ended.map_err(|source| Error::Server { socket, source });
                }
                () = restarts.next() => {}
            }
            tracing::info!(
                "the kubelet is back; registering {} again",
                self.front.pool.borrow().config.resource
            );
            let Self { front, running } = self;
            drop(running);
            let running = tokio::select! {
                () = front.over() => return Ok(()),
                running = front.restart(&mut restarts) => running,
            };
            self = Self { front, running };
        }
    }
}

#[cfg(test)]
mod tests;
