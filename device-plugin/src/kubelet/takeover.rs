//! `--handover`: the names of sockets by which two runs of the daemon can serve one pool at a time, and the end of those
//! that a dead run left. It must not touch a socket on which somebody listens.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::config::Resource;

/// One run of the daemon. A process id would not do: in a container it is always the same.
#[derive(Clone, Debug)]
pub(super) struct Run(String);

/// The length of a run's mark, in hexadecimal digits.
const DIGITS: usize = 8;

impl Run {
    pub(super) fn new() -> Self {
        Self(format!("{:0DIGITS$x}", fastrand::u32(..)))
    }

    /// `<prefix>_<name>.<run>.sock`. No pool is called so: there is no dot in a pool's name.
    pub(super) fn socket_name(&self, resource: &Resource) -> String {
        let usual = resource.socket_name();
        format!("{}.{}.sock", usual.strip_suffix(".sock").unwrap_or(&usual), self.0)
    }
}

/// Removes the sockets of a pool, of any run but that of `ours`, on which nobody listens any more.
pub(super) fn clear_dead(dir: &Path, resource: &Resource, ours: &str) {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names.filter_map(|name| name.into_string().ok()) {
        let socket = dir.join(&name);
        if name != ours && is_of(resource, &name) && is_dead(&socket) {
            match fs::remove_file(&socket) {
                Ok(()) => tracing::debug!("removed {}, which was left there", socket.display()),
                Err(error) => {
                    tracing::warn!("cannot remove {}, which was left there: {error}", socket.display());
                }
            }
        }
    }
}

fn is_of(resource: &Resource, name: &str) -> bool {
    let usual = resource.socket_name();
    let Some(rest) = usual.strip_suffix("sock").and_then(|stem| name.strip_prefix(stem)) else {
        return false;
    };
    let is_run = |run: &str| run.len() == DIGITS && run.bytes().all(|digit| digit.is_ascii_hexdigit());
    rest == "sock" || rest.strip_suffix(".sock").is_some_and(is_run)
}

fn is_dead(socket: &Path) -> bool {
    matches!(UnixStream::connect(socket), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_what_is_dead_and_of_the_pool_goes() {
        let dir = tempfile::tempdir().unwrap();
        let resource = Resource::new("intel.com", "net").unwrap();
        let ours = Run::new().socket_name(&resource);
        assert!(is_of(&resource, &ours) && ours.starts_with("intel.com_net."), "{ours}");
        let dead = ["intel.com_net.sock", "intel.com_net.01234567.sock"];
        let others = ["intel.com_net2.sock", "intel.com_net.0123456z.sock", "x.sock", ours.as_str()];
        for name in dead.into_iter().chain(others) {
            drop(UnixListener::bind(dir.path().join(name)).unwrap());
        }
        let _alive = UnixListener::bind(dir.path().join("intel.com_net.89abcdef.sock")).unwrap();
        clear_dead(dir.path(), &resource, &ours);
        for name in dead {
            assert!(!dir.path().join(name).exists(), "{name}");
        }
        for name in others.into_iter().chain(["intel.com_net.89abcdef.sock"]) {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }
}
