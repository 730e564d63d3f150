//! `sriovdp explain` of a pod: what the kubelet gave it, which attachment and namespace hold that, and the first link of that
//! chain that does not agree.
//! It must not read anything: what was seen comes in as `Seen`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use attachment::{Leftover, Life};
use serde::Serialize;

use crate::holdings::{Held, Holder, PodName};
use crate::inventory::DeviceId;
use crate::pool::Pool;
use crate::reconcile::is_same;

mod text;

/// A pod that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    namespace: String,
    name: String,
}

/// What was seen of everything that a pod can have, at one moment.
#[derive(Debug)]
pub struct Seen {
    /// What the kubelet says, or why it does not.
    pub held: Result<Held, String>,
    /// The pools that are offered.
    pub pools: Vec<Arc<Pool>>,
    /// The attachments.
    pub attachments: Vec<Attached>,
}

/// One attachment record, beside what became of it.
#[derive(Clone, Debug)]
pub struct Attached {
    /// `sriov` or `host-device`.
    pub plugin: &'static str,
    /// The record, its namespace and its device.
    pub leftover: Leftover,
    /// What its link is called in the pod's namespace; `None` where it is not there, or there is none.
    pub link: Option<String>,
}

/// What there is to say of a pod.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodExplanation {
    /// `<namespace>/<name>`
    pub pod: String,
    /// Each device that the kubelet gave it.
    pub devices: Vec<DeviceExplanation>,
    /// Records that name the pod, of devices that the kubelet did not give it.
    pub other_attachments: Vec<AttachmentExplanation>,
    /// The first link of the chain that does not agree with the one before; `None` where all do.
    pub disagreement: Option<String>,
}

/// One device of a pod.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceExplanation {
    /// Its id for the kubelet.
    pub device: DeviceId,
    /// The container.
    pub container: String,
    /// As what it was given.
    pub resource: String,
    /// The driver that is bound; `None` for none, and for a device that no pool has.
    pub driver: Option<String>,
    /// The attachments of it.
    pub attachments: Vec<AttachmentExplanation>,
}

/// One attachment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentExplanation {
    /// `sriov` or `host-device`.
    pub plugin: String,
    /// The device's name in the record.
    pub device: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub interface: String,
    /// The pod that the record names.
    pub pod: Option<String>,
    /// The path of the namespace.
    pub netns: String,
    /// Its inode.
    pub inode: Option<u64>,
    /// `alive`, `gone`, or `unseen` where that cannot be told from the daemon.
    pub state: &'static str,
    /// What the link is called there.
    pub link: Option<String>,
}

/// The text names no pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("wanted a pod as <namespace>/<name>")]
pub struct ParseAskedError;

impl FromStr for Asked {
    type Err = ParseAskedError;

    /// Both are names of Kubernetes: lower-case letters, digits, `-` and, in a pod's name, `.`
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or(ParseAskedError)?;
        let fits = |text: &str, dot: bool| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || dot && c == '.';
            !text.is_empty() && text.chars().all(fits)
        };
        if !fits(namespace, false) || !fits(name, true) {
            return Err(ParseAskedError);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Follows the chain from the kubelet to the namespace.
pub fn explain(asked: &Asked, seen: &Seen) -> PodExplanation {
    let mut chain = Chain { asked, seen, disagreement: None };
    let devices = chain.devices();
    let given: Vec<String> = devices.iter().map(|device| device.device.to_string()).collect();
    let others = seen.attachments.iter().filter(|it| asked.is_of(it) && !given.contains(&it.leftover.device));
    let other_attachments: Vec<_> = others.filter_map(AttachmentExplanation::of).collect();
    if let Some(other) = other_attachments.iter().find(|other| chain.is_offered(&other.device)) {
        chain.note(format!(
            "{} of container {} has {}, which the kubelet {}",
            other.interface,
            other.container_id,
            other.device,
            chain.said_of(&other.device)
        ));
    }
    PodExplanation { pod: asked.to_string(), devices, other_attachments, disagreement: chain.disagreement }
}

struct Chain<'a> {
    asked: &'a Asked,
    seen: &'a Seen,
    disagreement: Option<String>,
}

impl Chain<'_> {
    fn note(&mut self, disagreement: String) {
        self.disagreement.get_or_insert(disagreement);
    }

    fn devices(&mut self) -> Vec<DeviceExplanation> {
        let held = match &self.seen.held {
            Ok(held) => held,
            Err(error) => {
                self.note(error.clone());
                return Vec::new();
            }
        };
        let of_pod = held.iter().filter(|(_, holder)| self.asked.holds(holder, &self.seen.attachments));
        let devices: Vec<_> = of_pod.map(|(id, holder)| self.device(id, holder)).collect();
        if devices.is_empty() {
            self.note(if held.pods().iter().any(|pod| self.asked.is(pod, &self.seen.attachments)) {
                "the kubelet gave it no device: its containers request none that a device plugin here offers"
                    .to_owned()
            } else {
                "the kubelet does not tell of such a pod: it is not on this node, or over".to_owned()
            });
        }
        let mut explained = Vec::with_capacity(devices.len());
        for (device, disagreement) in devices {
            if let Some(disagreement) = disagreement {
                self.note(disagreement);
            }
            explained.push(device);
        }
        explained
    }

    fn device(&self, id: &DeviceId, holder: &Holder) -> (DeviceExplanation, Option<String>) {
        let pool = self.seen.pools.iter().find(|pool| pool.config.resource.to_string() == holder.resource);
        let known = pool.and_then(|pool| pool.get(&id.to_string()));
        let name = id.to_string();
        let of_device: Vec<&Attached> =
            self.seen.attachments.iter().filter(|it| it.leftover.device == name).collect();
        let explanation = DeviceExplanation {
            device: id.clone(),
            container: holder.container.clone(),
            resource: holder.resource.clone(),
            driver: known.and_then(|device| device.function.driver.clone()),
            attachments: of_device.iter().copied().filter_map(AttachmentExplanation::of).collect(),
        };
        let disagreement = match (pool, known) {
            (None, _) => {
                Some(format!("{name} was given as {}, which is no pool of this daemon", holder.resource))
            }
            (Some(_), None) => {
                Some(format!("{name} was given as {}, which does not have it now", holder.resource))
            }
            (Some(pool), Some(_)) => {
                let ill = pool.ill.get(id).map(|ill| format!("{name} is unhealthy: {ill}"));
                self.attachment(&name, &of_device).or(ill)
            }
        };
        (explanation, disagreement)
    }

    /// What does not agree between the kubelet's device and the pod's interface.
    fn attachment(&self, device: &str, of_device: &[&Attached]) -> Option<String> {
        let of_pod: Vec<&Attached> = of_device.iter().copied().filter(|it| self.asked.is_of(it)).collect();
        let attached = match (of_pod.as_slice(), of_device) {
            ([], []) => {
                return Some(format!(
                    "{device} was given to the pod, but no CNI plugin of Sluice attached it: the pod has no network whose \
                     k8s.v1.cni.cncf.io/resourceName is that resource, or its networks are not set up yet"
                ));
            }
            // A record of an older version names no pod.
            ([], [one]) if one.leftover.record.as_ref().is_some_and(|record| record.pod.is_none()) => one,
            ([], [other, ..]) => {
                let explained = AttachmentExplanation::of(other);
                let pod = explained.and_then(|it| it.pod).unwrap_or_else(|| "another pod".to_owned());
                return Some(format!(
                    "{device} was given to the pod, but its attachment is {pod}'s, whose DEL never came"
                ));
            }
            ([one], _) => one,
            ([one, another, ..], _) => {
                let name =
                    |it: &Attached| it.leftover.record.as_ref().map(|it| it.owner.key()).unwrap_or_default();
                return Some(format!("{device} is attached twice, by {} and {}", name(one), name(another)));
            }
        };
        broken(device, attached)
    }

    fn is_offered(&self, device: &str) -> bool {
        self.seen.pools.iter().any(|pool| pool.get(device).is_some())
    }

    fn said_of(&self, device: &str) -> String {
        let id = device.parse::<DeviceId>().ok();
        let holder = self.seen.held.as_ref().ok().zip(id).and_then(|(held, id)| held.get(&id));
        holder.map_or("gave to nobody".to_owned(), |holder| format!("gave to pod {}", holder.pod))
    }
}

/// What is wrong with the one attachment of a device and its pod.
fn broken(device: &str, attached: &Attached) -> Option<String> {
    let record = attached.leftover.record.as_ref()?;
    let path = record.sandbox.path.display();
    if !attached.leftover.claimed {
        return Some(format!(
            "{device} has a record of the pod, but another attachment has claimed it since"
        ));
    }
    match attached.leftover.life {
        Life::Over(_) => {
            return Some(format!("{device} is attached in {path}, and that network namespace is gone"));
        }
        Life::Unseen => {
            return Some(format!(
                "{device} is attached in {path}, which cannot be seen by the daemon: mount its directory there, \
                 with mountPropagation HostToContainer"
            ));
        }
        Life::Alive => {}
    }
    let moved = record.undo.iter().any(|undo| matches!(undo, attachment::Undo::Link(_)));
    let wanted = record.owner.ifname.as_str();
    match &attached.link {
        None if moved => Some(format!("{device} should be {wanted} in {path}, and is not there")),
        Some(link) if link != wanted => {
            Some(format!("{device} should be {wanted} in {path}, and is called {link}"))
        }
        _ => None,
    }
}

impl Asked {
    /// Whether a name of the kubelet's means this pod; a UID does where a record of the pod tells it.
    fn is(&self, pod: &PodName, attachments: &[Attached]) -> bool {
        match pod {
            PodName::Named { namespace, name } => *namespace == self.namespace && *name == self.name,
            PodName::Uid(_) => attachments.iter().filter(|it| self.is_of(it)).any(|it| {
                let named = it.leftover.record.as_ref().and_then(|record| record.pod.as_ref());
                named.is_some_and(|named| is_same(named, pod) == Some(true))
            }),
        }
    }

    fn holds(&self, holder: &Holder, attachments: &[Attached]) -> bool {
        self.is(&holder.pod, attachments)
    }

    /// Whether a record names this pod.
    fn is_of(&self, attached: &Attached) -> bool {
        let pod = attached.leftover.record.as_ref().and_then(|record| record.pod.as_ref());
        pod.is_some_and(|pod| pod.namespace == self.namespace && pod.name == self.name)
    }
}

impl AttachmentExplanation {
    fn of(attached: &Attached) -> Option<Self> {
        let record = attached.leftover.record.as_ref()?;
        let state = match attached.leftover.life {
            Life::Alive => "alive",
            Life::Over(_) => "gone",
            Life::Unseen => "unseen",
        };
        Some(Self {
            plugin: attached.plugin.to_owned(),
            device: record.device.clone(),
            container_id: record.owner.container_id.clone(),
            interface: record.owner.ifname.to_string(),
            pod: record.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name)),
            netns: record.sandbox.path.display().to_string(),
            inode: record.sandbox.id.map(|id| id.ino),
            state,
            link: attached.link.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
