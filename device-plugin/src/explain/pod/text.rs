//! The explanation of a pod, for people and for programs.
//! It must not judge.

use std::fmt::Write;

use super::{AttachmentExplanation, PodExplanation};

impl PodExplanation {
    /// A paragraph, with the disagreement at its end.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    /// One object.
    pub fn json(&self) -> String {
        // Strings, numbers and lists of them cannot fail to be JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "pod {}", self.pod)?;
        for device in &self.devices {
            let driver = device.driver.as_deref().unwrap_or("no driver known");
            let (container, resource) = (&device.container, &device.resource);
            writeln!(text, "  container {container} has {} as {resource}  {driver}", device.device)?;
            for attachment in &device.attachments {
                attachment.write(text, "    ")?;
            }
        }
        for attachment in &self.other_attachments {
            writeln!(text, "  {}, which the kubelet did not give it", attachment.device)?;
            attachment.write(text, "    ")?;
        }
        match &self.disagreement {
            Some(disagreement) => writeln!(text, "first that does not agree: {disagreement}"),
            None => writeln!(text, "everything agrees"),
        }
    }
}

impl AttachmentExplanation {
    fn write(&self, text: &mut String, indent: &str) -> std::fmt::Result {
        let pod = self.pod.as_ref().map(|pod| format!(" for pod {pod}")).unwrap_or_default();
        writeln!(
            text,
            "{indent}{} by {}, container {}{pod}",
            self.interface, self.plugin, self.container_id
        )?;
        let inode = self.inode.map(|inode| format!(" (inode {inode})")).unwrap_or_default();
        let link = match &self.link {
            Some(link) => format!(", and {link} is there"),
            None => String::new(),
        };
        writeln!(text, "{indent}in {}{inode}, {}{link}", self.netns, self.state)
    }
}
