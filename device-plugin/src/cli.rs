//! The command line: our own options, the image entry point's and the Go binary's, with one dash or two.
//! It must not check that paths exist: whoever uses them says so better.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::web;

/// Offers SR-IOV VFs and other PCI functions to pods, through the kubelet.
#[derive(Debug, Parser)]
#[command(name = "sriovdp", version, args_override_self = true, max_term_width = 100)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    ignored: Ignored,
    /// Without a command: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print every function that a pool could take, and the pool that takes it
    List {
        /// For people or for programs
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Say why: for every device the pool that takes it, or what each pool has against it
    Explain {
        /// One device, by its id or network device, one pool, or a pod as namespace/name, of which the running daemon knows
        #[arg(value_name = "DEVICE|POOL|POD")]
        asked: Option<String>,
        /// For people or for programs
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Ask the running daemon whether it can do its work, as a liveness probe; exit code 1 where it cannot
    Alive,
    /// Ask the running daemon whether the kubelet has all its pools, as a readiness probe; exit code 1 where not
    Ready,
    /// Look for mistakes in a configuration, without looking at the node
    Check {
        /// The configuration; without it the one of --config-file
        #[arg(value_name = "CONFIG")]
        file: Option<PathBuf>,
        /// For people or for programs
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
        /// Warnings fail, too
        #[arg(long)]
        strict: bool,
    },
}

/// What the lines of the log look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// A line of words.
    Text,
    /// A line of JSON.
    Json,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// Aligned columns.
    Text,
    /// A list of objects.
    Json,
}

/// Where everything is.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line, and none implies another"
)]
pub struct Options {
    /// The pools, as JSON
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/pcidp/config.json")]
    pub config_file: PathBuf,
    /// Prefix of the resources of pools that name none
    #[arg(long, global = true, value_name = "PREFIX", default_value = "intel.com")]
    pub resource_prefix: String,
    /// Hand devices out by CDI
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool)]
    pub use_cdi: bool,
    /// The kubelet's folder
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/kubelet")]
    pub kubelet_root: PathBuf,
    /// Where the node's sysfs is mounted
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys")]
    pub sysfs_root: PathBuf,
    /// Where the node's /proc is mounted; its net/route tells which NIC is the node's own
    #[arg(long, global = true, value_name = "DIR", default_value = "/proc")]
    pub proc_root: PathBuf,
    /// Where the node's device nodes are
    #[arg(long, global = true, value_name = "DIR", default_value = "/dev")]
    pub dev_root: PathBuf,
    /// Where device-info files are written for Multus
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/run/k8s.cni.cncf.io/devinfo/dp")]
    pub devinfo_dir: PathBuf,
    /// Where CDI specifications are written
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/run/cdi")]
    pub cdi_dir: PathBuf,
    /// Offer NICs that carry a default route, too; a pod that takes one cuts the node off
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool)]
    pub allow_host_interfaces: bool,
    /// Time between two looks at the node and the configuration where nothing tells of a change, such as 30s or 1m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub rescan_interval: Duration,
    /// How long one look at the node may take before the daemon counts as dead and goes on with what it knows
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub look_timeout: Duration,
    /// Put back what pods that are gone left behind, where no DEL came
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = go_bool)]
    pub reconcile: bool,
    /// Time between two looks for that where nothing tells of a change, such as 30s or 1m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub reconcile_interval: Duration,
    /// Where the CNI plugins keep their state: `sriov` and `host-device` in this folder
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/cni")]
    pub cni_state_dir: PathBuf,
    /// Where IPAM plugins are, which release the addresses of pods that are gone
    #[arg(long, global = true, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,
    /// The kubelet's PodResources socket; without it the one below --kubelet-root
    #[arg(long, global = true, value_name = "FILE")]
    pub pod_resources_socket: Option<PathBuf>,
    /// Where the daemon answers `explain` for pods, `alive` and `ready`, to root alone
    #[arg(long, global = true, value_name = "FILE", default_value = "/run/sluice/sriovdp.sock")]
    pub control_socket: PathBuf,
    /// Give each run sockets of its own, so that a new daemon takes over while the old one still serves
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = go_bool)]
    pub handover: bool,
    /// Where metrics and the answers to probes are had by HTTP: IP:PORT, :PORT or unix:PATH; without it nowhere
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub metrics_address: Option<web::Address>,
    /// How much to log: error, warn, info, debug or trace; the Go plugin's numbers are all info
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", value_parser = level)]
    pub log_level: LevelFilter,
    /// What lines of the log look like
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// The list of PCI names that `explain` shows; without it the host's, where there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub pci_ids: Option<PathBuf>,
}

/// What the Go plugin takes and has no meaning here: logs go to standard error, the container runtime keeps them.
#[derive(Args, Clone, Debug)]
struct Ignored {
    #[arg(long, global = true, hide = true, alias = "log_dir")]
    log_dir: Option<String>,
    #[arg(long = "logtostderr", global = true, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    log_to_stderr: Option<bool>,
    #[arg(long = "alsologtostderr", global = true, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    also_log_to_stderr: Option<bool>,
    #[arg(long = "log_link", global = true, hide = true)]
    log_link: Option<String>,
    #[arg(long = "logbuflevel", global = true, hide = true, allow_hyphen_values = true)]
    log_buffer_level: Option<i32>,
    #[arg(long = "log_backtrace_at", global = true, hide = true)]
    log_backtrace_at: Option<String>,
    #[arg(long = "stderrthreshold", global = true, hide = true)]
    stderr_threshold: Option<String>,
    #[arg(long = "v", short = 'v', global = true, hide = true)]
    verbosity: Option<i32>,
    #[arg(long = "vmodule", global = true, hide = true)]
    vmodule: Option<String>,
}

impl Cli {
    /// Reads the process's arguments; prints help, version or what is wrong (exit code 2) and ends the process.
    pub fn of_process() -> Self {
        Self::parse_from(two_dashes(std::env::args_os()))
    }

    /// As [`Cli::of_process`], for any arguments; the first is the program's name.
    pub fn read<T: Into<OsString>>(args: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        Self::try_parse_from(two_dashes(args.into_iter().map(Into::into)))
    }
}

/// Go takes a long option behind one dash too.
fn two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let known = |name: &str| {
        let longs =
            command.get_arguments().flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default());
        ["help", "version", "log_dir"].into_iter().chain(longs).any(|long| long.len() > 1 && long == name)
    };
    args.map(|arg| {
        let long = arg.to_str().and_then(|text| text.strip_prefix('-')).filter(|text| {
            let name = text.split_once('=').map_or(*text, |(name, _)| name);
            known(name)
        });
        long.map_or_else(|| arg.clone(), |text| format!("--{text}").into())
    })
    .collect()
}

/// As Go's `strconv.ParseBool`.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("wanted true or false".to_owned()),
    }
}

/// Shorter ones would keep a processor busy.
fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(10) => Ok(time),
        Ok(_) => Err("wanted 10ms or more".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The image's entry point gives `--log-level=10` in every `DaemonSet` there is, and it never had an effect.
fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" | "warn" | "info" | "debug" | "trace" => text.parse().map_err(|_| String::new()),
        _ if text.parse::<i32>().is_ok() => Ok(LevelFilter::INFO),
        _ => Err("wanted error, warn, info, debug or trace, or one of the Go plugin's numbers".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(args: &[&str]) -> Cli {
        Cli::read([&["sriovdp"], args].concat()).unwrap()
    }

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let options = read(&[]).options;
        assert_eq!(options.config_file, Path::new("/etc/pcidp/config.json"));
        assert_eq!(options.resource_prefix, "intel.com");
        assert_eq!((options.use_cdi, options.log_level), (false, LevelFilter::INFO));
        assert_eq!(options.devinfo_dir, Path::new("/var/run/k8s.cni.cncf.io/devinfo/dp"));
    }

    #[test]
    fn the_operators_command_line() {
        let cli = read(&[
            "--log-level=10",
            "--resource-prefix=openshift.io",
            "--config-file=/etc/pcidp/node-1",
            "--use-cdi",
            "--log-dir=sriovdp",
        ]);
        assert_eq!(cli.options.resource_prefix, "openshift.io");
        assert_eq!(cli.options.config_file, Path::new("/etc/pcidp/node-1"));
        assert_eq!((cli.options.use_cdi, cli.options.log_level), (true, LevelFilter::INFO));
    }

    #[test]
    fn go_flags_with_one_dash_and_two() {
        for args in [
            ["-v", "10", "-logtostderr", "-config-file", "/c", "-resource-prefix=x.y", "-use-cdi=false"],
            [
                "-v=10",
                "--logtostderr=true",
                "-alsologtostderr",
                "-config-file=/c",
                "--resource-prefix",
                "x.y",
                "-use-cdi=F",
            ],
            [
                "-log_dir",
                "/var/log/sriovdp",
                "-stderrthreshold=ERROR",
                "-vmodule=a=2",
                "-config-file=/c",
                "-resource-prefix=x.y",
                "--v=3",
            ],
        ] {
            let options = read(&args).options;
            assert_eq!(options.config_file, Path::new("/c"));
            assert_eq!((options.resource_prefix.as_str(), options.use_cdi), ("x.y", false));
        }
    }

    #[test]
    fn the_last_of_several_counts() {
        assert_eq!(read(&["-resource-prefix=a", "--resource-prefix=b"]).options.resource_prefix, "b");
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for args in
            [&["--nonsense"][..], &["-nonsense"], &["--log-level=loud"], &["-use-cdi=maybe"], &["explode"]]
        {
            let error = Cli::read([&["sriovdp"], args].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{args:?}");
        }
        assert_eq!(Cli::read(["sriovdp", "-h"]).unwrap_err().exit_code(), 0);
        assert_eq!(Cli::read(["sriovdp", "-version"]).unwrap_err().exit_code(), 0);
    }

    #[test]
    fn list_takes_the_options_on_both_sides() {
        for args in
            [["-sysfs-root=/x", "list", "--output=json"], ["list", "--output=json", "--sysfs-root=/x"]]
        {
            let cli = read(&args);
            assert!(matches!(cli.command, Some(Command::List { output: Output::Json })));
            assert_eq!(cli.options.sysfs_root, Path::new("/x"));
        }
    }
}
