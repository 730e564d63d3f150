//! One look at all that pods left behind, and what is done about it. It blocks, and wants a thread of its own.
//! It must not decide; and whatever goes wrong with one attachment, it goes on to the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attachment::{Host, Leftover, Paths, Record, Store, Undone};

use super::decide::{Act, Holding, Verdict, decide};
use crate::holdings::Held;
use crate::inventory::DeviceId;
use crate::pool::Grants;

/// How long whoever speaks to a PF is waited for. It is tried again soon.
const AT_PF: Duration = Duration::from_secs(2);

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

/// What is known of who holds what.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// What the kubelet says; `None` where it says nothing.
    pub(super) held: Option<Arc<Held>>,
    /// When it was asked.
    pub(super) asked: Instant,
    /// What this process has given since.
    pub(super) grants: Grants,
}

impl Word {
    /// Who holds the device of an attachment.
    pub(super) fn holding(&self, leftover: &Leftover) -> Holding<'_> {
        // A link's name is no device of the kubelet's.
        let id: Option<DeviceId> = leftover.device.parse().ok();
        let told = id.as_ref().and_then(|id| self.held.as_ref()?.get(id));
        match told {
            Some(holder) => Holding::By(holder),
            None if id.is_some_and(|id| self.grants.is_given(&id, self.asked, Instant::now())) => {
                Holding::Given
            }
            None if self.held.is_some() => Holding::Nobody,
            None => Holding::Untold,
        }
    }

    /// The verdict on an attachment.
    pub(super) fn decide(&self, leftover: &Leftover) -> Verdict {
        decide(leftover, self.holding(leftover))
    }
}

/// Whose attachments are put back one after the other, and beside those of others: what hangs in the kernel is mostly a PF or
/// a driver of it. Where no PF is recorded, the functions of a bus are taken for one's.
pub(super) fn group(leftover: &Leftover) -> String {
    let record = leftover.record.as_ref();
    match record.map(|record| (record.pf, record.function)) {
        Some((Some(pf), _)) => pf.address.to_string(),
        Some((None, Some(function))) => {
            let function = function.to_string();
            function.rsplit_once(':').map(|(bus, _)| bus.to_owned()).unwrap_or(function)
        }
        _ => "links".to_owned(),
    }
}

/// Does what is decided of the attachments of one group, and tells of each.
pub(super) fn act(found: Vec<(Plugin, Leftover)>, word: &Word, tell: impl Fn(Outcome)) {
    let (mut host, mut patience) = (None, AT_PF);
    for (plugin, leftover) in found {
        let begin = Instant::now();
        let verdict = word.decide(&leftover);
        let done = match verdict.act {
            Act::Leave | Act::Wait => Done::Nothing,
            Act::Restore | Act::Forget => undo(&plugin, &mut host, &leftover, patience, word),
        };
        let took = begin.elapsed();
        if matches!(done, Done::Failed(_)) {
            // What went wrong on one socket is not to go wrong on.
            host = None;
            // Somebody keeps the PF: the next attachment of it need not wait for that again.
            patience = if took < AT_PF { patience } else { Duration::ZERO };
        }
        tell(Outcome { plugin, leftover, verdict, done, took });
    }
}

fn undo(
    plugin: &Plugin,
    host: &mut Option<Host>,
    leftover: &Leftover,
    patience: Duration,
    word: &Word,
) -> Done {
    let still = |now: &Leftover| matches!(word.decide(now).act, Act::Restore | Act::Forget);
    let opened = match host {
        Some(host) => Ok(host),
        None => Host::open(&plugin.paths).map(|opened| host.insert(opened)),
    };
    match opened.and_then(|host| attachment::undo(&plugin.store, host, leftover, patience, still)) {
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
