//! When to look at the node again: the kernel's uevents, its news of default routes and carriers, and a slow clock.
//! It must not look itself, and loses nothing for good: what no event told of, the clock finds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use netlink::{News, Uevent, Uevents};
use nix::sys::statfs::{SYSFS_MAGIC, statfs};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::Roots;
use crate::coalesce::Coalescer;

/// Uevents come in bursts, eight for each VF.
const QUIET: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(300);

/// Why to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The kernel told of something.
    Event,
    /// It was time.
    Clock,
}

/// The node under watch.
#[derive(Debug)]
pub struct Watch {
    ears: Ears,
    clock: Interval,
    changes: Coalescer,
}

/// What the kernel can be heard by.
#[derive(Debug)]
struct Ears {
    /// `None` where the kernel tells nothing: a tree of files, or a subscription that failed.
    uevents: Option<AsyncFd<Uevents>>,
    news: Option<AsyncFd<News>>,
    /// Whether the trees are the kernel's own, so that there is something to be heard.
    has_uevents: bool,
    has_news: bool,
    /// The ports whose carrier matters, and whether they had one.
    carriers: BTreeMap<String, Option<bool>>,
}

impl Watch {
    /// Watches from now on. `every` is the time between two looks where the kernel tells of nothing.
    pub fn new(roots: &Roots, every: Duration) -> Self {
        let mut clock = interval_at(Instant::now() + every, every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sysfs = statfs(roots.sysfs.root()).is_ok_and(|fs| fs.filesystem_type() == SYSFS_MAGIC);
        let mut ears = Ears {
            uevents: None,
            news: None,
            has_uevents: sysfs,
            has_news: roots.is_live(),
            carriers: BTreeMap::new(),
        };
        ears.subscribe();
        Self { ears, clock, changes: Coalescer::new(QUIET, LONGEST) }
    }

    /// The network devices of which a change of the carrier is a cause to look, and how it was when they were looked at.
    /// Links change all day on a node with pods; what is said of others is passed over, and no file is read for any.
    pub fn carriers(&mut self, ports: impl IntoIterator<Item = (String, Option<bool>)>) {
        self.ears.carriers = ports.into_iter().collect();
    }

    /// Waits until the node should be looked at. May be given up and begun again; nothing is lost by that.
    pub async fn changed(&mut self) -> Cause {
        loop {
            tokio::select! {
                () = self.ears.heard(false) => self.changes.note(Instant::now()),
                () = self.changes.wait() => {
                    self.changes.begin();
                    return Cause::Event;
                }
                _ = self.clock.tick() => {
                    self.ears.subscribe();
                    self.changes.begin();
                    return Cause::Clock;
                }
            }
        }
    }

    /// Hears for ever what is for the next look, while one is at work. May be given up.
    pub async fn listen(&mut self) -> Infallible {
        loop {
            // What was known of carriers may be older than the look.
            self.ears.heard(true).await;
            self.changes.note(Instant::now());
        }
    }

    /// A look has ended, which `took` so long.
    pub fn looked(&mut self, took: Duration) {
        self.changes.rest(Instant::now(), took);
    }
}

impl Ears {
    /// Subscribes to what is not heard, and should be.
    fn subscribe(&mut self) {
        if self.has_uevents && self.uevents.is_none() {
            self.uevents = subscribe("uevents", Uevents::open());
        }
        if self.has_news && self.news.is_none() {
            self.news = subscribe("routes", News::open());
        }
    }

    /// Waits for something that matters. `any`: whatever is said of a port that matters does.
    async fn heard(&mut self, any: bool) {
        let Self { uevents, news, carriers, .. } = self;
        let differs =
            |port: &str, carrier| carriers.get(port).is_some_and(|known| any || *known != Some(carrier));
        loop {
            let heard = tokio::select! {
                heard = hear(uevents, |uevents| uevents.drain(|event| matters(&event))) => heard,
                heard = hear(news, |news| news.drain(differs)) => heard,
            };
            if heard {
                return;
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "what takes its place is unsafe for the sake of types that do not own their descriptor; both of ours do"
)]
/// A subscription that fails costs time and nothing else.
fn subscribe<T: std::os::fd::AsRawFd>(what: &str, opened: Result<T, netlink::Error>) -> Option<AsyncFd<T>> {
    let polled =
        |socket| AsyncFd::with_interest(socket, Interest::READABLE).map_err(|error| error.to_string());
    match opened.map_err(|error| error.to_string()).and_then(polled) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(
                "the kernel's {what} cannot be heard, changes are seen at the next rescan: {error}"
            );
            None
        }
    }
}

/// Waits for the socket and drains it. What cannot be read counts as heard, and the socket is given up until the clock's next
/// look: else it would be readable for ever.
async fn hear<T: std::os::fd::AsRawFd>(
    socket: &mut Option<AsyncFd<T>>,
    mut drain: impl FnMut(&mut T) -> Result<bool, netlink::Error>,
) -> bool {
    let Some(polled) = socket else { return std::future::pending().await };
    let error = match polled.readable_mut().await {
        Ok(mut ready) => match drain(ready.get_inner_mut()) {
            Ok(heard) => {
                ready.clear_ready();
                return heard;
            }
            Err(error) => io::Error::other(error),
        },
        Err(error) => error,
    };
    tracing::error!(
        "the kernel is not heard until the next rescan, which will see what has changed: {error}"
    );
    *socket = None;
    true
}

/// Whether a uevent can be of a function that a pool could take. Pods come and go with links that are no hardware's.
fn matters(event: &Uevent<'_>) -> bool {
    match event.subsystem {
        "pci" | "auxiliary" | "infiniband" | "vdpa" | "drivers" => true,
        "net" => !event.path.starts_with("/devices/virtual/"),
        other => other.starts_with("vfio") || other.starts_with("uio"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};
    use pci::Sysfs;
    use testkit::sysfs::Tree;

    use super::*;

    fn ip(args: &str) {
        assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "{args}");
    }

    fn this_node() -> Roots {
        Roots { sysfs: Sysfs::host(), proc: "/proc".into() }
    }

    /// How long something may take that is expected, and how long nothing is waited for.
    const PATIENCE: Duration = Duration::from_secs(10);
    const SOON: Duration = Duration::from_millis(600);

    #[test]
    fn what_matters() {
        let vf = "/devices/pci0000:00/0000:00:05.0/0000:01:10.0";
        let netdev = format!("{vf}/net/enp1s0v0");
        for (subsystem, path, wanted) in [
            ("pci", vf, true),
            ("net", &*netdev, true),
            ("net", "/devices/virtual/net/veth1234", false),
            ("queues", &*netdev, false),
            ("vfio", "/devices/virtual/vfio/11", true),
            ("vfio-dev", vf, true),
            ("auxiliary", vf, true),
            ("infiniband", vf, true),
            ("vdpa", "/devices/vdpa0", true),
            ("drivers", "/bus/pci/drivers/igbvf", true),
            ("block", "/devices/virtual/block/loop0", false),
            ("module", "/module/igbvf", false),
        ] {
            assert_eq!(matters(&Uevent { action: "add", path, subsystem }), wanted, "{subsystem} {path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tree_of_files_has_the_clock_alone() {
        let tree = Tree::new();
        let roots = Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() };
        let mut watch = Watch::new(&roots, Duration::from_secs(30));
        assert!(watch.ears.uevents.is_none() && watch.ears.news.is_none());
        let start = Instant::now();
        assert_eq!(watch.changed().await, Cause::Clock);
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_link_of_another_kind_is_no_cause_and_a_default_route_is() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut watch = Watch::new(&this_node(), Duration::from_hours(1));
        ip("link add b0 type bridge");
        assert!(tokio::time::timeout(SOON, watch.changed()).await.is_err(), "a bridge");
        ip("addr add 192.0.2.1/24 dev b0");
        ip("link set b0 up");
        ip("route add default via 192.0.2.2 dev b0");
        assert_eq!(tokio::time::timeout(PATIENCE, watch.changed()).await, Ok(Cause::Event));
    }

    #[tokio::test]
    async fn a_carrier_is_a_cause_where_it_is_another_than_the_look_saw() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        let mut watch = Watch::new(&this_node(), Duration::from_hours(1));
        watch.carriers([("v0".to_owned(), Some(false))]);
        ip("link set v1 up");
        assert_eq!(tokio::time::timeout(PATIENCE, watch.changed()).await, Ok(Cause::Event));
        watch.carriers([("v0".to_owned(), Some(true))]);
        ip("link set v0 mtu 1400");
        assert!(tokio::time::timeout(SOON, watch.changed()).await.is_err(), "the carrier is as it was");
        // A look that is at work may have seen it before or after.
        watch.looked(Duration::ZERO);
        ip("link set v0 mtu 1300");
        assert!(tokio::time::timeout(SOON, watch.listen()).await.is_err());
        assert_eq!(tokio::time::timeout(PATIENCE, watch.changed()).await, Ok(Cause::Event));
    }

    #[tokio::test]
    async fn what_is_said_while_a_look_is_at_work_is_due_when_it_is_over() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut watch = Watch::new(&this_node(), Duration::from_hours(1));
        ip("link add b0 type bridge");
        ip("addr add 192.0.2.1/24 dev b0");
        ip("link set b0 up");
        ip("route add default via 192.0.2.2 dev b0");
        let began = Instant::now();
        assert!(tokio::time::timeout(SOON, watch.listen()).await.is_err());
        watch.looked(began.elapsed());
        // Its time was up long ago, and nothing rests after a look that came alone.
        assert!(watch.changes.due().unwrap() < Instant::now());
        assert_eq!(tokio::time::timeout(PATIENCE, watch.changed()).await, Ok(Cause::Event));
    }

    #[tokio::test]
    async fn a_socket_that_broke_is_opened_again_by_the_clock() {
        let mut watch = Watch::new(&this_node(), Duration::from_millis(1));
        let had = watch.ears.news.take().is_some();
        assert!(had, "the machine's own /proc");
        while watch.changed().await != Cause::Clock {}
        assert!(watch.ears.news.is_some());
    }
}
