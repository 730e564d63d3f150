//! Whole runs of `host-device` beside any other `host-device` and beside the kernel's own bare move, in turns: ADD and DEL
//! of a veth between two new network namespaces, alone and with as many at once as pods may start on a node.
//! It must not judge: it prints what it saw.
//!
//! ```text
//! host_device_beside --binary=sluice=PATH --binary=go=PATH [--rounds=N] [--parallel=N] [--state=DIR]
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

mod node;
mod subject;

use node::Lane;
use subject::{Binary, Subject};

const ROUNDS: usize = 100;
/// So many pods at once, in so much fewer rounds, each of which gives as many samples.
const PARALLEL: usize = 16;
/// But in this many at least. Of links that are moved at the same time the kernel moves one after the other, so that a round gives
/// samples from the first to the last, and few rounds a rough median.
const FEWEST_ROUNDS: usize = 20;
/// How often the peak memory is looked at: it varies little.
const MEMORY_ROUNDS: usize = 5;

fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let host = Namespace::new("bench-host");
    let widths = [1, arguments.parallel];
    let pods: Vec<Namespace> = (0..arguments.parallel.max(1)).map(|_| Namespace::new("bench-pod")).collect();
    let state = tempfile::tempdir_in(&arguments.state)?;
    let binaries = arguments.binaries.into_iter();
    let mut subjects: Vec<Subject> = binaries
        .map(|(name, path)| Subject::binary(Binary { name, path, state: state.path().to_owned() }))
        .collect();
    subjects.push(Subject::bare_move());
    // This thread is the only one, and what it starts begins where it is.
    Netns::open(host.path())?.enter(|| -> Result<()> {
        let lanes = pods.iter().enumerate().map(|(number, pod)| Lane::new(number, &host, pod));
        let mut lanes = lanes.collect::<Result<Vec<_>>>()?;
        for _ in 0..MEMORY_ROUNDS {
            for subject in &mut subjects {
                subject.weigh(&mut lanes[0])?;
            }
        }
        for width in widths.into_iter().filter(|width| *width > 0) {
            let rounds = arguments.rounds.div_ceil(width).max(FEWEST_ROUNDS.min(arguments.rounds));
            for round in 0..rounds {
                for turn in 0..subjects.len() {
                    let turn = (round + turn) % subjects.len();
                    subjects[turn].round(&mut lanes[..width])?;
                }
            }
            print(&subjects, rounds, width);
            subjects.iter_mut().for_each(Subject::forget);
        }
        Ok(())
    })?
}

struct Arguments {
    binaries: Vec<(String, PathBuf)>,
    rounds: usize,
    /// How many lanes the second table has; 0 for no second table.
    parallel: usize,
    /// Where records are kept: on a disk, as a node's are, for writing them is part of an ADD.
    state: PathBuf,
}

impl Arguments {
    fn read(words: impl Iterator<Item = String>) -> Result<Self> {
        let state = std::env::temp_dir();
        let mut arguments = Self { binaries: Vec::new(), rounds: ROUNDS, parallel: PARALLEL, state };
        for word in words {
            if let Some(value) = word.strip_prefix("--binary=") {
                let (name, path) = value.split_once('=').context("wanted --binary=NAME=PATH")?;
                let path = PathBuf::from(path);
                ensure!(path.is_file(), "{name}: there is no {}", path.display());
                arguments.binaries.push((name.to_owned(), path));
            } else if let Some(value) = word.strip_prefix("--rounds=") {
                arguments.rounds = value.parse().context("wanted --rounds=NUMBER")?;
            } else if let Some(value) = word.strip_prefix("--parallel=") {
                arguments.parallel = value.parse().context("wanted --parallel=NUMBER")?;
            } else if let Some(value) = word.strip_prefix("--state=") {
                arguments.state = value.into();
            } else {
                bail!(
                    "unknown argument {word:?}; wanted --binary=NAME=PATH, --rounds=NUMBER, --parallel=NUMBER or --state=DIR"
                );
            }
        }
        ensure!(!arguments.binaries.is_empty(), "nothing to compare: wanted --binary=NAME=PATH");
        Ok(arguments)
    }
}

fn print(subjects: &[Subject], rounds: usize, width: usize) {
    println!("\nhost-device: ADD and DEL of a veth, {width} at once, {rounds} rounds in turns");
    println!("{:<8} {:<10} {:>9} {:>9} {:>12} {:>9}", "", "", "p50 ms", "p99 ms", "peak KiB", "own KiB");
    for command in subject::COMMANDS {
        for subject in subjects.iter().filter(|subject| !subject.samples(command).is_empty()) {
            let samples = subject.samples(command);
            let (p50, p99) = (millis(percentile(samples, 50)), millis(percentile(samples, 99)));
            print!("{command:<8} {:<10} {p50:>9} {p99:>9}", subject.name());
            match subject.peak(command) {
                Some(peak) => println!(" {:>12} {:>9}", peak.resident, peak.own),
                None => println!(),
            }
        }
    }
    println!(
        "\nratios: the median of each round's own where one runs alone, else of the two medians; and of the two p99"
    );
    let Some((ours, others)) = subjects.split_first() else { return };
    for command in subject::COMMANDS {
        for other in others.iter().filter(|other| !other.samples(command).is_empty()) {
            let (ours_took, other_took) = (ours.samples(command), other.samples(command));
            let pair = format!("{}/{}", ours.name(), other.name());
            let p50 = if width == 1 {
                ratio(ours_took, other_took)
            } else {
                percentile(ours_took, 50).div_duration_f64(percentile(other_took, 50))
            };
            let p99 = percentile(ours_took, 99).div_duration_f64(percentile(other_took, 99));
            print!("{command:<8} {pair:<20} p50 {p50:>5.2}  p99 {p99:>5.2}");
            match ours.peak(command).zip(other.peak(command)) {
                Some((ours, other)) => {
                    let of = |ours: u32, other: u32| f64::from(ours) / f64::from(other);
                    println!(
                        "  memory {:>5.2}, own {:>5.2}",
                        of(ours.resident, other.resident),
                        of(ours.own, other.own)
                    );
                }
                None => println!(),
            }
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64() * 1000.0)
}
