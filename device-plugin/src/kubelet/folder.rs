//! Where the kubelet looks for plugins, and every change of it: the folder made, removed or made anew, the kubelet back,
//! a socket gone. It must not touch what is in the folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventStream, Inotify, WatchMask};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::register::KUBELET_SOCKET;
use super::takeover::Run;
use super::{Kubelet, SocketError, socket};
use crate::config::Resource;

/// Between two looks although nothing was heard: inotify does not see what another node does to a shared file system.
const SLOW: Duration = Duration::from_secs(30);

/// Between two looks where there is no inotify (`fs.inotify.max_user_instances` is 128 on many nodes).
const QUICK: Duration = Duration::from_secs(1);

/// The kubelet's folder, followed. Each clone sees each change once.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    /// What sets this run's sockets apart from those of another, where that is wanted.
    run: Option<Run>,
    sights: watch::Receiver<Sight>,
}

/// What was seen at one look.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Sight {
    place: Option<Place>,
    /// How often something happened in the folder.
    stirred: u64,
}

/// A kubelet's folder at one time. Another folder of the same name is another place, and so is the same folder with
/// another kubelet that must be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) kubelet: Kubelet,
    folder: Identity,
    told: Option<Identity>,
    /// Removed from the host, and here only because it is mounted.
    pub(super) orphaned: bool,
}

/// Device, inode, and the time of the last change, since inode numbers are used again.
type Identity = (u64, u64, (i64, i64));

impl Folder {
    /// Follows the folder of a kubelet with that root, from now on and as long as somebody asks. With `handover` the
    /// sockets of this run have names of their own.
    pub fn follow(root: &Path, handover: bool) -> Self {
        let mut events = Events::new();
        events.cover(root);
        let (sender, sights) = watch::channel(Sight { place: Place::look(root), stirred: 0 });
        let at = root.to_owned();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = events.next() => {}
                }
                // Before the look: what happens after it must not go unheard.
                events.cover(&at);
                let place = Place::look(&at);
                sender.send_modify(|sight| *sight = Sight { place, stirred: sight.stirred + 1 });
            }
        });
        Self { root: root.to_owned(), run: handover.then(Run::new), sights }
    }

    /// Whether a pool of that name can be served there at all.
    pub fn check(&self, resource: &Resource) -> Result<(), SocketError> {
        socket::check_length(&Kubelet::find(&self.root).dir().join(self.socket_name(resource)))
    }

    /// The name of a pool's socket.
    pub(super) fn socket_name(&self, resource: &Resource) -> String {
        self.run.as_ref().map_or_else(|| resource.socket_name(), |run| run.socket_name(resource))
    }

    /// The place as it was last seen.
    pub(super) fn place(&mut self) -> Option<Place> {
        self.sights.borrow_and_update().place.clone()
    }

    /// Waits for anything to happen.
    pub(super) async fn stirred(&mut self) {
        if self.sights.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this is not the place any more.
    pub(super) async fn moved(&mut self, from: Option<&Place>) {
        let moved = self.sights.wait_for(|sight| sight.place.as_ref() != from).await.is_ok();
        if !moved {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a kubelet listens on its own socket; `None` where that socket is not to be seen from here.
    pub(super) fn kubelet_listens(&self) -> Option<bool> {
        let socket = self.root.join("device-plugins").join(KUBELET_SOCKET);
        match UnixStream::connect(socket) {
            Ok(_) => Some(true),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Some(false),
            Err(_) => None,
        }
    }
}

impl Place {
    fn look(root: &Path) -> Option<Self> {
        let kubelet = Kubelet::find(root);
        let folder = fs::metadata(kubelet.dir()).ok().filter(fs::Metadata::is_dir)?;
        let told = match &kubelet {
            Kubelet::Watches { .. } => None,
            Kubelet::MustBeTold { dir } => fs::metadata(dir.join(KUBELET_SOCKET)).ok(),
        };
        let told = told.map(|socket| (socket.dev(), socket.ino(), (socket.ctime(), socket.ctime_nsec())));
        // A folder's own time changes with every file in it.
        let orphaned = folder.nlink() == 0;
        Some(Self { kubelet, folder: (folder.dev(), folder.ino(), (0, 0)), told, orphaned })
    }
}

/// What the kernel says of the folders; or the clock, where it says nothing.
struct Events(Option<EventStream<[u8; 4096]>>);

impl Events {
    fn new() -> Self {
        match Inotify::init().and_then(|inotify| inotify.into_event_stream([0; 4096])) {
            Ok(events) => Self(Some(events)),
            Err(error) => {
                tracing::warn!(
                    "no inotify ({error}): the kubelet's folder is looked at every {QUICK:?} instead; raise \
                     fs.inotify.max_user_instances"
                );
                Self(None)
            }
        }
    }

    /// Watches what of these is there now, and for a root that is not there the nearest folder above it. A folder that is
    /// watched already stays so.
    fn cover(&self, root: &Path) {
        let Some(events) = &self.0 else { return };
        let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::MOVE_SELF;
        let watch = |folder: &Path| {
            events.watches().add(folder, mask | WatchMask::DELETE_SELF | WatchMask::ONLYDIR).is_ok()
        };
        // Until twice the same: what was made before the folder above it was watched has gone unheard.
        let mut deepest = None;
        loop {
            let watched = root.ancestors().find(|folder| watch(folder));
            if watched.is_none() || watched == deepest {
                break;
            }
            deepest = watched;
        }
        for folder in ["plugins_registry", "device-plugins"] {
            // What is not there is heard of through the root, or by the clock.
            watch(&root.join(folder));
        }
    }

    async fn next(&mut self) {
        let Some(events) = &mut self.0 else { return tokio::time::sleep(QUICK).await };
        match tokio::time::timeout(SLOW, events.next()).await {
            Err(_) | Ok(Some(Ok(_))) => {}
            Ok(ended) => {
                let why = ended.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
                tracing::warn!("inotify has ended {why}; the kubelet's folder is looked at every {QUICK:?}");
                self.0 = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[tokio::test]
    async fn follows_the_folder_as_it_comes_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::follow(root.path(), false);
        assert_eq!(folder.place(), None);
        let (told, registry) = (root.path().join("device-plugins"), root.path().join("plugins_registry"));
        fs::create_dir(&told).unwrap();
        folder.moved(None).await;
        let first = folder.place().unwrap();
        assert_eq!(first.kubelet, Kubelet::MustBeTold { dir: told.clone() });

        let listener = std::os::unix::net::UnixListener::bind(told.join(KUBELET_SOCKET)).unwrap();
        folder.moved(Some(&first)).await;
        let second = folder.place().unwrap();
        assert_eq!(folder.kubelet_listens(), Some(true));
        drop(listener);
        assert_eq!(folder.kubelet_listens(), Some(false));

        fs::create_dir(&registry).unwrap();
        folder.moved(Some(&second)).await;
        let third = folder.place().unwrap();
        assert_eq!(third.kubelet, Kubelet::Watches { dir: registry.clone() });

        // Kept open, so that the new folder cannot have the old one's number.
        let _old = fs::File::open(&registry).unwrap();
        fs::remove_dir(&registry).unwrap();
        fs::create_dir(&registry).unwrap();
        folder.moved(Some(&third)).await;
        let fourth = folder.place().unwrap();
        fs::write(registry.join("a.sock"), "").unwrap();
        folder.stirred().await;
        fs::remove_file(registry.join("a.sock")).unwrap();
        while folder.place().is_none_or(|place| place != fourth) {
            folder.stirred().await;
        }
    }

    #[tokio::test]
    async fn a_root_that_is_made_later_is_heard_of() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("lib/kubelet");
        let mut folder = Folder::follow(&root, false);
        let began = std::time::Instant::now();
        for _ in 0..2 {
            for made in [above.path().join("lib"), root.clone(), root.join("device-plugins")] {
                fs::create_dir(made).unwrap();
                tokio::task::yield_now().await;
            }
            folder.moved(None).await;
            let place = folder.place();
            fs::remove_dir_all(above.path().join("lib")).unwrap();
            folder.moved(place.as_ref()).await;
            while folder.place().is_some() {
                folder.stirred().await;
            }
        }
        // By the clock it would have been this long at the least, each time.
        assert!(began.elapsed() < SLOW, "{:?}", began.elapsed());
    }

    #[test]
    fn a_folder_that_is_only_mounted_here_any_more() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let open = fs::File::open(&folder).unwrap();
        std::os::unix::fs::symlink(
            format!("/proc/self/fd/{}", open.as_raw_fd()),
            root.path().join("plugins_registry"),
        )
        .unwrap();
        assert!(!Place::look(root.path()).unwrap().orphaned);
        fs::remove_dir(&folder).unwrap();
        assert!(Place::look(root.path()).unwrap().orphaned);
    }
}
