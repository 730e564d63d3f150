//! The real binary on nodes of three sizes: time from its start until the kubelet stand-in has every pool's list, and from
//! the signal that ends it until the next one's are there, memory, lines of log, and how long an allocation takes. It must not fail on a slow machine: it prints what it saw.
//!
//! `cargo bench -p sriovdp --bench start`, with `CARGO_PROFILE_BENCH_LTO=off` where fat LTO takes too long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench ends where its tools fail"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kubelet_api::device_plugin::device_plugin_client::DevicePluginClient;
use kubelet_api::device_plugin::{AllocateRequest, ContainerAllocateRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::kubelet::{Kubelet, State};
use testkit::sysfs::Tree;
use tonic::transport::Endpoint;

/// PFs, VFs of each, pools.
const NODES: [(u32, u32, u32); 3] = [(1, 8, 1), (8, 128, 16), (8, 512, 32)];
const STARTS: usize = 11;
const ALLOCATIONS: usize = 5_000;

fn main() {
    println!(
        "VFs x pools | start to all pools listed, ms: min median max | restart, SIGTERM to all pools listed again, ms: min median max | RSS KiB idle, after load | log lines | Allocate us: p50 p99 max"
    );
    for (pfs, vfs, pools) in NODES {
        let tree = Tree::generated(pfs, vfs);
        std::fs::write(tree.root().join("config.json"), config(pfs, vfs, pools)).unwrap();
        let mut starts: Vec<Run> = (0..STARTS).map(|_| run(&tree, pools, vfs * pfs / pools)).collect();
        starts.sort_by_key(|run| run.start);
        let [first, middle, last] = [0, STARTS / 2, STARTS - 1].map(|at| ms(starts[at].start));
        let mut restarts: Vec<Duration> = starts.iter().map(|run| run.restart).collect();
        restarts.sort();
        let [soonest, middling, latest] = [0, STARTS / 2, STARTS - 1].map(|at| ms(restarts[at]));
        let run = &starts[STARTS / 2];
        // Each of the three by itself the median of all runs: in one of them somebody else may have had the processor.
        let allocate = [0, 1, 2].map(|at| {
            let mut all: Vec<u128> = starts.iter().map(|run| run.allocate[at]).collect();
            all.sort_unstable();
            all[STARTS / 2]
        });
        println!(
            "{} x {pools} | {first:.1} {middle:.1} {last:.1} | {soonest:.1} {middling:.1} {latest:.1} | {} {} | {} | {} {} {}",
            pfs * vfs,
            run.idle_kib,
            run.loaded_kib,
            run.lines,
            allocate[0],
            allocate[1],
            allocate[2]
        );
    }
}

struct Run {
    start: Duration,
    restart: Duration,
    idle_kib: u64,
    loaded_kib: u64,
    lines: usize,
    /// p50, p99 and the longest, in microseconds.
    allocate: [u128; 3],
}

/// One start, until every pool has `devices`.
fn run(tree: &Tree, pools: u32, devices: u32) -> Run {
    let root = tree.root().join("kubelet");
    let kubelet = Kubelet::start(&root).unwrap();
    let all = move |state: &State| {
        (0..pools).all(|pool| state.has(&format!("intel.com/pool{pool}"), devices as usize))
    };
    let began = Instant::now();
    let mut child = spawn(tree, &root);
    kubelet.until("every pool", Duration::from_mins(1), all).unwrap();
    let start = began.elapsed();
    let idle_kib = resident(&child);
    let allocate = allocations(&kubelet.state());
    let loaded_kib = resident(&child);
    // The lines of allocations are not those of the start.
    let log = std::fs::read_to_string(log(tree)).unwrap();
    let lines = log.lines().filter(|line| !line.contains("allocated")).count();
    let began = Instant::now();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    child = spawn(tree, &root);
    let again = move |state: &State| all(state) && state.pools.values().all(|pool| pool.registrations == 2);
    kubelet.until("every pool again", Duration::from_mins(1), again).unwrap();
    let restart = began.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    Run { start, restart, idle_kib, loaded_kib, lines, allocate }
}

fn spawn(tree: &Tree, kubelet_root: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sriovdp"));
    for (option, path) in [
        ("--kubelet-root", kubelet_root.to_owned()),
        ("--sysfs-root", tree.sys()),
        ("--dev-root", tree.dev()),
        ("--proc-root", tree.proc()),
        ("--devinfo-dir", tree.root().join("devinfo")),
        ("--cni-state-dir", tree.root().join("cni")),
        ("--control-socket", tree.root().join("control.sock")),
        ("--config-file", tree.root().join("config.json")),
    ] {
        command.arg(option).arg(path);
    }
    // A pipe that nobody reads would stop it at its thousandth allocation.
    let log = std::fs::File::create(log(tree)).unwrap();
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn log(tree: &Tree) -> PathBuf {
    tree.root().join("log")
}

/// Resident memory, by the kernel's own account.
fn resident(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Allocates the devices of the first pool one by one over one connection, as a kubelet does.
fn allocations(state: &State) -> [u128; 3] {
    let pool = &state.pools["intel.com/pool0"];
    let ids: Vec<String> = pool.devices.keys().cloned().collect();
    let socket = format!("unix://{}", pool.socket.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut took: Vec<u128> = runtime.block_on(async {
        let mut client =
            DevicePluginClient::new(Endpoint::try_from(socket).unwrap().connect().await.unwrap());
        let mut took = Vec::with_capacity(ALLOCATIONS);
        for at in 0..ALLOCATIONS {
            let devices_ids = vec![ids[at % ids.len()].clone()];
            let request =
                AllocateRequest { container_requests: vec![ContainerAllocateRequest { devices_ids }] };
            let began = Instant::now();
            client.allocate(request).await.unwrap();
            took.push(began.elapsed().as_micros());
        }
        took
    });
    took.sort_unstable();
    [took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Pools that share the PFs out: each a range of VFs of one PF.
fn config(pfs: u32, vfs: u32, pools: u32) -> String {
    let shares = pools.div_ceil(pfs);
    let share = vfs / shares;
    let pool = |pool: u32| {
        let (pf, part) = (pool % pfs, pool / pfs);
        let (first, last) = (part * share, (part + 1) * share - 1);
        format!(
            r#"{{"resourceName":"pool{pool}","selectors":{{"vendors":["8086"],"devices":["154c"],"drivers":["iavf","vfio-pci"],"pfNames":["pf{pf}#{first}-{last}"]}}}}"#
        )
    };
    format!(r#"{{"resourceList":[{}]}}"#, (0..pools).map(pool).collect::<Vec<_>>().join(","))
}
