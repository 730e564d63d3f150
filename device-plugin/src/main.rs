//! The `sriovdp` binary: reads the command line, does as told, and ends with a reason and an exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use sriovdp::cli::{Cli, Command, LogFormat, Options, Output};
use sriovdp::config::{self, Config};
use sriovdp::control::{self, Question};
use sriovdp::daemon::{self, Error, Shown};
use sriovdp::explain::pod::Asked;
use sriovdp::names::Names;
use sriovdp::{explain, lint, list};

fn main() -> ExitCode {
    let Cli { options, command, .. } = Cli::of_process();
    log_to_stderr(&options);
    let done = match command {
        None => serve(&options).map(|()| ExitCode::SUCCESS),
        Some(Command::List { output }) => print_list(&options, output),
        Some(Command::Explain { asked, output }) => print_explanation(&options, asked.as_deref(), output),
        Some(Command::Alive) => probe(&options, &Question::Alive),
        Some(Command::Ready) => probe(&options, &Question::Ready),
        Some(Command::Check { file, output, strict }) => {
            let options = Options { config_file: file.unwrap_or(options.config_file.clone()), ..options };
            check(&options, output, strict)
        }
    };
    done.unwrap_or_else(|error| {
        tracing::error!("{error}");
        ExitCode::from(error.exit_code())
    })
}

fn log_to_stderr(options: &Options) {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(options.log_level);
    match options.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
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
    let done = runtime.block_on(daemon::run(options));
    // A look that hangs in the kernel is not waited for.
    runtime.shutdown_background();
    done
}

/// Without a configuration there are no pools, but still devices to show.
fn config(options: &Options) -> Result<Option<Config>, Error> {
    match Config::read(&options.config_file, &options.resource_prefix) {
        Err(error @ config::Error::Read { .. }) => {
            tracing::warn!("{error}; no pools are shown");
            Ok(None)
        }
        other => Ok(Some(other?)),
    }
}

fn print_list(options: &Options, output: Output) -> Result<ExitCode, Error> {
    let config = config(options)?;
    let Shown { snapshot, pools, odd } = daemon::pools_of(options, config.as_ref())?;
    for unread in odd {
        tracing::warn!("passed over: {unread}");
    }
    let rows = list::rows(&snapshot, &pools);
    print(&match output {
        Output::Text => list::text(&rows),
        Output::Json => list::json(&rows),
    })
}

fn print_explanation(options: &Options, asked: Option<&str>, output: Output) -> Result<ExitCode, Error> {
    let pod = asked.and_then(|asked| asked.parse::<Asked>().ok());
    let shown = config(options).and_then(|config| daemon::pools_of(options, config.as_ref()));
    let Shown { snapshot, pools, odd } = match (shown, &pod) {
        // The daemon serves on with the last configuration that was sound, and answers for a pod.
        (Err(error), Some(pod)) => {
            tracing::warn!("{error}");
            return print_pod(options, pod, output);
        }
        (shown, _) => shown?,
    };
    let names = |ids: &_| Names::of(options.pci_ids.as_deref(), ids);
    let explanations = match (explain::explain(&snapshot, &odd, &pools, asked, names), &pod) {
        // Neither a device nor a pool: a pod, of which the running daemon knows.
        (Err(_), Some(pod)) => return print_pod(options, pod, output),
        (explained, _) => explained?,
    };
    print(&match output {
        Output::Text => explain::text(&explanations),
        Output::Json => explain::json(&explanations),
    })
}

fn print_pod(options: &Options, pod: &Asked, output: Output) -> Result<ExitCode, Error> {
    let question = Question::Pod { pod: pod.to_string(), json: matches!(output, Output::Json) };
    print(&control::ask(&options.control_socket, &question)?)
}

/// What a kubelet's probe wants: 0 where it is so, 1 where it is not or nobody answers.
fn probe(options: &Options, question: &Question) -> Result<ExitCode, Error> {
    let health = control::probe(&options.control_socket, question)?;
    print(&(serde_json::json!(health).to_string() + "\n"))?;
    Ok(if health.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// 2 where the daemon would not serve the file or a part of it, 1 for warnings that are to fail.
fn check(options: &Options, output: Output, strict: bool) -> Result<ExitCode, Error> {
    let config = Config::read(&options.config_file, &options.resource_prefix);
    let report = lint::check(&config, &options.kubelet_root);
    print(&match output {
        Output::Text => report.text(),
        Output::Json => report.json(),
    })?;
    Ok(match report.findings.len() {
        _ if report.failed() => ExitCode::from(2),
        1.. if strict => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn print(text: &str) -> Result<ExitCode, Error> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads only the first lines has what he wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        done => done.map(|()| ExitCode::SUCCESS).map_err(|source| Error::System { doing: "print", source }),
    }
}
