//! Puts CNI plugins into a node's directory: whole regular files, each replaced in one step, as the only program of a container.
//! It must not remove a plugin: pods that were made with it still need its DEL.

mod place;

use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

const USAGE: &str = "usage: install-cni [--wait] <directory> <plugin file>...\n\
    Copies each file into the directory; with --wait, stays until SIGTERM, as the container of a DaemonSet has to.";

fn main() -> ExitCode {
    let mut args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let wait = args.first().is_some_and(|arg| arg.as_os_str() == "--wait");
    if wait {
        args.remove(0);
    }
    let [directory, files @ ..] = args.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if files.is_empty() || directory.to_string_lossy().starts_with('-') {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    // Before the copies, so that a signal during them is kept: process 1 of a container would not see it otherwise.
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    if let Err(error) = ends.thread_block() {
        eprintln!("install-cni: block signals: {error}");
    }
    let mut failed = false;
    if let Err(error) = place::sweep(directory) {
        eprintln!("install-cni: {error:#}");
    }
    for file in files {
        match place::place(file, directory) {
            Ok(placed) => println!("install-cni: {placed}"),
            Err(error) => {
                eprintln!("install-cni: {error:#}");
                failed = true;
            }
        }
    }
    if failed {
        // The kubelet starts the container again, and says why it ended.
        return ExitCode::FAILURE;
    }
    if wait && let Err(error) = ends.wait() {
        eprintln!("install-cni: wait for a signal: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
