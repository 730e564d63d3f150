//! Intel's `ddptool`, for the drivers whose devlink does not tell the profile.
//! It must not be run where devlink answers, and must not be waited for without end.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use pci::PciAddress;

/// The tool reads registers; one that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The profile of a function; `None` where the tool is not there, fails, or knows of none.
pub(super) fn profile(function: PciAddress) -> Option<String> {
    let mut child = Command::new("ddptool")
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
    let text = receiver.recv_timeout(PATIENCE);
    if text.is_err() {
        tracing::warn!("ddptool did not answer for {function}; its DDP profile counts as none");
        let _ = child.kill();
    }
    let _ = child.wait();
    parse(&text.ok()?)
}

fn parse(text: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let name = json.pointer("/DDPInventory/DDPpackage/name")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_output() {
        let found = r#"{"DDPInventory":{"device":"1572","address":"0000:02:00.0","name":"enp2s0f0",
            "display":"Intel(R) Ethernet Converged Network Adapter X710-4",
            "DDPpackage":{"track_id":"80000008","version":"1.0.3.0","name":"GTPv1-C/U IPv4/IPv6 payload"}}}"#;
        assert_eq!(parse(found).as_deref(), Some("GTPv1-C/U IPv4/IPv6 payload"));
        for none in [
            "",
            "junk",
            "[]",
            r#"{"DDPInventory":{"device":"1572","DDPpackage":{"track_id":"0"}}}"#,
            r#"{"DDPInventory":{"DDPpackage":{"name":""}}}"#,
            r#"{"DDPInventory":{"DDPpackage":{"name":7}}}"#,
            r#"{"DDPInventory":{"device":"154c"}}"#,
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
