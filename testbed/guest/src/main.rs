//! The program that runs inside the emulated node: its init, and the jobs that test Sluice there.
//! Uses none of Sluice's own crates: what those did is read back through the kernel.
//!
//! It is started three times in a boot: as `/init` of the initramfs, which finds the real root and starts
//! `/share/guest init`, which prepares the node and starts `/share/guest job NAME`.

use std::process::ExitCode;

mod cluster;
mod cni;
mod containerd;
mod dpdk;
mod host;
mod init;
mod initramfs;
mod jobs;
mod report;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["/init", ..] => initramfs::run(),
        [_, "init"] => init::run(),
        [_, "job", name, ref filter @ ..] if filter.len() <= 1 => jobs::run(name, filter.first().copied()),
        _ => {
            eprintln!("usage: guest job NAME [FILTER]\njobs: {}", jobs::names());
            ExitCode::FAILURE
        }
    }
}
