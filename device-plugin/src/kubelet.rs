//! One pool in front of the kubelet: a socket that serves it, and the kubelet told of that socket.
//! It must not choose devices or know what is in an answer; it carries a `Pool` out and requests in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubelet_api::device_plugin::DevicePluginOptions;
use tokio::sync::watch;

use crate::config::Resource;
use crate::device_info::Host;
use crate::metrics::{Epoch, Metrics, Registration};
use crate::pool::Pool;

mod backoff;
mod contact;
mod folder;
mod register;
mod server;
mod socket;
mod takeover;

pub use folder::Folder;
pub use register::Error as RegisterError;
pub(crate) use register::deepest;
pub use socket::Error as SocketError;
pub(crate) use socket::{Socket, bind};

use backoff::Backoff;
use contact::Contact;
use folder::Place;
use server::{Running, Service};
use socket::Fate;

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
    /// A container's mount of a folder that the host has no more.
    #[error(
        "the host has removed {dir}, and a container keeps the folder that it was started with; ending, to be started \
         with the new one"
    )]
    Orphaned {
        /// The folder.
        dir: PathBuf,
    },
}

impl Error {
    /// Whether trying again is of no use.
    fn is_final(&self) -> bool {
        matches!(self, Self::Orphaned { .. } | Self::Socket(SocketError::TooLong { .. }))
    }
}

/// One pool's place in front of the kubelet.
#[derive(Clone, Debug)]
pub struct Front {
    folder: Folder,
    pool: watch::Receiver<Arc<Pool>>,
    host: Arc<Host>,
    metrics: Metrics,
    epoch: Epoch,
}

/// A pool that is served and of which the kubelet can know.
#[derive(Debug)]
struct Open {
    running: Running,
    contact: Contact,
    place: Place,
    options: DevicePluginOptions,
}

/// Why a pool is not served as it was any more.
enum End {
    /// Nobody will change the pool again.
    Over,
    /// It is to be opened anew, because of this.
    Again(&'static str),
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
    pub fn new(folder: Folder, pool: watch::Receiver<Arc<Pool>>, host: Arc<Host>, metrics: Metrics) -> Self {
        let epoch = metrics.epoch();
        // Whoever asks from now on is to hear that the kubelet does not have it yet.
        let waiting = Registration::Waiting("the kubelet has not asked for it".to_owned());
        metrics.registration(&pool.borrow().config.resource, epoch, waiting);
        Self { folder, pool, host, metrics, epoch }
    }

    /// Serves until the pool's sender is dropped, whatever becomes of the kubelet and its folder. The only errors are
    /// those that another attempt cannot change.
    pub async fn serve(mut self) -> Result<(), Error> {
        let resource = self.pool.borrow().config.resource.clone();
        let mut backoff = Backoff::default();
        let served = loop {
            let mut pool = self.pool.clone();
            // Before the attempt: a kubelet that comes while it fails is another place, and tried at once.
            let seen = self.folder.place();
            // What was opened and not kept is closed by being dropped.
            let opened = tokio::select! {
                () = over(&mut pool) => break Ok(()),
                opened = self.open() => opened,
            };
            let place = match opened {
                Ok(mut open) => {
                    let end = self.keep(&mut open).await;
                    let Open { running, contact, place, .. } = open;
                    contact.close();
                    if contact.has_listened() {
                        backoff.reset();
                    }
                    running.stop().await;
                    match end {
                        Ok(End::Over) => break Ok(()),
                        Ok(End::Again(why)) => tracing::info!("pool {resource}: {why}; registering again"),
                        Err(error) => tracing::error!("pool {resource}: {error}; opening it again"),
                    }
                    if contact.has_listened() {
                        continue;
                    }
                    Some(place)
                }
                Err(error) if error.is_final() => break Err(error),
                Err(error) => {
                    if backoff.worth_a_word() {
                        tracing::warn!("pool {resource}: {error}; trying again");
                    }
                    self.metrics.registration(&resource, self.epoch, Registration::of(error));
                    seen
                }
            };
            tokio::select! {
                () = over(&mut pool) => break Ok(()),
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.folder.moved(place.as_ref()) => backoff.reset(),
            }
        };
        self.metrics.forget(&resource, self.epoch);
        served
    }

    /// Binds, serves, and only then tells the kubelet, which may dial before it answers.
    async fn open(&mut self) -> Result<Open, Error> {
        let (resource, options) = {
            let pool = self.pool.borrow();
            (pool.config.resource.clone(), server::options(&pool))
        };
        let contact = Contact::new(resource.clone(), self.metrics.clone(), self.epoch);
        contact.is(Registration::Waiting("the kubelet's folder is not there".to_owned()));
        let place = loop {
            match self.folder.place() {
                Some(place) => break place,
                None => self.folder.moved(None).await,
            }
        };
        let dir = place.kubelet.dir();
        if place.orphaned {
            return Err(Error::Orphaned { dir: dir.to_owned() });
        }
        contact.is(Registration::Waiting("the kubelet has not asked for it".to_owned()));
        let name = self.folder.socket_name(&resource);
        takeover::clear_dead(dir, &resource, &name);
        let (listener, socket) = socket::bind(&dir.join(&name))?;
        let service = Service {
            pool: self.pool.clone(),
            host: self.host.clone(),
            metrics: self.metrics.clone(),
            contact: contact.clone(),
            socket: socket.path().to_owned(),
        };
        let running = Running::start(listener, socket, service);
        if let Kubelet::MustBeTold { dir } = &place.kubelet {
            // As the Go plugin, which has none.
            let said = Some(options).filter(|options| *options != DevicePluginOptions::default());
            register::register(dir, &resource, name, said).await?;
            contact.is(Registration::Registered);
        }
        Ok(Open { running, contact, place, options })
    }

    /// Waits for what makes it necessary to open again, or for the end.
    async fn keep(&mut self, open: &mut Open) -> Result<End, Error> {
        let Open { running, contact, place, options } = open;
        let (mut pool, mut folder) = (self.pool.clone(), self.folder.clone());
        // Two processes must not take the name from each other for ever: the later one has it.
        let mut taken = false;
        loop {
            tokio::select! {
                changed = pool.changed() => match changed {
                    Err(_) => return Ok(End::Over),
                    // The kubelet asks for them once.
                    Ok(()) if server::options(&pool.borrow()) != *options => {
                        return Ok(End::Again("its options are others now"));
                    }
                    Ok(()) => {}
                },
                ended = running.ended() => {
                    let socket = running.socket().path().to_owned();
                    return ended
                        .map(|()| End::Again("its server has ended"))
                        .map_err(|source| Error::Server { socket, source });
                }
                () = forgotten(contact, &self.folder), if !taken => return Ok(End::Again("the kubelet has let go of it")),
                () = folder.stirred() => {
                    if folder.place().as_ref() != Some(&*place) {
                        return Ok(End::Again("the kubelet or its folder is another one now"));
                    }
                    match running.socket().fate() {
                        Fate::Ours => {}
                        Fate::Gone => return Ok(End::Again("its socket was removed")),
                        Fate::Taken if taken => {}
                        Fate::Taken => {
                            taken = true;
                            tracing::warn!(
                                "another process has put its socket in the place of {}; waiting for it to go",
                                running.socket().path().display()
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Waits until nobody will change the pool any more.
async fn over(pool: &mut watch::Receiver<Arc<Pool>>) {
    while pool.changed().await.is_ok() {}
}

/// Waits until a kubelet that is there does not listen any more although it has. One that is away is waited for, since it
/// looks at our socket when it comes back, or else makes its own anew.
async fn forgotten(contact: &Contact, folder: &Folder) {
    let mut folder = folder.clone();
    let mut backoff = Backoff::default();
    // It may be over before anybody waits for it, where another process registers the same pool at that moment.
    contact.listened().await;
    loop {
        contact.silence().await;
        if folder.kubelet_listens() == Some(true) {
            return;
        }
        tokio::select! {
            () = contact.heard() => backoff.reset(),
            () = folder.stirred() => {}
            () = tokio::time::sleep(backoff.next()) => if folder.kubelet_listens().is_none() { return },
        }
    }
}

impl Registration {
    fn of(error: Error) -> Self {
        match error {
            Error::Register(RegisterError::Refused { source, .. }) => {
                Self::Refused(source.message().to_owned())
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
