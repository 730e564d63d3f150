//! The main loop of a plugin: one request in, one result or error out.
//! It must not know what a plugin does.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use crate::env::{Asked, Command, Request, Source};
use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::ipam;
use crate::log::{self, Level};
use crate::result::Outcome;
use crate::version::Version;

/// What a plugin does for each command. What is left out asks the IPAM plugin alone, where there is one.
pub trait Plugin {
    /// Printed where somebody runs the binary by hand; `None`: the missing variable is then an error.
    fn about(&self) -> Option<String> {
        None
    }

    /// The name of a network whose configuration has none. `None` is the Go skeleton's error.
    fn network_name(&self, _conf: &Map<String, Value>) -> Option<String> {
        None
    }

    /// Attaches and tells what it attached.
    fn add(&self, request: &Request) -> Result<Outcome, Error>;

    /// Detaches. Must succeed where there is nothing to detach any more.
    fn del(&self, request: &Request) -> Result<(), Error>;

    /// Fails where the attachment is not as promised.
    fn check(&self, request: &Request) -> Result<(), Error> {
        request.conf.ipam.as_ref().map_or(Ok(()), |plugin| ipam::check(request, plugin))
    }

    /// Fails where an ADD would.
    fn status(&self, request: &Request) -> Result<(), Error> {
        request.conf.ipam.as_ref().map_or(Ok(()), |plugin| ipam::status(request, plugin))
    }

    /// Removes what belongs to no valid attachment.
    fn gc(&self, request: &Request) -> Result<(), Error> {
        request.conf.ipam.as_ref().map_or(Ok(()), |plugin| ipam::gc(request, plugin))
    }
}

/// Runs the plugin on this process's environment and standard streams.
pub fn main(plugin: &dyn Plugin) -> ExitCode {
    // A panic too must reach the runtime as an error object; the release profile then aborts.
    std::panic::set_hook(Box::new(|panic| {
        let error =
            Error::new(Code::INTERNAL, format!("plugin panicked: {panic}; this is a bug, please report it"));
        let _ = io::stdout().write_all(error.to_json(None).as_bytes());
        log_failure(Level::Panic, &error);
        std::process::exit(1);
    }));
    run(plugin, &|name| std::env::var_os(name), &mut io::stdin().lock(), &mut io::stdout().lock())
}

/// Runs the plugin on what is given.
pub fn run(
    plugin: &dyn Plugin,
    variable: &dyn Fn(&str) -> Option<OsString>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
) -> ExitCode {
    let mut source = Source { variable, stdin };
    let mut version = None;
    let answer = match (source.value("CNI_COMMAND").is_empty(), plugin.about()) {
        (true, Some(about)) => {
            let versions: Vec<&str> = Version::ALL.iter().map(|version| version.as_str()).collect();
            eprintln!("{about}\nCNI protocol versions supported: {}", versions.join(", "));
            return ExitCode::SUCCESS;
        }
        _ => answer(plugin, &mut source, &mut version),
    };
    let (text, code) = match answer {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => {
            log_failure(Level::Error, &error);
            (error.to_json(version), ExitCode::FAILURE)
        }
    };
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    code
}

/// Whoever has a log finds there what the runtime was answered.
fn log_failure(level: Level, error: &Error) {
    if log::is_open() {
        log::line(level, error);
    }
}

fn answer(
    plugin: &dyn Plugin,
    source: &mut Source<'_>,
    version: &mut Option<Version>,
) -> Result<String, Error> {
    let asked = source.asked()?;
    if let Asked::Version = asked {
        return Ok(Version::report());
    }
    // STATUS says what an ADD would.
    let is_recorded = matches!(asked, Asked::Known(Command::Add | Command::Status));
    let mut request = source.request(&|conf| plugin.network_name(conf), is_recorded)?;
    *version = Some(request.conf.version);
    let command = match asked {
        Asked::Known(command) => command,
        Asked::Unknown(name) => {
            return Err(Error::new(Code::ENVIRONMENT, format!("unknown CNI_COMMAND: {name}")));
        }
        Asked::Version => return Ok(Version::report()),
    };
    allowed(command, request.conf.version)?;
    if !overridden(source) && is_own_netns(request.netns.as_deref()) {
        // The Go skeleton looks only after the work is done; a result may then be out already. A DEL must still release what
        // it can: the path may be a dead process's, whose number another has now.
        match command {
            Command::Del => request.netns = None,
            Command::Add => return Err(Error::new(Code::NETNS, OWN_NETNS)),
            Command::Check | Command::Gc | Command::Status => {}
        }
    }
    match command {
        Command::Add => {
            // A result that the asked version cannot express is found out by the plugin before it touches anything, and
            // here at the latest.
            let outcome = plugin.add(&request)?;
            return outcome
                .to_json(request.conf.version)
                .map_err(|error| Error::new(Code::INTERNAL, error.to_string()));
        }
        Command::Del => plugin.del(&request),
        Command::Check => plugin.check(&request),
        Command::Status => plugin.status(&request),
        Command::Gc => plugin.gc(&request),
    }
    .map(|()| String::new())
}

fn allowed(command: Command, version: Version) -> Result<(), Error> {
    let (name, since) = match command {
        Command::Check => ("CHECK", Version::V0_4_0),
        Command::Gc => ("GC", Version::V1_1_0),
        Command::Status => ("STATUS", Version::V1_1_0),
        Command::Add | Command::Del => return Ok(()),
    };
    if version >= since {
        return Ok(());
    }
    Err(Error::new(Code::INCOMPATIBLE_VERSION, format!("config version does not allow {name}")))
}

fn overridden(source: &Source<'_>) -> bool {
    let value = source.value("CNI_NETNS_OVERRIDE");
    value == "1" || value.eq_ignore_ascii_case("true")
}

const OWN_NETNS: &str = "plugin's netns and netns from CNI_NETNS should not be the same";

/// A runtime that passes the plugin's own namespace would have the node's NIC configured as the pod's.
fn is_own_netns(netns: Option<&Path>) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let own = identity(Path::new("/proc/self/ns/net"));
    netns.and_then(identity).is_some_and(|asked| own == Some(asked))
}

#[cfg(test)]
mod tests;
