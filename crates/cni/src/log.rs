//! What a plugin tells beside its answer: lines with a level, on standard error or in a file.
//! It must not fail a request, whatever becomes of a line.
//!
//! A line is that of the Go programs' `cni-log`: `time="…" level="…" msg="…"`, then who speaks and about which attachment.

use std::fmt::{Display, Write as _};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::env::Request;

/// How grave a line is. A plugin writes those of its level and graver ones.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// A bug of ours.
    Panic,
    /// The request fails.
    Error,
    /// It goes on, and somebody should know of something.
    Warning,
    /// What became of a device that is not as it was left.
    Info,
    /// Each request, and what it came to.
    Debug,
}

impl Level {
    const ALL: [(&'static str, Self); 5] = [
        ("panic", Self::Panic),
        ("error", Self::Error),
        ("warning", Self::Warning),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    /// The level of that name; `None` where there is none such.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
    }
}

/// Where lines go, and what each ends with.
struct Log {
    level: Level,
    file: Option<File>,
    labels: String,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// A log file is moved aside when it has grown to this, as the Go programs do.
const FULL: u64 = 100 << 20;
/// How many that were moved aside are kept.
const KEPT: u32 = 5;

/// Why lines go to standard error instead of the file that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot log to {path}: {source}; logging to standard error")]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// Has lines of `level` and graver ones written as `name`'s, to `file` or to standard error. The first call in a process counts.
pub fn init(name: &str, request: &Request, level: Level, file: Option<&Path>) -> Result<(), LogError> {
    let (file, outcome) = match file.map(open).transpose() {
        Ok(file) => (file, Ok(())),
        Err(error) => (None, Err(error)),
    };
    let mut labels = String::new();
    let netns = request.netns.as_deref().unwrap_or(Path::new("")).display().to_string();
    for (key, value) in [
        ("cniName", name),
        ("containerID", &request.container_id),
        ("netns", &netns),
        ("ifname", &request.ifname),
    ] {
        let _ = write!(labels, " {key}={value:?}");
    }
    let _ = LOG.set(Log { level, file, labels });
    outcome
}

/// Writes one line.
pub fn line(level: Level, words: impl Display) {
    // A line that cannot be written is nobody's failure.
    let _ = match LOG.get() {
        // A plugin without a log speaks as it is.
        None => writeln!(io::stderr(), "{words}"),
        Some(log) if level > log.level => Ok(()),
        Some(log) => {
            let line = log.format(SystemTime::now(), level, &words.to_string());
            // In one write: plugins that run at the same time append to the same file.
            log.file.as_ref().map_or_else(
                || io::stderr().write_all(line.as_bytes()),
                |mut file| file.write_all(line.as_bytes()),
            )
        }
    };
}

/// Whether [`init`] was called.
pub(crate) fn is_open() -> bool {
    LOG.get().is_some()
}

impl Log {
    fn format(&self, now: SystemTime, level: Level, words: &str) -> String {
        let now = humantime::format_rfc3339_nanos(now);
        format!("time=\"{now}\" level=\"{}\" msg={words:?}{}\n", level.name(), self.labels)
    }
}

/// Opens the file to append to it. Whoever may write a network's configuration names the path, and we are root: what is no
/// regular file, a symbolic link above all, is not opened.
fn open(path: &Path) -> Result<File, LogError> {
    let failed = |source| LogError { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    let append = || {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options.open(path)
    };
    let file = append().map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    // Of several plugins that find it full, the one that has its lock moves it.
    if metadata.len() < FULL || file.try_lock().is_err() {
        return Ok(file);
    }
    rotate(path);
    append().map_err(failed)
}

/// `log` becomes `log.1`, that becomes `log.2`, and the last one goes.
fn rotate(path: &Path) {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..KEPT).rev() {
        // Most do not exist most of the time.
        let _ = fs::rename(aside(number), aside(number + 1));
    }
    let _ = fs::rename(path, aside(1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn levels_are_the_go_plugins() {
        assert_eq!(Level::named("Warning"), Some(Level::Warning));
        assert_eq!(Level::named("trace"), None);
        assert!(Level::Panic < Level::Error && Level::Info < Level::Debug);
    }

    #[test]
    fn a_line_has_the_go_plugins_prefix() {
        let log = Log { level: Level::Info, file: None, labels: r#" cniName="sriov-cni""#.to_owned() };
        let line =
            log.format(SystemTime::UNIX_EPOCH + Duration::from_millis(1500), Level::Error, "a \"b\"\n");
        assert_eq!(
            line,
            "time=\"1970-01-01T00:00:01.500000000Z\" level=\"error\" msg=\"a \\\"b\\\"\\n\" cniName=\"sriov-cni\"\n"
        );
    }

    #[test]
    fn what_is_no_plain_file_is_refused_and_missing_directories_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("var/log/sriov.log");
        open(&path).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = open(&link).unwrap_err().to_string();
        assert!(error.ends_with("logging to standard error") && error.contains("link"), "{error}");
        assert!(open(dir.path()).is_err() && open(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_full_file_is_moved_aside_and_the_sixth_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for round in 0..7_u64 {
            open(&path).unwrap().set_len(FULL + round).unwrap();
        }
        assert_eq!(open(&path).unwrap().metadata().unwrap().len(), 0);
        let len = |number: u32| fs::metadata(dir.path().join(format!("log.{number}"))).map(|file| file.len());
        assert_eq!((len(1).unwrap(), len(5).unwrap()), (FULL + 6, FULL + 2));
        assert!(len(6).is_err());
    }
}
