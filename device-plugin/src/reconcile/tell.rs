//! What is said and counted of what was done with one attachment.
//! It must not say the same twice.

use attachment::{Leftover, Record};

use super::decide::Act;
use super::pass::{Done, Outcome, Plugin};
use crate::inventory::DeviceId;
use crate::metrics::Metrics;

/// What tells an attachment from others.
pub(super) fn key(plugin: &Plugin, leftover: &Leftover) -> String {
    let owner = leftover.record.as_ref().map(|record| record.owner.key());
    format!("{} {} {}", plugin.name, leftover.device, owner.unwrap_or_default())
}

impl Outcome {
    /// The plugin, the device and the reason, where that must not be handed out.
    pub(super) fn unclean(&self) -> Option<(&'static str, DeviceId, String)> {
        let id = self.leftover.device.parse().ok().filter(|_| self.verdict.unclean)?;
        let reason = match &self.done {
            Done::AsDecided { .. } => return None,
            Done::Nothing | Done::Otherwise => self.verdict.why.clone(),
            Done::Failed(error) => format!("{}, and putting it back failed: {error}", self.verdict.why),
        };
        Some((self.plugin.name, id, reason))
    }

    /// The record whose addresses IPAM still holds.
    pub(super) fn to_release(&self) -> Option<(Plugin, Record)> {
        match &self.done {
            Done::AsDecided { release: true, .. } => {
                Some((self.plugin.clone(), self.leftover.record.clone()?))
            }
            _ => None,
        }
    }

    /// What tells the attachment from others.
    pub(super) fn key(&self) -> String {
        key(&self.plugin, &self.leftover)
    }

    /// What there is to say of it.
    pub(super) fn text(&self) -> String {
        let failed = if let Done::Failed(error) = &self.done { error } else { "" };
        format!("{:?} {} {failed}", self.verdict.act, self.verdict.why)
    }

    /// Counts what was done, and says it; what was not done only where that is new.
    pub(super) fn tell(&self, metrics: &Metrics, is_new: bool) {
        let (device, plugin, reason) = (&self.leftover.device, self.plugin.name, &self.verdict.why);
        let record = self.leftover.record.as_ref();
        let container = record.map(|record| record.owner.container_id.as_str());
        let interface = record.map(|record| record.owner.ifname.as_str());
        let pod = record.and_then(|record| record.pod.as_ref());
        let pod = pod.map(|pod| format!("{}/{}", pod.namespace, pod.name));
        match &self.done {
            Done::AsDecided { notices, .. } if self.verdict.act == Act::Restore => {
                metrics.reconciled("restored");
                let ms = self.took.as_millis();
                tracing::info!(
                    device,
                    plugin,
                    container,
                    interface,
                    pod,
                    reason,
                    ms,
                    "put back what a pod left"
                );
                for notice in notices {
                    tracing::warn!("{notice}");
                }
            }
            // A record that waits for its addresses is met again by each pass.
            Done::AsDecided { release: false, .. } => {
                metrics.reconciled("forgotten");
                tracing::info!(
                    device,
                    plugin,
                    container,
                    interface,
                    pod,
                    reason,
                    "nothing is left to put back"
                );
            }
            Done::Failed(error) if is_new => {
                metrics.reconciled("failed");
                tracing::error!(device, plugin, container, interface, pod, reason, error, "cannot put back");
            }
            Done::Nothing if is_new && self.verdict.act == Act::Wait => {
                metrics.reconciled("waiting");
                tracing::warn!(device, plugin, container, interface, pod, reason, "cannot put back yet");
            }
            Done::Nothing | Done::Otherwise | Done::AsDecided { .. } | Done::Failed(_) => {
                tracing::debug!(device, plugin, container, interface, pod, reason, done = ?self.done, "looked at");
            }
        }
    }
}
