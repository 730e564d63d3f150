//! QEMU's control socket: carries the guest's requests to change the hardware around it (hot-plug, carrier).
//! Judges neither commands nor replies; an error reply goes to the guest as it is.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

/// QEMU answers at once; the work that a command starts goes on afterwards.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
    ready: bool,
}

impl Qmp {
    /// Over a connected socket; nothing is said until the first command.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), ready: false })
    }

    /// Sends `command` and returns QEMU's reply, `{"return": …}` or `{"error": …}`.
    pub(crate) fn execute(&mut self, command: &Value) -> Result<Value> {
        if !self.ready {
            let greeting = self.read()?;
            ensure!(greeting.get("QMP").is_some(), "QEMU greeted with {greeting}");
            let reply = self.exchange(&json!({ "execute": "qmp_capabilities" }))?;
            ensure!(reply.get("return").is_some(), "QEMU refused to negotiate: {reply}");
            self.ready = true;
        }
        self.exchange(command)
    }

    fn exchange(&mut self, command: &Value) -> Result<Value> {
        self.stream.get_mut().write_all(format!("{command}\n").as_bytes()).context("cannot write to QEMU")?;
        loop {
            let reply = self.read()?;
            // Events come in between, whenever they happen.
            if reply.get("return").is_some() || reply.get("error").is_some() {
                return Ok(reply);
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).context("no answer from QEMU")?;
        ensure!(length > 0, "QEMU closed its control socket");
        serde_json::from_str(&line).with_context(|| format!("QEMU said {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_between_a_command_and_its_reply_are_passed_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qemu = std::thread::spawn(move || {
            let mut stream = BufReader::new(theirs);
            let mut line = String::new();
            stream.get_mut().write_all(b"{\"QMP\":{}}\r\n").unwrap();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(b"{\"return\":{}}\r\n").unwrap();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(b"{\"event\":\"RESUME\"}\r\n{\"return\":{\"a\":1}}\r\n").unwrap();
            line
        });
        let reply = Qmp::new(ours).unwrap().execute(&json!({ "execute": "query-a" })).unwrap();
        assert_eq!(reply, json!({ "return": { "a": 1 } }));
        assert!(qemu.join().unwrap().contains("query-a"));
    }
}
