//! The request that the environment and standard input make up.
//! It must not act on it.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use crate::config::{Naming, NetConf, is_identifier};
use crate::error::{Code, Error};
use crate::nesting;

/// What the runtime asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Is the attachment as promised?
    Check,
    /// Remove what belongs to no valid attachment.
    Gc,
    /// Would an ADD work?
    Status,
}

/// A request whose variables and configuration are well formed.
#[derive(Clone, Debug)]
pub struct Request {
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container_id: String,
    /// `CNI_NETNS`; `None` where a DEL names none.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`; empty for GC and STATUS.
    pub ifname: String,
    /// `CNI_ARGS` as it came.
    pub args: String,
    /// The directories of `CNI_PATH`.
    pub path: Vec<PathBuf>,
    /// Standard input as it came, for delegates.
    pub stdin: Vec<u8>,
    /// What every configuration has.
    pub conf: NetConf,
}

/// The variables in the order in which the Go skeleton looks at them.
const VARIABLES: [&str; 6] =
    ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];

/// Where a request comes from: the process, or a test.
pub(crate) struct Source<'a> {
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    pub(crate) stdin: &'a mut dyn Read,
}

/// The command as the environment names it; VERSION is answered without a request.
pub(crate) enum Asked {
    Version,
    Known(Command),
    Unknown(String),
}

impl Source<'_> {
    /// Reads and checks the environment. A malformed variable is reported at once, missing ones all together.
    pub(crate) fn asked(&self) -> Result<Asked, Error> {
        let command = self.value("CNI_COMMAND");
        let mut missing = Vec::new();
        for name in VARIABLES {
            if (self.variable)(name).is_some_and(|value| value.to_str().is_none()) {
                return Err(Error::new(Code::ENVIRONMENT, format!("{name} is not UTF-8 text")));
            }
            let value = self.value(name);
            if !value.is_empty() {
                validate(name, &value)?;
            } else if is_required(name, &command) {
                missing.push(name);
            }
        }
        if !missing.is_empty() {
            let msg = format!("required env variables [{}] missing", missing.join(","));
            return Err(Error::new(Code::ENVIRONMENT, msg));
        }
        Ok(match command.as_str() {
            "VERSION" => Asked::Version,
            "ADD" => Asked::Known(Command::Add),
            "DEL" => Asked::Known(Command::Del),
            "CHECK" => Asked::Known(Command::Check),
            "GC" => Asked::Known(Command::Gc),
            "STATUS" => Asked::Known(Command::Status),
            _ => Asked::Unknown(command),
        })
    }

    /// Reads standard input and makes the request. Whoever would record the configuration is refused one that could not be read
    /// back; for whoever would not, its depths are not there. Delegates get what came.
    pub(crate) fn request(&mut self, name: &Naming<'_>, is_recorded: bool) -> Result<Request, Error> {
        // As most configurations fit in: taken by one read.
        let mut stdin = Vec::with_capacity(4096);
        let read = self.stdin.read_to_end(&mut stdin);
        read.map_err(|error| Error::new(Code::IO, format!("error reading from stdin: {error}")))?;
        let cut = nesting::cut(&stdin);
        if cut.is_some() && is_recorded {
            return Err(too_deep());
        }
        let (conf, renamed) = NetConf::parse(cut.as_deref().unwrap_or(&stdin), name)?;
        Ok(Request {
            container_id: self.value("CNI_CONTAINERID"),
            netns: Some(self.value("CNI_NETNS")).filter(|netns| !netns.is_empty()).map(PathBuf::from),
            ifname: self.value("CNI_IFNAME"),
            args: self.value("CNI_ARGS"),
            path: self
                .value("CNI_PATH")
                .split(':')
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
                .collect(),
            stdin: renamed.unwrap_or(stdin),
            conf,
        })
    }

    /// An empty variable is a missing one.
    pub(crate) fn value(&self, name: &str) -> String {
        (self.variable)(name).and_then(|value| value.into_string().ok()).unwrap_or_default()
    }
}

fn too_deep() -> Error {
    let limit = nesting::LIMIT;
    let msg = format!(
        "the network configuration nests deeper than {limit} levels, and could not be recorded; make it flatter"
    );
    Error::new(Code::CONFIG, msg)
}

fn is_required(name: &str, command: &str) -> bool {
    match name {
        "CNI_COMMAND" => true,
        "CNI_CONTAINERID" | "CNI_IFNAME" => matches!(command, "ADD" | "DEL" | "CHECK"),
        "CNI_NETNS" => matches!(command, "ADD" | "CHECK"),
        "CNI_PATH" => matches!(command, "ADD" | "DEL" | "CHECK" | "GC" | "STATUS"),
        _ => false,
    }
}

fn validate(name: &str, value: &str) -> Result<(), Error> {
    match name {
        "CNI_CONTAINERID" if !is_identifier(value) => {
            Err(Error::new(Code::ENVIRONMENT, "invalid characters in containerID").details(value))
        }
        "CNI_IFNAME" => validate_ifname(value),
        _ => Ok(()),
    }
}

fn validate_ifname(name: &str) -> Result<(), Error> {
    let error = |msg: &str| Err(Error::new(Code::ENVIRONMENT, msg));
    if name.len() > 15 {
        return Err(Error::new(Code::ENVIRONMENT, "interface name is too long")
            .details("interface name should be less than 16 characters"));
    }
    if name == "." || name == ".." {
        return error("interface name is . or ..");
    }
    if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        return error("interface name contains / or : or whitespace characters");
    }
    Ok(())
}
