//! When the configuration file may have changed, and whether it has: its folder under watch, its bytes compared.
//! It must not judge a new file; it says what is in it, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, EventStream, Inotify, WatchMask};
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::{Config, Error};
use crate::coalesce::Coalescer;

/// An editor removes and makes a file anew; a `ConfigMap` makes a folder, a link to it, and renames that over `..data`.
const QUIET: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(500);

/// The file as it was last read, and its folder.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    default_prefix: String,
    /// What was in it; `None` where it could not be read.
    bytes: Option<Vec<u8>>,
    /// `None` while the folder cannot be watched.
    events: Option<EventStream<[u8; 4096]>>,
    changes: Coalescer,
}

impl Watched {
    /// Reads the file, and watches it from then on.
    pub fn open(path: &Path, default_prefix: &str) -> (Self, Result<Config, Error>) {
        let mut watched = Self {
            path: path.to_owned(),
            default_prefix: default_prefix.to_owned(),
            bytes: None,
            events: None,
            changes: Coalescer::new(QUIET, LONGEST),
        };
        watched.watch_folder();
        let config = watched.read();
        (watched, config)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file may have changed. May be given up and begun again.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                event = next(&mut self.events) => {
                    self.changes.note(Instant::now());
                    if !event {
                        // The folder itself was replaced, or nothing can be told of it.
                        self.events = None;
                    }
                }
                () = self.changes.wait() => {
                    self.changes.begin();
                    return;
                }
            }
        }
    }

    /// What is in the file, where that differs from the last time; to be called now and then without cause, too: a file
    /// behind a link to another folder changes without a word.
    pub fn reread(&mut self) -> Option<Result<Config, Error>> {
        if self.events.is_none() {
            self.watch_folder();
        }
        let bytes = fs::read(&self.path).ok();
        (bytes != self.bytes).then(|| self.read())
    }

    fn read(&mut self) -> Result<Config, Error> {
        self.bytes = None;
        let bytes = fs::read(&self.path).map_err(|source| Error::Read { path: self.path.clone(), source })?;
        let config = Config::parse(&bytes, &self.default_prefix)
            .map_err(|source| Error::Invalid { path: self.path.clone(), source });
        self.bytes = Some(bytes);
        config
    }

    fn watch_folder(&mut self) {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mask = WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::CLOSE_WRITE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        let watched = Inotify::init().and_then(|inotify| {
            inotify.watches().add(folder, mask)?;
            inotify.into_event_stream([0; 4096])
        });
        match watched {
            Ok(events) => self.events = Some(events),
            Err(error) => tracing::debug!("{} cannot be watched: {error}", folder.display()),
        }
    }
}

/// Waits for an event in the folder; false where there will be no more.
async fn next(events: &mut Option<EventStream<[u8; 4096]>>) -> bool {
    let Some(stream) = events else { return std::future::pending().await };
    let over = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED | EventMask::UNMOUNT;
    matches!(stream.next().await, Some(Ok(event)) if !event.mask.intersects(over))
}

#[cfg(test)]
mod tests;
