//! Whole runs of `host-device` beside any other `host-device` and beside the kernel's own bare move, in turns: ADD and DEL
//! of one veth between two new network namespaces. It must not judge: it prints what it saw.
//!
//! ```text
//! host_device_beside --binary=sluice=PATH --binary=go=PATH [--rounds=N] [--state=DIR]
//! ```
//!
//! The first binary is the one that the others are compared with. All take turns in every round, each round beginning with
//! another, so that they meet the same machine. It needs root.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use benches::figures::{percentile, ratio};
use netlink::Netns;
use testkit::netns::Namespace;

mod memory;
mod node;
mod subject;

use node::Node;
use subject::{Binary, Subject};

const ROUNDS: usize = 100;
/// How often the peak memory is looked at: it varies little.
const MEMORY_ROUNDS: usize = 5;

fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let host = Namespace::new("bench-host");
    let pod = Namespace::new("bench-pod");
    let state = tempfile::tempdir_in(&arguments.state)?;
    let binaries = arguments.binaries.into_iter();
    let mut subjects: Vec<Subject> = binaries
        .map(|(name, path)| Subject::binary(Binary { name, path, state: state.path().to_owned() }))
        .collect();
    subjects.push(Subject::bare_move());
    // This thread is the only one, and what it starts begins where it is.
    Netns::open(host.path())?.enter(|| -> Result<()> {
        let mut node = Node::new(&host, &pod)?;
        for round in 0..arguments.rounds {
            for turn in 0..subjects.len() {
                let turn = (round + turn) % subjects.len();
                subjects[turn].round(&mut node)?;
            }
        }
        for _ in 0..MEMORY_ROUNDS {
            for subject in &mut subjects {
                subject.weigh(&mut node)?;
            }
        }
        Ok(())
    })??;
    print(&subjects, arguments.rounds);
    Ok(())
}

struct Arguments {
    binaries: Vec<(String, PathBuf)>,
    rounds: usize,
    /// Where records are kept: on a disk, as a node's are, for writing them is part of an ADD.
    state: PathBuf,
}

impl Arguments {
    fn read(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { binaries: Vec::new(), rounds: ROUNDS, state: std::env::temp_dir() };
        for word in words {
            if let Some(value) = word.strip_prefix("--binary=") {
                let (name, path) = value.split_once('=').context("wanted --binary=NAME=PATH")?;
                let path = PathBuf::from(path);
                ensure!(path.is_file(), "{name}: there is no {}", path.display());
                arguments.binaries.push((name.to_owned(), path));
            } else if let Some(value) = word.strip_prefix("--rounds=") {
                arguments.rounds = value.parse().context("wanted --rounds=NUMBER")?;
            } else if let Some(value) = word.strip_prefix("--state=") {
                arguments.state = value.into();
            } else {
                bail!("unknown argument {word:?}; wanted --binary=NAME=PATH, --rounds=NUMBER or --state=DIR");
            }
        }
        ensure!(!arguments.binaries.is_empty(), "nothing to compare: wanted --binary=NAME=PATH");
        Ok(arguments)
    }
}

fn print(subjects: &[Subject], rounds: usize) {
    println!("\nhost-device: ADD and DEL of a veth, {rounds} rounds in turns");
    println!("{:<8} {:<10} {:>9} {:>9} {:>12}", "", "", "p50 ms", "p99 ms", "peak KiB");
    for command in subject::COMMANDS {
        for subject in subjects {
            let samples = subject.samples(command);
            if samples.is_empty() {
                continue;
            }
            let peak = subject.peak_kib(command).map(|kib| kib.to_string()).unwrap_or_default();
            let (p50, p99) = (percentile(samples, 50), percentile(samples, 99));
            println!("{command:<8} {:<10} {:>9} {:>9} {peak:>12}", subject.name(), millis(p50), millis(p99));
        }
    }
    println!("\nratios: the median of each round's own, and of the two p99");
    let Some((ours, others)) = subjects.split_first() else { return };
    for command in subject::COMMANDS {
        for other in others.iter().filter(|other| !other.samples(command).is_empty()) {
            let (ours_took, other_took) = (ours.samples(command), other.samples(command));
            let pair = format!("{}/{}", ours.name(), other.name());
            let p99 = percentile(ours_took, 99).div_duration_f64(percentile(other_took, 99));
            print!("{command:<8} {pair:<20} p50 {:>5.2}  p99 {p99:>5.2}", ratio(ours_took, other_took));
            match ours.peak_kib(command).zip(other.peak_kib(command)) {
                Some((ours, other)) => println!("  memory {:>5.2}", f64::from(ours) / f64::from(other)),
                None => println!(),
            }
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64() * 1000.0)
}
