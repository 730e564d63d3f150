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

/// The same specification with those devices alone that stay; `None` where that is none. Takes what [`text`] writes, and
/// what the Go plugin does, which is the same keys in the same order.
pub(super) fn cut(text: &str, stays: impl Fn(&str) -> bool) -> Option<String> {
    let (mut yaml, mut device, mut any) = (String::new(), String::new(), false);
    for line in text.lines() {
        let begins = line.starts_with("- ");
        if begins || !line.starts_with(' ') {
            any |= end_of_device(&mut yaml, &mut device, &stays);
        }
        let part = if begins || line.starts_with(' ') { &mut device } else { &mut yaml };
        part.push_str(line);
        part.push('\n');
    }
    any |= end_of_device(&mut yaml, &mut device, &stays);
    any.then_some(yaml)
}

/// Whether the device stays.
fn end_of_device(yaml: &mut String, device: &mut String, stays: impl Fn(&str) -> bool) -> bool {
    let text = std::mem::take(device);
    let mut names = text.lines().filter_map(|line| line.strip_prefix("  name: "));
    let stays = names.next().is_some_and(|name| stays(name.trim_matches(['"', '\''])));
    if stays {
        yaml.push_str(&text);
    }
    stays
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
