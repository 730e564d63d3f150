//! The text of a CDI specification, version 0.5.0, in YAML.
//! It must not say more than that version can.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::device_info::Node;

/// Keys in the order of the alphabet, as CDI's own library writes them. Every text is quoted as in JSON, which YAML takes.
pub(super) fn text(kind: &str, devices: &BTreeMap<String, Vec<Node>>) -> String {
    let mut yaml = String::from("---\ncdiVersion: \"0.5.0\"\ndevices:\n");
    for (id, nodes) in devices {
        // Writing to a string cannot fail.
        let _ = device(&mut yaml, id, nodes);
    }
    if devices.is_empty() {
        yaml = yaml.replace("devices:\n", "devices: []\n");
    }
    let _ = writeln!(yaml, "kind: {}", quoted(kind));
    yaml
}

fn device(yaml: &mut String, id: &str, nodes: &[Node]) -> std::fmt::Result {
    writeln!(yaml, "- containerEdits:")?;
    if nodes.is_empty() {
        // Edits may not be empty; a device without nodes gets a variable that does no harm.
        let name: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let variable = format!("SLUICE_CDI_{}={id}", name.to_uppercase());
        return write!(yaml, "    env:\n    - {}\n  name: {}\n", quoted(&variable), quoted(id));
    }
    writeln!(yaml, "    deviceNodes:")?;
    for node in nodes {
        writeln!(yaml, "    - hostPath: {}", quoted(&node.host))?;
        writeln!(yaml, "      path: {}", quoted(&node.container))?;
        writeln!(yaml, "      permissions: \"rw\"")?;
    }
    writeln!(yaml, "  name: {}", quoted(id))
}

fn quoted(text: &str) -> String {
    // A string cannot fail to be JSON.
    serde_json::to_string(text).unwrap_or_default()
}
