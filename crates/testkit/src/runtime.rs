//! One call of a CNI plugin, as a container runtime makes it: environment and stdin in, stdout, stderr and exit code out.
//! It must not chain plugins, cache results or know what Multus does; `multus` does that with this.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its tools fail"
)]

use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::netns::Namespace;

/// How long a binary that is still open for writing (`ETXTBSY`) is tried again: libcni waits up to five times one second.
const TEXT_BUSY_LIMIT: Duration = Duration::from_secs(5);

/// What a runtime says to a plugin. A field that is `None` is not in the environment at all; one that is `Some("")` is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// `CNI_COMMAND`.
    pub command: Option<String>,
    /// `CNI_CONTAINERID`.
    pub container_id: Option<String>,
    /// `CNI_NETNS`: a path such as `/run/netns/pod-a`.
    pub netns: Option<String>,
    /// `CNI_IFNAME`.
    pub ifname: Option<String>,
    /// `CNI_ARGS`: `K=V;K=V`.
    pub args: Option<String>,
    /// `CNI_PATH`: directories separated by colons, in which the plugin looks for its IPAM plugin.
    pub path: Option<String>,
    /// Other variables, such as `TRACEPARENT` or `CNI_NETNS_OVERRIDE`.
    pub env: Vec<(String, String)>,
    /// The network configuration.
    pub stdin: Vec<u8>,
}

impl Invocation {
    /// A call of `command` with nothing else said.
    pub fn new(command: &str) -> Self {
        Self { command: Some(command.to_owned()), ..Self::default() }
    }

    /// A complete `ADD` or `DEL`: all that the specification requires for both. `CNI_PATH` is `/opt/cni/bin` until it is set.
    pub fn attachment(command: &str, container_id: &str, netns: &str, ifname: &str) -> Self {
        Self {
            container_id: Some(container_id.to_owned()),
            netns: Some(netns.to_owned()),
            ifname: Some(ifname.to_owned()),
            path: Some("/opt/cni/bin".to_owned()),
            ..Self::new(command)
        }
    }

    /// The same call with another verb: an `ADD` becomes its `DEL`.
    #[must_use]
    pub fn command(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// Sets `CNI_ARGS`.
    #[must_use]
    pub fn args(mut self, args: &str) -> Self {
        self.args = Some(args.to_owned());
        self
    }

    /// Sets `CNI_PATH`.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_string_lossy().into_owned());
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Gives the network configuration as JSON.
    #[must_use]
    pub fn conf(self, conf: &Value) -> Self {
        self.stdin(conf.to_string())
    }

    /// Gives the bytes of stdin as they are, JSON or not.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The variables that this call sets.
    pub fn environment(&self) -> Vec<(String, String)> {
        let said = self.variables().into_iter();
        let said = said.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        said.chain(self.env.iter().cloned()).collect()
    }

    /// The process that this call is, not yet started: for tests that trace or kill it. Stdin, stdout and stderr are pipes.
    pub fn process(&self, binary: impl AsRef<Path>) -> Command {
        self.dress(Command::new(binary.as_ref()))
    }

    /// Gives `process` this call's environment and pipes.
    fn dress(&self, mut process: Command) -> Command {
        for (name, _) in self.variables() {
            process.env_remove(name);
        }
        process.env_remove("CNI_NETNS_OVERRIDE").envs(self.environment());
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }

    fn variables(&self) -> [(&'static str, &Option<String>); 6] {
        [
            ("CNI_COMMAND", &self.command),
            ("CNI_CONTAINERID", &self.container_id),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", &self.ifname),
            ("CNI_ARGS", &self.args),
            ("CNI_PATH", &self.path),
        ]
    }

    /// Runs `binary` in a network namespace that plays the host's, and waits for its end.
    ///
    /// # Panics
    /// As [`Invocation::run`].
    pub fn run_in(&self, host: &Namespace, binary: &Path) -> Output {
        let child = self.dress(host.process(binary)).spawn();
        let child = child.unwrap_or_else(|error| panic!("start ip netns exec: {error}"));
        self.finish(child).unwrap_or_else(|error| panic!("wait for {}: {error}", binary.display()))
    }

    /// Runs `binary` and waits for its end.
    ///
    /// # Panics
    /// When the binary cannot be started or waited for: in a test that is never the thing under test.
    pub fn run(&self, binary: impl AsRef<Path>) -> Output {
        let binary = binary.as_ref();
        let child = self.spawn(binary).unwrap_or_else(|error| panic!("start {}: {error}", binary.display()));
        self.finish(child).unwrap_or_else(|error| panic!("wait for {}: {error}", binary.display()))
    }

    /// Starts `binary` with stdin not yet written; [`Invocation::finish`] does the rest.
    pub fn spawn(&self, binary: impl AsRef<Path>) -> std::io::Result<Child> {
        let mut process = self.process(binary);
        let deadline = Instant::now() + TEXT_BUSY_LIMIT;
        loop {
            match process.spawn() {
                // A test that has just written the binary, and another thread that forked meanwhile and holds it open.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                started => return started,
            }
        }
    }

    /// Writes stdin and waits for the end of a process started by [`Invocation::spawn`] or [`Invocation::process`].
    pub fn finish(&self, mut child: Child) -> std::io::Result<Output> {
        // From another thread: a plugin that prints more than a pipe holds before it reads would otherwise wait for ever.
        let stdin = child.stdin.take();
        let out = std::thread::scope(|scope| {
            scope.spawn(|| {
                // A plugin need not read its stdin (VERSION does not): EPIPE is no failure.
                let _ = stdin.map(|mut pipe| pipe.write_all(&self.stdin));
            });
            child.wait_with_output()
        })?;
        let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
        Ok(Output {
            json: serde_json::from_str(&stdout).ok(),
            stdout,
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
            code: out.status.code(),
            signal: out.status.signal(),
        })
    }
}

/// What a plugin said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Stdout as JSON: the result, or the error object. `None` when stdout is empty or no JSON.
    pub json: Option<Value>,
    /// Stdout, byte by byte.
    pub stdout: String,
    /// Stderr.
    pub stderr: String,
    /// The exit code; `None` when a signal ended the process.
    pub code: Option<i32>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
}

impl Output {
    /// Whether the exit code is 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The result of a call that succeeded; `Null` when it had nothing to say (`DEL`).
    ///
    /// # Panics
    /// When the call failed, with all that it said.
    pub fn success(&self) -> &Value {
        assert!(self.ok(), "the plugin failed: {self:#?}");
        self.json.as_ref().unwrap_or(&Value::Null)
    }

    /// The CNI error of a call that failed: its code and its message.
    ///
    /// # Panics
    /// When the call succeeded, or failed without a CNI error object.
    pub fn error(&self) -> (u64, &str) {
        assert!(!self.ok(), "the plugin succeeded: {self:#?}");
        let error = self.json.as_ref().unwrap_or_else(|| panic!("no JSON on stdout: {self:#?}"));
        let (Some(code), Some(message)) = (error["code"].as_u64(), error["msg"].as_str()) else {
            panic!("no CNI error on stdout: {self:#?}")
        };
        (code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, text: &str) -> std::path::PathBuf {
        let path = dir.join("plugin");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn environment_and_stdin_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = script(
            dir.path(),
            r#"printf '{"c":"%s","id":"%s","ns":"%s","if":"%s","a":"%s","p":"%s","t":"%s","in":%s}' \
               "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" "${CNI_ARGS-unset}" "$CNI_PATH" "$TRACEPARENT" "$(cat)""#,
        );
        let call = Invocation::attachment("ADD", "c1", "/run/netns/p", "net1")
            .path("/a:/b")
            .env("TRACEPARENT", "00-1")
            .conf(&serde_json::json!({"name": "n"}));
        let said = call.run(&plugin);
        assert_eq!(
            said.success(),
            &serde_json::json!({"c": "ADD", "id": "c1", "ns": "/run/netns/p", "if": "net1", "a": "unset",
                "p": "/a:/b", "t": "00-1", "in": {"name": "n"}})
        );
    }

    #[test]
    fn an_error_object_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = script(dir.path(), r#"echo '{"code":4,"msg":"no"}'; echo log >&2; exit 1"#);
        let said = Invocation::new("ADD").run(&plugin);
        assert_eq!((said.error(), said.stderr.as_str(), said.code), ((4, "no"), "log\n", Some(1)));
    }

    #[test]
    fn a_plugin_that_does_not_read_a_large_stdin_and_one_killed() {
        let dir = tempfile::tempdir().unwrap();
        let said = Invocation::new("VERSION").stdin(vec![b'x'; 1 << 20]).run(script(dir.path(), "echo '{}'"));
        assert_eq!(said.json, Some(serde_json::json!({})));
        let said = Invocation::new("ADD").run(script(dir.path(), "kill -9 $$"));
        assert_eq!((said.code, said.signal, said.json), (None, Some(9), None));
    }
}
