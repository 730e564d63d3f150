//! The project's own commands, one word each: `cargo xtask demo`.
//! Holds no product code, and nothing that `testbed` (the node) or cargo already does.

use std::process::ExitCode;

use anyhow::Result;
use anyhow::bail;

mod bench;
mod cargo;
mod check;
mod end_to_end;
mod node;
mod shipped;
mod tally;

const HELP: &str = "\
usage: cargo xtask COMMAND

  demo              a story: pods get real VFs on an emulated node
  test              every test: unit, doc, and end to end on the emulated node
  ci                formatting and lints, then what `test` runs
  bench [NAME=PATH] the benches, beside the Go programs; NAME=PATH is another sriov binary to compare ours with
  bench sriov ...   that comparison alone
  bench host-device [NAME=PATH]
                    the other one alone; NAME=PATH is another host-device binary
  build             the release binaries, in target/shipped, and whether they are what they promise
  node JOB [FILTER] boot the emulated node and run one of the guest's jobs, such as `smoke`;
                    with FILTER, only cases whose name contains it

The emulated node needs Debian 12. What it takes is installed with apt-get, which is announced; what is built once is kept
in ~/.cache/sluice.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            // Not {:?}: with RUST_BACKTRACE set that is pages, and the chain says what to do.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["demo"] => node::demo(),
        ["test"] => check::test(),
        ["ci"] => check::ci(),
        ["bench", "sriov", others @ ..] => bench::sriov(others),
        ["bench", "host-device", others @ ..] => bench::host_device(others),
        ["bench", others @ ..] => bench::all(others),
        ["build"] => shipped::release(),
        ["node", job] => node::run(job, None),
        ["node", job, filter] => node::run(job, Some(filter)),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        [] => bail!("no command\n\n{HELP}"),
        other => bail!("`{}` is no command\n\n{HELP}", other.join(" ")),
    }
}
