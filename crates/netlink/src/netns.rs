//! Network namespaces: opening one by path, telling two apart, stepping into one and back.
//! It must not create or delete any.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use nix::sys::statfs::{FsType, NSFS_MAGIC, PROC_SUPER_MAGIC, fstatfs};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ifname::IfName;
use crate::socket::Netlink;
use crate::transport::cookie_of;

/// An open network namespace. It lives at least as long as this.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
    id: NetnsId,
}

/// What tells one network namespace from another, whatever path leads to it: nsfs's device and inode.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NetnsId {
    /// The device of nsfs.
    pub dev: u64,
    /// The namespace's inode.
    pub ino: u64,
}

/// Why a path leads to no network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// There is nothing to open.
    #[error("failed to open netns {path:?}: failed to Statfs {path:?}: {}", lower(source))]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no namespace: an unmounted `/run/netns/…` is a plain file.
    #[error("failed to open netns {path:?}: unknown FS magic on {path:?}: {:x}", magic.0)]
    NotNetns {
        /// The path.
        path: PathBuf,
        /// The file system's magic number.
        magic: FsType,
    },
    /// It is a namespace, but stepping in or out failed.
    #[error("cannot enter network namespace {path:?}: {source}")]
    Enter {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whether it has a certain link cannot be told.
    #[error("cannot look for a link in network namespace {path:?}: {source}")]
    Look {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl NetnsError {
    /// True where there is no namespace at that path any more, as against one that cannot be opened or entered from here.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Open { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            Self::NotNetns { .. } => true,
            Self::Enter { .. } | Self::Look { .. } => false,
        }
    }
}

impl Netns {
    /// Opens the namespace at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        let path = path.as_ref().to_owned();
        let open = || -> io::Result<(File, FsType, NetnsId)> {
            let file = File::open(&path)?;
            let magic = fstatfs(&file)?.filesystem_type();
            let metadata = file.metadata()?;
            Ok((file, magic, NetnsId { dev: metadata.dev(), ino: metadata.ino() }))
        };
        match open() {
            Ok((file, NSFS_MAGIC | PROC_SUPER_MAGIC, id)) => Ok(Self { file, path, id }),
            Ok((_, magic, _)) => Err(NetnsError::NotNetns { path, magic }),
            Err(source) => Err(NetnsError::Open { path, source }),
        }
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells it from others.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// As [`Netlink::netns_cookie`]; `None` as well where this process may not enter.
    pub fn cookie(&self) -> Option<u64> {
        self.enter(|| UnixDatagram::unbound().ok().and_then(|socket| cookie_of(&socket))).ok().flatten()
    }

    /// Runs `work` inside this namespace and comes back. The calling thread alone moves: have only one.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T, NetnsError> {
        let home = Self::current()?;
        if home.id == self.id {
            return Ok(work());
        }
        self.set()?;
        let outcome = work();
        home.set()?;
        Ok(outcome)
    }

    /// An rtnetlink socket of this namespace, to be used from anywhere.
    pub fn netlink(&self) -> Result<Result<Netlink, Error>, NetnsError> {
        self.enter(Netlink::open)
    }

    /// The index of the link of that name or alternative name in this namespace; `None` where there is none. Unlike a question
    /// to rtnetlink this waits for nobody who moves a link at that moment.
    pub fn index_of(&self, name: &IfName) -> Result<Option<u32>, NetnsError> {
        // An ioctl about a name that no link has makes the kernel load a module of that name (`dev_load`,
        // net/core/dev_ioctl.c), and a pod names its interfaces. Binding a socket to it looks only.
        let named = self.enter(|| {
            let socket = UnixDatagram::unbound()?;
            let bound = setsockopt(&socket, BindToDevice, &OsString::from(name.as_str()));
            Ok(there(bound.and_then(|()| if_nametoindex(name.as_str())))?)
        })?;
        named.map_err(|source| self.look(source))
    }

    /// Whether a link of this namespace has the index.
    #[expect(unsafe_code, reason = "nix 0.31 takes the null pointer of a failure for a success")]
    pub fn has_index(&self, index: u32) -> Result<bool, NetnsError> {
        let named = self.enter(|| {
            let mut name = [0; libc::IF_NAMESIZE];
            // SAFETY: the call writes at most `IF_NAMESIZE` bytes to `name`, which has as many.
            let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
            there(if found.is_null() { Err(Errno::last()) } else { Ok(()) })
        })?;
        named.map(|found| found.is_some()).map_err(|errno| self.look(errno.into()))
    }

    fn look(&self, source: io::Error) -> NetnsError {
        NetnsError::Look { path: self.path.clone(), source }
    }

    fn set(&self) -> Result<(), NetnsError> {
        let enter = |errno: nix::Error| NetnsError::Enter { path: self.path.clone(), source: errno.into() };
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(enter)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `None` where there is no such link, which the C library's way from an index says in a word of its own. No other error
/// means that: a process out of descriptors must not take a name for free.
fn there<T>(found: nix::Result<T>) -> nix::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// As the Go programs print it: `no such file or directory`.
fn lower(error: &io::Error) -> String {
    crate::words::in_words(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_by_two_paths_is_one() {
        let current = Netns::current().unwrap();
        assert_eq!(current.id(), Netns::open("/proc/self/ns/net").unwrap().id());
        assert_eq!(current.enter(|| 7).unwrap(), 7);
        assert_eq!(current.cookie(), current.netlink().unwrap().unwrap().netns_cookie());
    }

    #[test]
    fn looks_a_link_up_both_ways() {
        let current = Netns::current().unwrap();
        let index = current.index_of(&"lo".parse().unwrap()).unwrap().unwrap();
        assert!(current.has_index(index).unwrap());
        assert_eq!(current.index_of(&"no-such-link".parse().unwrap()).unwrap(), None);
        assert!(!current.has_index(u32::MAX >> 1).unwrap());
    }

    #[test]
    fn what_cannot_be_told_is_not_taken_for_absent() {
        for absent in [Errno::ENODEV, Errno::ENXIO] {
            assert_eq!(there::<u32>(Err(absent)), Ok(None));
        }
        for unknown in [Errno::EMFILE, Errno::ENOMEM, Errno::EPERM] {
            assert_eq!(there::<u32>(Err(unknown)), Err(unknown));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_path() {
        let missing = Netns::open("/nonexistent/ns").unwrap_err();
        assert_eq!(
            missing.to_string(),
            r#"failed to open netns "/nonexistent/ns": failed to Statfs "/nonexistent/ns": no such file or directory"#
        );
        let file = Netns::open(std::env::current_exe().unwrap()).unwrap_err();
        assert!(file.is_gone() && file.to_string().contains("unknown FS magic"), "{file}");
    }

    #[test]
    fn what_cannot_be_opened_may_be_there() {
        let gone =
            |kind: io::ErrorKind| NetnsError::Open { path: "/ns".into(), source: kind.into() }.is_gone();
        assert!(gone(io::ErrorKind::NotFound) && gone(io::ErrorKind::NotADirectory));
        assert!(!gone(io::ErrorKind::PermissionDenied));
        let too_many = NetnsError::Open { path: "/ns".into(), source: Errno::EMFILE.into() };
        assert!(!too_many.is_gone());
    }
}
