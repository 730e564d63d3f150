//! One look at all that pods left behind, and what is done about it. It blocks, and wants a thread of its own.
//! It must not decide; and whatever goes wrong with one attachment, it goes on to the next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use attachment::{Host, Leftover, Paths, Record, Store, Undone};

use super::decide::{Act, Holding, Verdict, decide};
use crate::holdings::Held;

/// How long an IPAM plugin may take to release an address: the limit of those that ask a cluster.
const RELEASE: Duration = Duration::from_mins(1);

/// The CNI plugins that keep state.
const NAMES: [&str; 2] = ["sriov", "host-device"];

/// A CNI plugin's state on this node.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    /// `sriov` or `host-device`.
    pub(crate) name: &'static str,
    paths: Paths,
    store: Store,
}

/// Everything that is there at one moment.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// Each attachment and claim, with whose plugin's it is.
    pub(crate) found: Vec<(Plugin, Leftover)>,
    /// What cannot be read.
    pub(crate) odd: Vec<String>,
    /// The plugins of whose state nothing at all could be read.
    pub(super) unseen: Vec<&'static str>,
}

impl Sight {
    /// Nobody could look.
    pub(super) fn unseen() -> Self {
        Self { unseen: NAMES.to_vec(), ..Self::default() }
    }
}

/// What became of one attachment.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) plugin: Plugin,
    pub(super) leftover: Leftover,
    pub(super) verdict: Verdict,
    pub(super) done: Done,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum Done {
    /// Nothing, as decided.
    Nothing,
    /// Nothing: somebody else is at work on it, or has been.
    Otherwise,
    /// What was decided. `notices` are for an operator; `release`: IPAM still holds the pod's addresses.
    AsDecided { notices: Vec<String>, release: bool },
    /// Not, and why.
    Failed(String),
}

/// What became of a pod's addresses.
#[derive(Debug)]
pub(super) enum Released {
    Yes,
    /// The IPAM plugin is not here.
    NoPlugin,
    Failed(String),
}

impl Plugin {
    /// The plugins whose state is below a directory, those that have any.
    pub(crate) fn all(state: &Path, sysfs: &Path) -> Vec<Self> {
        let paths = |name| Paths { state: state.join(name), sysfs: sysfs.to_owned() };
        let [sriov, host_device] = NAMES.map(paths);
        let plugins = [
            Self { name: NAMES[0], store: Store::sriov(&sriov), paths: sriov },
            Self { name: NAMES[1], store: Store::host_device(&host_device), paths: host_device },
        ];
        plugins.into_iter().filter(|plugin| plugin.paths.state.is_dir()).collect()
    }
}

impl Plugin {
    /// What the link of an attachment is called in its pod's namespace; `None` where it is not there.
    pub(crate) fn link(&self, record: &Record) -> Option<String> {
        let link = Host::open(&self.paths).and_then(|host| attachment::in_pod(&host, record));
        link.ok().flatten().map(|link| link.name)
    }
}

/// All that is there now.
pub(crate) fn look(plugins: &[Plugin]) -> Sight {
    let mut sight = Sight::default();
    for plugin in plugins {
        let surveyed =
            Host::open(&plugin.paths).and_then(|mut host| attachment::survey(&plugin.store, &mut host));
        match surveyed {
            Ok((found, odd)) => {
                sight.found.extend(found.into_iter().map(|leftover| (plugin.clone(), leftover)));
                sight.odd.extend(odd.iter().map(ToString::to_string));
            }
            Err(error) => {
                sight.odd.push(format!("{}: {error}", plugin.paths.state.display()));
                sight.unseen.push(plugin.name);
            }
        }
    }
    sight
}

/// What the kubelet says of the device of an attachment.
pub(crate) fn holding<'a>(leftover: &Leftover, held: Option<&'a Held>) -> Holding<'a> {
    let Some(held) = held else { return Holding::Untold };
    // A link's name is no device of the kubelet's.
    let id = leftover.device.parse().ok();
    id.and_then(|id| held.get(&id)).map_or(Holding::Nobody, Holding::By)
}

/// Does what is decided of everything in sight.
pub(super) fn act(sight: Sight, held: Option<&Held>) -> Vec<Outcome> {
    let one = |(plugin, leftover): (Plugin, Leftover)| {
        let begin = Instant::now();
        let holding = holding(&leftover, held);
        let verdict = decide(&leftover, holding);
        let done = match verdict.act {
            Act::Leave | Act::Wait => Done::Nothing,
            Act::Restore | Act::Forget => undo(&plugin, &leftover, holding),
        };
        Outcome { plugin, leftover, verdict, done, took: begin.elapsed() }
    };
    sight.found.into_iter().map(one).collect()
}

fn undo(plugin: &Plugin, leftover: &Leftover, holding: Holding<'_>) -> Done {
    let still = |now: &Leftover| matches!(decide(now, holding).act, Act::Restore | Act::Forget);
    let undone = Host::open(&plugin.paths)
        .and_then(|mut host| attachment::undo(&plugin.store, &mut host, leftover, still));
    match undone {
        Ok(Undone::Busy | Undone::Changed) => Done::Otherwise,
        Ok(Undone::Done { notices, addresses }) => {
            Done::AsDecided { notices: notices.iter().map(ToString::to_string).collect(), release: addresses }
        }
        Err(error) => Done::Failed(error.to_string()),
    }
}

/// Gives the addresses of one attachment back, whose device is put back.
pub(super) fn release(plugin: &Plugin, record: &Record, path: &[PathBuf]) -> Released {
    match attachment::release(&plugin.store, record, path, RELEASE) {
        Ok(true) => Released::Yes,
        Ok(false) => Released::NoPlugin,
        Err(error) => Released::Failed(error.to_string()),
    }
}
