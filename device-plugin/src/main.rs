//! The `sriovdp` binary: reads the command line, does as told, and ends with a reason and an exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use sriovdp::cli::{Cli, Command, Options, Output};
use sriovdp::config::{self, Config};
use sriovdp::daemon::{self, Error};
use sriovdp::{list, pool};

fn main() -> ExitCode {
    let Cli { options, command, .. } = Cli::of_process();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(options.log_level)
        .init();
    let done = match command {
        None => serve(&options),
        Some(Command::List { output }) => print_list(&options, output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// One thread: a kubelet holds one stream for each pool and calls a few times a minute.
fn serve(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { doing: "start", source })?;
    tracing::info!("sriovdp {}, configuration {}", env!("CARGO_PKG_VERSION"), options.config_file.display());
    runtime.block_on(daemon::run(options))
}

/// Without a configuration there are no pools, but still functions to show.
fn print_list(options: &Options, output: Output) -> Result<(), Error> {
    let config = match Config::read(&options.config_file, &options.resource_prefix) {
        Err(error @ config::Error::Read { .. }) => {
            tracing::warn!("{error}; no pools are shown");
            None
        }
        other => Some(other?),
    };
    let configs = config.as_ref().map_or(&[][..], |config| &config.pools);
    let snapshot = daemon::look(options, configs)?.snapshot;
    let pools = pool::build(configs, &snapshot);
    let rows = list::rows(&snapshot, &pools);
    let text = match output {
        Output::Text => list::text(&rows),
        Output::Json => list::json(&rows),
    };
    io::stdout().write_all(text.as_bytes()).map_err(|source| Error::System { doing: "print", source })
}
