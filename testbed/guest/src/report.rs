//! What the host hears of a job while it runs, one JSON object a line. `testbed`'s `event.rs` reads them.
//! Also asks the host for changes to the hardware around this machine.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use serde_json::Value;
use serde_json::json;

/// The virtio port that QEMU connects to the host's side.
const PORT: &str = "testbed.wire";

/// The same lines, for a look afterwards.
const RESULTS: &str = "/out/results.jsonl";

static WIRE: OnceLock<Mutex<Wire>> = OnceLock::new();

struct Wire {
    port: BufReader<File>,
    results: File,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Fail,
    /// Nothing was asserted: a fact worth reporting.
    Info,
}

/// Opens the way to the host. Without it, in a shell say, lines go to stdout.
pub(crate) fn open() -> Result<()> {
    let path = port()?;
    let port = OpenOptions::new().read(true).write(true).open(&path);
    let port = BufReader::new(port.with_context(|| format!("cannot open {}", path.display()))?);
    let results = OpenOptions::new().create(true).append(true).open(RESULTS)?;
    if WIRE.set(Mutex::new(Wire { port, results })).is_err() {
        bail!("the way to the host is open already");
    }
    let uptime = fs::read_to_string("/proc/uptime")?;
    let seconds: f64 = uptime.split_whitespace().next().context("/proc/uptime is empty")?.parse()?;
    send(&json!({ "booted": seconds }))
}

/// A finished case.
pub(crate) fn case(name: &str, outcome: Outcome, detail: &str, took: Duration) -> Result<()> {
    let outcome = match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
    };
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    send(&json!({ "case": name, "outcome": outcome, "detail": detail, "ms": ms }))
}

/// One line of a story, shown to the person at the terminal at once.
pub(crate) fn story(line: &str) -> Result<()> {
    send(&json!({ "story": line }))
}

/// Has QEMU execute a QMP command and returns what it returned, such as
/// `qmp(&json!({"execute": "device_del", "arguments": {"id": "igb1"}}))`.
pub(crate) fn qmp(command: &Value) -> Result<Value> {
    let mut wire = WIRE.get().context("there is no host to ask: the way to it is not open")?.lock();
    let wire = wire.as_mut().map_err(|_| anyhow::anyhow!("the way to the host broke"))?;
    writeln!(wire.port.get_mut(), "{}", json!({ "qmp": command })).context("cannot write to the host")?;
    let mut line = String::new();
    wire.port.read_line(&mut line).context("no reply from the host")?;
    let reply: Value = serde_json::from_str(&line).with_context(|| format!("the host replied {line:?}"))?;
    match reply.get("return") {
        Some(value) => Ok(value.clone()),
        None => bail!("QEMU refused {command}: {reply}"),
    }
}

fn send(line: &Value) -> Result<()> {
    let Some(wire) = WIRE.get() else {
        println!("{line}");
        return Ok(());
    };
    let mut wire: MutexGuard<'_, Wire> = wire.lock().unwrap_or_else(PoisonError::into_inner);
    // In one write each: a line is never half there.
    let line = format!("{line}\n");
    wire.results.write_all(line.as_bytes()).with_context(|| format!("cannot write {RESULTS}"))?;
    wire.port.get_mut().write_all(line.as_bytes()).context("cannot write to the host")
}

fn port() -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports").context("this is not the emulated node")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name"))?.trim() == PORT {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("QEMU gave this machine no port {PORT}")
}
