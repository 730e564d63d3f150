//! Network namespaces with names of their own, made with `ip` and gone with the value.
//! It must not read the network's state through our own code: `ip -j` tells.
#![allow(clippy::expect_used, clippy::panic, reason = "a test ends where its tools fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A named network namespace. Dropping it deletes it, and with it every virtual link inside.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one whose name begins with `prefix`, with its loopback up.
    ///
    /// # Panics
    /// Without root, or without iproute2.
    pub fn new(prefix: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("{prefix}-{}-{made}", std::process::id()) };
        ip(&["netns", "add", &namespace.name]);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path, as `CNI_NETNS` gives it.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `ip` inside and returns what it printed.
    ///
    /// # Panics
    /// Where `ip` fails.
    pub fn ip(&self, args: &[&str]) -> String {
        let inside = ["-n", &self.name];
        ip(&[&inside, args].concat())
    }

    /// Runs `ip -d -j` inside and returns the JSON.
    ///
    /// # Panics
    /// Where `ip` fails.
    pub fn json(&self, args: &[&str]) -> Value {
        let inside = ["-n", &self.name, "-d", "-j"];
        let text = ip(&[&inside, args].concat());
        if text.trim().is_empty() {
            Value::Array(Vec::new())
        } else {
            serde_json::from_str(&text).expect("JSON of ip -j")
        }
    }

    /// The link of that name; `None` where there is none.
    pub fn link(&self, name: &str) -> Option<Value> {
        let links = self.json(&["link", "show"]);
        links.as_array()?.iter().find(|link| link["ifname"] == name).cloned()
    }

    /// A process that will run inside, with `/sys` showing this namespace.
    pub fn process(&self, binary: &Path) -> Command {
        let mut process = Command::new("ip");
        process.args(["netns", "exec", &self.name]).arg(binary);
        process
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("run ip; install iproute2");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {}: {words}", args.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
