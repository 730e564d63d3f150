//! Whole runs of `sriov` beside any other `sriov` and beside the same kernel operations done bare, in turns: ADD and DEL of
//! one VF, and of several at once. It must not judge: it prints what it saw.
//!
//! ```text
//! sriov_beside --binary=sluice=PATH --binary=go=PATH --pf=ADDRESS [--pf=ADDRESS] [--rounds=N]
//! ```
//!
//! `bare_vf` as a binary tells what it takes to start a program for those operations, which is no plugin's to save.
//!
//! It takes all VFs of the PFs, bound to their kernel driver and each with its link on the host, and needs root. The first
//! binary is the one that the others are compared with. State is kept where the plugins keep it by themselves.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use benches::process::Binary;
use benches::table::{self, Column};
use benches::turns;

mod node;
mod subject;

use node::Node;
use subject::Subject;

const ROUNDS: usize = 30;
/// How often the peak memory is looked at: it varies little.
const MEMORY_ROUNDS: usize = 3;
/// How many VFs are attached at once, of those that there are.
const AT_ONCE: usize = 8;

fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let mut node = Node::new(&arguments.pfs, AT_ONCE)?;
    let mut subjects: Vec<Subject> = arguments.binaries.into_iter().map(Subject::binary).collect();
    subjects.push(Subject::bare());
    turns::play(&mut subjects, arguments.rounds, |subject| subject.round(&mut node))?;
    turns::play(&mut subjects, MEMORY_ROUNDS, |subject| subject.weigh(&mut node))?;
    let columns: Vec<&Column> = subjects.iter().map(|subject| &subject.column).collect();
    let title = format!(
        "sriov: ADD and DEL of a VF with a VLAN and trust, and of {} at once, {} rounds in turns",
        node.vfs(),
        arguments.rounds
    );
    table::print(&title, &subject::COMMANDS, &columns);
    Ok(())
}

struct Arguments {
    binaries: Vec<Binary>,
    pfs: Vec<PathBuf>,
    rounds: usize,
}

impl Arguments {
    fn read(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { binaries: Vec::new(), pfs: Vec::new(), rounds: ROUNDS };
        for word in words {
            if let Some(value) = word.strip_prefix("--binary=") {
                arguments.binaries.push(Binary::parse(value)?);
            } else if let Some(value) = word.strip_prefix("--pf=") {
                arguments.pfs.push(PathBuf::from("/sys/bus/pci/devices").join(value));
            } else if let Some(value) = word.strip_prefix("--rounds=") {
                arguments.rounds = value.parse().context("wanted --rounds=NUMBER")?;
            } else {
                bail!(
                    "unknown argument {word:?}; wanted --binary=NAME=PATH, --pf=ADDRESS or --rounds=NUMBER"
                );
            }
        }
        ensure!(!arguments.binaries.is_empty(), "nothing to compare: wanted --binary=NAME=PATH");
        ensure!(!arguments.pfs.is_empty(), "nothing to attach: wanted --pf=ADDRESS");
        Ok(arguments)
    }
}
