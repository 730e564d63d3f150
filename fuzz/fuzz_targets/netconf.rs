//! A request of any bytes to both CNI plugins: read or refused, never a panic, and never an answer that is no JSON.
#![no_main]

use std::ffi::OsString;

use cni::{Error, Outcome, Plugin, Request};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Reads as a plugin does and does nothing.
struct Reader {
    name: fn(&Map<String, Value>) -> Option<String>,
    read: fn(&Request) -> Result<Vec<String>, Error>,
}

impl Plugin for Reader {
    fn network_name(&self, conf: &Map<String, Value>) -> Option<String> {
        (self.name)(conf)
    }

    fn add(&self, request: &Request) -> Result<Outcome, Error> {
        let odd = (self.read)(request)?;
        assert!(odd.iter().all(|warning| !warning.is_empty()));
        // What delegates get is what the plugin read.
        assert!(serde_json::from_slice::<Map<String, Value>>(&request.stdin).is_ok());
        Ok(Outcome { addressless: true, ..Outcome::default() })
    }

    fn del(&self, _: &Request) -> Result<(), Error> {
        Ok(())
    }
}

// The first line is `CNI_ARGS`, the rest standard input.
fuzz_target!(|bytes: &[u8]| {
    let (args, conf) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let args = String::from_utf8_lossy(args).into_owned();
    let variable = |name: &str| -> Option<OsString> {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "c1",
            "CNI_NETNS" => "/nonexistent",
            "CNI_IFNAME" => "net1",
            "CNI_PATH" => "/nonexistent",
            "CNI_ARGS" => &args,
            _ => return None,
        };
        Some(value.into())
    };
    for reader in [
        Reader { name: sriov::network_name, read: sriov::lint },
        Reader { name: |_| None, read: host_device::lint },
    ] {
        let mut answer = Vec::new();
        let _ = cni::run(&reader, &variable, &mut &conf[..], &mut answer);
        assert!(serde_json::from_slice::<Value>(&answer).is_ok());
    }
});
