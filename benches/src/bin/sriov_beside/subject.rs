//! Who is measured: a binary as a container runtime runs it, or the kernel alone.
//! It must not print.

use anyhow::Result;
use benches::bare::{IN_POD, VLAN};
use benches::process::{Binary, time};
use benches::table::Column;
use serde_json::json;
use testkit::runtime::Invocation;

use crate::node::Node;

/// What is measured, in this order. VERSION does nothing, so that it tells what starting and ending a process costs; the last
/// two are until the last of all VFs.
pub(crate) const COMMANDS: [&str; 5] = ["VERSION", "ADD", "DEL", "ADD all", "DEL all"];

/// One that takes its turn in every round.
pub(crate) struct Subject {
    /// `None`: the kernel's work alone, by messages from a process that runs already.
    binary: Option<Binary>,
    /// Its figures.
    pub(crate) column: Column,
}

impl Subject {
    /// A plugin.
    pub(crate) fn binary(binary: Binary) -> Self {
        Self { column: Column::new(&binary.name, &COMMANDS), binary: Some(binary) }
    }

    /// The kernel's work alone.
    pub(crate) fn bare() -> Self {
        Self { binary: None, column: Column::new("bare", &COMMANDS) }
    }

    /// Every command once, timed. Before each the links are looked for where they have to be.
    pub(crate) fn round(&mut self, node: &mut Node) -> Result<()> {
        if let Some(binary) = &self.binary {
            self.column.took("VERSION", binary.time(&invocation("VERSION", node, 0))?);
        }
        for (command, vfs, told) in [
            ("ADD", 1, "ADD"),
            ("DEL", 1, "DEL"),
            ("ADD", node.vfs(), "ADD all"),
            ("DEL", node.vfs(), "DEL all"),
        ] {
            node.ready(command, vfs)?;
            let took = match &self.binary {
                Some(binary) => {
                    let all: Vec<Invocation> = (0..vfs).map(|vf| invocation(command, node, vf)).collect();
                    binary.time_all(&all)?
                }
                None => time(|| (0..vfs).try_for_each(|vf| node.bare(command, vf)))?,
            };
            self.column.took(told, took);
        }
        node.ready("ADD", node.vfs())
    }

    /// ADD and DEL once, for their peak memory.
    pub(crate) fn weigh(&mut self, node: &mut Node) -> Result<()> {
        let Some(binary) = &self.binary else { return Ok(()) };
        for command in ["ADD", "DEL"] {
            node.ready(command, 1)?;
            self.column.weighed(command, binary.peak_kib(&invocation(command, node, 0))?);
        }
        Ok(())
    }
}

fn invocation(command: &str, node: &Node, vf: usize) -> Invocation {
    let (address, bare, netns) = node.attachment(vf);
    let conf = json!({
        "cniVersion": "1.0.0", "name": "bench", "type": "sriov", "deviceID": address, "vlan": VLAN, "trust": "on",
    });
    // Of these a plugin takes no notice: `bare_vf` goes by them.
    Invocation::attachment(command, &format!("bench-{vf}"), &netns.to_string_lossy(), IN_POD)
        .env("BARE_PF", bare.pf.to_string())
        .env("BARE_VF", bare.number.to_string())
        .env("BARE_NAME", bare.name.to_string())
        .conf(&conf)
}
