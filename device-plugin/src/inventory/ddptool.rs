//! Intel's `ddptool`, for the drivers whose devlink does not tell the profile.
//! It must not be run where devlink answers, and must not be waited for without end.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use pci::PciAddress;

/// The tool reads registers; where it takes longer than this for all functions of a node it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many functions are named.
const NAMED: usize = 8;

/// Whether it was said that the tool is missed: it does not come while we run, and every look would say so again.
static SAID: Once = Once::new();

/// The tool is not there, fails, or its time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Silent;

/// The tool for one look at the node, and what is left of the time that it has for that.
#[derive(Debug)]
pub(super) struct Tool {
    program: PathBuf,
    left: Duration,
}

impl Default for Tool {
    fn default() -> Self {
        Self { program: "ddptool".into(), left: PATIENCE }
    }
}

impl Tool {
    /// The profile of a function; `None` where the tool knows of none.
    pub(super) fn profile(&mut self, function: PciAddress) -> Result<Option<String>, Silent> {
        if self.left.is_zero() {
            return Err(Silent);
        }
        let began = Instant::now();
        let text = run(&self.program, function, self.left);
        self.left = self.left.saturating_sub(began.elapsed());
        if self.left.is_zero() {
            tracing::warn!("ddptool did not answer for {function} in time; it is asked no more in this look");
        }
        parse(&text.ok_or(Silent)?)
    }
}

/// Warns, once in a process, that nobody tells the profile of these functions.
pub(super) fn warn(unprofiled: &[PciAddress]) {
    if unprofiled.is_empty() {
        return;
    }
    SAID.call_once(|| {
        let named: Vec<String> = unprofiled.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match unprofiled.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        tracing::warn!(
            "ddpProfiles: neither devlink (fw.app.name) nor ddptool tells the profile of {}{more}, so that no pool that wants one takes them; put ddptool into the image, in a directory of its PATH",
            named.join(", ")
        );
    });
}

fn run(program: &Path, function: PciAddress, patience: Duration) -> Option<String> {
    let mut child = Command::new(program)
        .args(["-l", "-a", "-j", "-s"])
        .arg(function.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = child.stdout.take()?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        // Nobody may be waiting any more.
        let _ = stdout.read_to_string(&mut text).map(|_| sender.send(text));
    });
    let text = receiver.recv_timeout(patience);
    if text.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    text.ok()
}

fn parse(text: &str) -> Result<Option<String>, Silent> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|_| Silent)?;
    let name = json.pointer("/DDPInventory/DDPpackage/name").and_then(|name| name.as_str());
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_hangs_is_waited_for_once_in_a_look() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("ddptool");
        std::fs::write(&program, "#!/bin/sh\necho >> \"${0%/*}/asked\"\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut tool = Tool { program, left: Duration::from_millis(500) };
        for _ in 0..3 {
            assert_eq!(tool.profile("0000:3b:00.0".parse().unwrap()), Err(Silent));
        }
        let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
        assert_eq!((asked.lines().count(), tool.left), (1, Duration::ZERO));
    }

    #[test]
    fn every_shape_of_output() {
        let found = r#"{"DDPInventory":{"device":"1572","address":"0000:02:00.0","name":"enp2s0f0",
            "display":"Intel(R) Ethernet Converged Network Adapter X710-4",
            "DDPpackage":{"track_id":"80000008","version":"1.0.3.0","name":"GTPv1-C/U IPv4/IPv6 payload"}}}"#;
        assert_eq!(parse(found).unwrap().as_deref(), Some("GTPv1-C/U IPv4/IPv6 payload"));
        assert_eq!((parse(""), parse("junk")), (Err(Silent), Err(Silent)));
        for none in [
            "[]",
            r#"{"DDPInventory":{"device":"1572","DDPpackage":{"track_id":"0"}}}"#,
            r#"{"DDPInventory":{"DDPpackage":{"name":""}}}"#,
            r#"{"DDPInventory":{"DDPpackage":{"name":7}}}"#,
            r#"{"DDPInventory":{"device":"154c"}}"#,
        ] {
            assert_eq!(parse(none), Ok(None), "{none}");
        }
    }
}
