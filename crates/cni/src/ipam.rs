//! Delegation to an IPAM plugin: found in `CNI_PATH`, run with our environment and standard input.
//! It must not read or change addresses by itself.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Output, Stdio};
use std::time::Duration;

use crate::env::Request;
use crate::error::{Code, Error};
use crate::result::Outcome;

mod within;

/// Asks for addresses. On failure the plugin is asked to release what it may have reserved.
pub fn add(request: &Request, plugin: &str) -> Result<Outcome, Error> {
    let outcome = exec(request, plugin, "ADD").and_then(|answer| {
        Outcome::parse(&answer, request.conf.version)
            .map_err(|error| Error::new(Code::DECODE, error.to_string()))
    });
    if outcome.is_err() {
        // The first error is the one to report.
        let _ = del(request, plugin);
    }
    outcome
}

/// Releases the addresses.
pub fn del(request: &Request, plugin: &str) -> Result<(), Error> {
    exec(request, plugin, "DEL").map(|_| ())
}

/// As [`del`], for one who cannot wait for ever: past `limit` the plugin is killed.
pub fn del_within(request: &Request, plugin: &str, limit: Duration) -> Result<(), Error> {
    let program = find(&request.path, plugin)?;
    let output = spawn(&program, request, "DEL")
        .and_then(|child| within::output(child, request.stdin.clone(), limit))
        .map_err(|error| cannot_run(&program, &error))?;
    answer(output).map(|_| ())
}

/// Asks whether the addresses are still reserved.
pub fn check(request: &Request, plugin: &str) -> Result<(), Error> {
    exec(request, plugin, "CHECK").map(|_| ())
}

/// Asks whether addresses could be had.
pub fn status(request: &Request, plugin: &str) -> Result<(), Error> {
    exec(request, plugin, "STATUS").map(|_| ())
}

/// Passes the list of valid attachments on.
pub fn gc(request: &Request, plugin: &str) -> Result<(), Error> {
    exec(request, plugin, "GC").map(|_| ())
}

fn exec(request: &Request, plugin: &str, command: &str) -> Result<Vec<u8>, Error> {
    let program = find(&request.path, plugin)?;
    let failed = |error: io::Error| cannot_run(&program, &error);
    let mut child = spawn(&program, request, command).map_err(failed)?;
    let stdin = child.stdin.take();
    // From another thread: a plugin that says much before it reads would otherwise wait for us, and we for it.
    let output = std::thread::scope(|scope| {
        // A plugin that does not read its input (VERSION, or one that fails early) closes the pipe: its answer counts.
        scope.spawn(|| stdin.map(|mut pipe| pipe.write_all(&request.stdin)));
        child.wait_with_output()
    });
    answer(output.map_err(failed)?)
}

fn cannot_run(program: &Path, error: &io::Error) -> Error {
    Error::new(Code::IO, format!("cannot run IPAM plugin {}: {error}", program.display()))
}

fn answer(output: Output) -> Result<Vec<u8>, Error> {
    // Its words for people go up as they are.
    let _ = io::stderr().write_all(&output.stderr);
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failure(&output.stdout, &output.stderr, output.status))
}

fn spawn(program: &Path, request: &Request, command: &str) -> io::Result<Child> {
    const ATTEMPTS: usize = 5;
    let mut process = Process::new(program);
    process
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", &request.container_id)
        .env("CNI_NETNS", request.netns.as_deref().unwrap_or(Path::new("")))
        .env("CNI_IFNAME", &request.ifname)
        .env("CNI_ARGS", &request.args)
        .env("CNI_PATH", std::env::join_paths(&request.path).map_err(io::Error::other)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for _ in 1..ATTEMPTS {
        match process.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => pause(),
            outcome => return outcome,
        }
    }
    process.spawn()
}

/// An installer is writing the plugin at this moment; nothing tells when it closes the file.
#[expect(clippy::disallowed_methods, reason = "ETXTBSY ends without an event; libcni waits as long")]
fn pause() {
    std::thread::sleep(Duration::from_secs(1));
}

/// Where the plugin is in `path`; an error that lists the directories where it is nowhere.
pub fn find(path: &[PathBuf], plugin: &str) -> Result<PathBuf, Error> {
    let error = |msg: String| Err(Error::new(Code::INTERNAL, msg));
    if plugin.is_empty() {
        return error("no plugin name provided".to_owned());
    }
    if plugin.contains('/') {
        return error(format!("invalid plugin name: {plugin}"));
    }
    if path.is_empty() {
        return error("no paths provided".to_owned());
    }
    let dirs: Vec<String> = path.iter().map(|dir| dir.display().to_string()).collect();
    let found = path.iter().map(|dir| dir.join(plugin)).find(|file| file.is_file());
    found.ok_or_else(|| {
        Error::new(Code::INTERNAL, format!("failed to find plugin {plugin:?} in path [{}]", dirs.join(" ")))
    })
}

/// A delegate's error object is ours; without one its standard error is.
fn failure(stdout: &[u8], stderr: &[u8], status: std::process::ExitStatus) -> Error {
    if stdout.trim_ascii().is_empty() {
        let words = String::from_utf8_lossy(stderr);
        let msg = match words.trim() {
            "" => format!("netplugin failed with no error message: {status}"),
            words => format!("netplugin failed: {words:?}: {status}"),
        };
        return Error::new(Code::INTERNAL, msg);
    }
    serde_json::from_slice(stdout).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(stdout);
        let msg = format!("netplugin failed but error parsing its diagnostic message {text:?}: {error}");
        Error::new(Code::DECODE, msg)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_it_looked() {
        let path = [PathBuf::from("/a"), PathBuf::from("/b")];
        let msg = |plugin| find(&path, plugin).unwrap_err().msg;
        assert_eq!(msg("nope"), r#"failed to find plugin "nope" in path [/a /b]"#);
        assert_eq!(msg(""), "no plugin name provided");
        assert_eq!(msg("a/b"), "invalid plugin name: a/b");
        assert_eq!(find(&[], "static").unwrap_err().msg, "no paths provided");
    }

    #[test]
    fn a_delegates_error_object_is_passed_on() {
        let status = Process::new("false").status().unwrap();
        let error = failure(br#"{"code":11,"msg":"busy","details":"pool x"}"#, b"", status);
        assert_eq!(
            (error.code, error.msg.as_str(), error.details.as_str()),
            (Code::TRY_AGAIN, "busy", "pool x")
        );
        assert!(failure(b"", b"no lease", status).msg.starts_with(r#"netplugin failed: "no lease""#));
        assert!(failure(b"{", b"", status).msg.starts_with("netplugin failed but error parsing"));
    }
}
