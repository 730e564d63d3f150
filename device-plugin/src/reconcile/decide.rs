//! Whether the pod of an attachment is gone, and what follows: from the record, its namespace, its device and the kubelet.
//! It must not read anything: the same observations always give the same verdict.
//!
//! A missing path alone proves nothing: a container may see another `/run/netns` than the node. So each restore has a second
//! witness: the kernel, which brought the link back to the host; another boot; or the kubelet, which gave the device to
//! nobody or to another pod.

use attachment::{End, Leftover, Life, Place, Pod, Undo};

use crate::holdings::{Holder, PodName};

/// What the kubelet says of a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holding<'a> {
    /// It does not say.
    Untold,
    /// No pod holds it.
    Nobody,
    /// A pod does.
    By(&'a Holder),
    /// It was given away a moment ago, and the kubelet does not say to whom yet.
    Given,
}

/// What is to be done with one attachment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Nothing: it is a living pod's, or that cannot be ruled out.
    Leave,
    /// Nothing yet: it is nobody's, and cannot be put back at this moment.
    Wait,
    /// The device is to be put back.
    Restore,
    /// Nothing was done to the device, or it is put back already: the rest is to be forgotten.
    Forget,
}

/// An act and its reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// What to do.
    pub act: Act,
    /// Why, in words that follow a colon.
    pub why: String,
    /// The device must not be handed out until that is done.
    pub unclean: bool,
}

/// The verdict on one attachment.
pub fn decide(leftover: &Leftover, holding: Holding<'_>) -> Verdict {
    let (act, why) = act(leftover, holding);
    // A device that a pod holds is given to nobody else; and that pod's next ADD puts it back before it goes on.
    let held = matches!(holding, Holding::By(_) | Holding::Given);
    Verdict { act, why, unclean: leftover.claimed && !held && matches!(act, Act::Wait | Act::Restore) }
}

fn act(leftover: &Leftover, holding: Holding<'_>) -> (Act, String) {
    let end = match leftover.life {
        Life::Alive => return (Act::Leave, "its pod's network namespace lives".to_owned()),
        // The kernel moves a link to the host when the namespace that had it dies. A function's link is known by its
        // function; another could be one of the same name.
        Life::Unseen if leftover.claimed && leftover.place == Place::Home && is_function(leftover) => {
            return (Act::Restore, "its network device is back on the host".to_owned());
        }
        Life::Unseen => {
            return (Act::Leave, "its pod's network namespace cannot be seen from here".to_owned());
        }
        Life::Over(end) => end,
    };
    let gone = match end {
        End::EarlierBoot => "its pod was of an earlier boot",
        End::Replaced => "its pod's network namespace is gone, the path leads to another one",
        End::NoPath => "its pod's network namespace is gone",
    };
    let and = |more: &str| format!("{gone}, {more}");
    if leftover.torn {
        return (Act::Wait, and("and its record cannot be read, so nobody knows what is to be put back"));
    }
    if !leftover.claimed || leftover.record.is_none() {
        return (Act::Forget, gone.to_owned());
    }
    match leftover.place {
        Place::Home => (Act::Restore, and("its network device is back on the host")),
        Place::Died => (Act::Restore, and("and its virtual network device with it")),
        Place::Absent => (Act::Wait, and("and the device is not on this node; it is put back once it is")),
        Place::Away => (Act::Wait, and("yet a process still holds a namespace with its network device")),
        Place::Untold => (Act::Wait, and("and the node does not tell where its network device is")),
        Place::Linkless if end == End::EarlierBoot => (Act::Restore, gone.to_owned()),
        Place::Linkless => by_kubelet(leftover, holding, &and),
    }
}

fn is_function(leftover: &Leftover) -> bool {
    leftover.record.as_ref().is_some_and(|record| record.function.is_some())
}

fn changed_driver(leftover: &Leftover) -> bool {
    let undo = leftover.record.as_ref().map(|record| record.undo.as_slice()).unwrap_or_default();
    undo.iter().any(|undo| matches!(undo, Undo::Driver(_)))
}

/// Without a link the kernel is no witness.
fn by_kubelet(leftover: &Leftover, holding: Holding<'_>, and: &dyn Fn(&str) -> String) -> (Act, String) {
    match holding {
        Holding::Untold => (Act::Wait, and("and the kubelet does not tell whether a pod holds the device")),
        Holding::Nobody => (Act::Restore, and("and no pod holds the device")),
        Holding::Given => (Act::Wait, and("and the device was given to a pod a moment ago")),
        Holding::By(holder) => {
            let pod = leftover.record.as_ref().and_then(|record| record.pod.as_ref());
            let holds = |what| and(&format!("and pod {} holds the device{what}", holder.pod));
            match pod.and_then(|pod| is_same(pod, &holder.pod)) {
                // That pod may have it open, and the kernel would wait for it: its own ADD gives the driver back first.
                Some(false) if changed_driver(leftover) => (Act::Wait, holds(", which is another")),
                Some(false) => (Act::Restore, holds(", which is another")),
                Some(true) | None => (Act::Leave, holds("")),
            }
        }
    }
}

/// Whether both are one pod; `None` where they have no kind of name in common.
pub(crate) fn is_same(pod: &Pod, other: &PodName) -> Option<bool> {
    match other {
        PodName::Named { namespace, name } => Some(pod.namespace == *namespace && pod.name == *name),
        PodName::Uid(uid) => pod.uid.as_ref().map(|ours| ours == uid),
    }
}

#[cfg(test)]
mod tests;
