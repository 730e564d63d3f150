//! Finding plugins: the watcher of `plugins_registry`, the `Register` call, and the checks that both make.
//! It must not allocate or listen; `admission` and `session` do.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use inotify::{EventMask, Inotify, WatchMask};
use kubelet_api::device_plugin::device_plugin_client::DevicePluginClient;
use kubelet_api::device_plugin::registration_server::{Registration, RegistrationServer};
use kubelet_api::device_plugin::{self as api, Empty, RegisterRequest};
use kubelet_api::plugin_registration::registration_client::RegistrationClient;
use kubelet_api::plugin_registration::{DEVICE_PLUGIN, InfoRequest, PluginInfo, RegistrationStatus};
use tokio::net::UnixListener;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use super::session::{Session, dial};
use super::{Node, lock};

/// The kubelet's pauses between two attempts to register one plugin: doubled each time, up to about two minutes.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));

/// The plugins that can be asked, by resource, and the tasks of those that came through `Register`.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    clients: Mutex<BTreeMap<String, DevicePluginClient<Channel>>>,
    registered: Mutex<BTreeMap<String, Task>>,
}

impl Plugins {
    /// The client of a resource's plugin, connected or not.
    pub(super) fn client(&self, resource: &str) -> Option<DevicePluginClient<Channel>> {
        lock(&self.clients).get(resource).cloned()
    }

    /// Puts the client of a resource's newest plugin in the place of the one before.
    pub(super) fn replace(&self, resource: &str, client: DevicePluginClient<Channel>) {
        lock(&self.clients).insert(resource.to_owned(), client);
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Task(AbortHandle);

impl From<JoinHandle<()>> for Task {
    fn from(handle: JoinHandle<()>) -> Self {
        Self(handle.abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows the sockets in `registry`: those that are there and those that come and go. Must be called inside the runtime.
pub(super) fn watch_registry(node: &Arc<Node>, registry: PathBuf) -> Result<()> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::DELETE | WatchMask::MOVED_FROM;
    inotify.watches().add(&registry, mask).with_context(|| registry.display().to_string())?;
    let mut events = inotify.into_event_stream(vec![0; 1 << 16])?;
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut sockets = HashMap::new();
        scan(&node, &registry, &mut sockets);
        while let Some(Ok(event)) = events.next().await {
            match event.name {
                _ if event.mask.contains(EventMask::Q_OVERFLOW) => scan(&node, &registry, &mut sockets),
                Some(name) if event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) => {
                    // A name that is known is another socket now: the old one is let go first.
                    sockets.remove(&name);
                    add(&node, &registry, &mut sockets, name);
                }
                Some(name) => drop(sockets.remove(&name)),
                None => {}
            }
        }
    });
    Ok(())
}

/// Brings `sockets` in line with what is in the folder.
fn scan(node: &Arc<Node>, registry: &Path, sockets: &mut HashMap<OsString, Task>) {
    let names: Vec<OsString> =
        std::fs::read_dir(registry).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    sockets.retain(|name, _| names.contains(name));
    for name in names {
        if !sockets.contains_key(&name) {
            add(node, registry, sockets, name);
        }
    }
}

/// Begins to follow one socket. The kubelet passes over names that begin with a dot and files that are no sockets.
fn add(node: &Arc<Node>, registry: &Path, sockets: &mut HashMap<OsString, Task>, name: OsString) {
    let path = registry.join(&name);
    let is_socket = std::fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && !name.as_encoded_bytes().starts_with(b".") {
        sockets.insert(name, tokio::spawn(follow(Arc::clone(node), path)).into());
    }
}

/// Registers the plugin behind one socket, trying again as the kubelet does, then listens until its stream ends. A stream
/// that ended is not opened again: the plugin has to make its socket anew.
async fn follow(node: Arc<Node>, socket: PathBuf) {
    let mut pause = RETRY.0;
    loop {
        match register(&node, &socket).await {
            Ok(session) => return session.listen().await,
            Err(error) => node.refuse(&socket, &error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// `GetInfo`, the checks, the connection, `NotifyRegistrationStatus`: in the kubelet's order.
async fn register(node: &Arc<Node>, socket: &Path) -> Result<Session> {
    let mut plugin = RegistrationClient::new(dial(socket).await?);
    let info = plugin.get_info(InfoRequest {}).await.context("GetInfo")?.into_inner();
    let endpoint = if info.endpoint.is_empty() { socket.to_owned() } else { PathBuf::from(&info.endpoint) };
    let outcome = match check(&info) {
        Ok(()) => node.connect(&info.name, &endpoint).await,
        Err(error) => Err(error),
    };
    let error = outcome.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let status = RegistrationStatus { plugin_registered: outcome.is_ok(), error };
    plugin.notify_registration_status(status).await.context("NotifyRegistrationStatus")?;
    outcome
}

/// What the kubelet asks of a plugin in `plugins_registry`.
fn check(info: &PluginInfo) -> Result<()> {
    ensure!(info.r#type == DEVICE_PLUGIN, "type is {:?}, wanted {DEVICE_PLUGIN:?}", info.r#type);
    let versions = &info.supported_versions;
    ensure!(versions.iter().any(|v| v == api::VERSION), "versions are {versions:?}, wanted {}", api::VERSION);
    ensure!(is_extended_resource(&info.name), "{:?} is no name of an extended resource", info.name);
    Ok(())
}

/// Whether Kubernetes takes `name` as an extended resource: `<DNS subdomain>/<qualified name>`, none of its own.
fn is_extended_resource(name: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let ends = |part: &str| edge(part.bytes().next()) && edge(part.bytes().last());
    let label = |part: &str| {
        ends(part) && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    let Some((prefix, resource)) = name.split_once('/') else { return false };
    // Quota writes `requests.<prefix>`, and that has to be a subdomain too.
    prefix.len() + "requests.".len() <= 253
        && prefix.split('.').all(label)
        && !prefix.starts_with("requests.")
        && prefix != "kubernetes.io"
        && !prefix.ends_with(".kubernetes.io")
        && resource.len() <= 63
        && ends(resource)
        && resource.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// Serves `v1beta1.Registration`. Must be called inside the runtime.
pub(super) fn serve_register(node: &Arc<Node>, socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
    let service = RegistrationServer::new(Register(Arc::clone(node)));
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    Ok(())
}

struct Register(Arc<Node>);

#[tonic::async_trait]
impl Registration for Register {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        let node = &self.0;
        let socket = node.device_plugins.join(&request.endpoint);
        let info = PluginInfo {
            r#type: DEVICE_PLUGIN.to_owned(),
            name: request.resource_name.clone(),
            endpoint: String::new(),
            supported_versions: vec![request.version],
        };
        // As in the kubelet, the plugin is dialled before this call is answered: it has to serve already.
        let session = match check(&info) {
            Ok(()) => node.connect(&request.resource_name, &socket).await,
            Err(error) => Err(error),
        };
        let session = session.map_err(|error| {
            node.refuse(&socket, &error);
            Status::unknown(format!("{error:#}"))
        })?;
        let task = tokio::spawn(session.listen()).into();
        lock(&node.plugins.registered).insert(request.resource_name, task);
        Ok(Response::new(Empty {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_extended_resources() {
        for name in ["intel.com/x", "amazon.com/sriov_dpdk_1", "a/B-c.d"] {
            assert!(is_extended_resource(name), "{name}");
        }
        for name in [
            "x",
            "Intel.com/x",
            "intel.com/",
            "intel.com/a/b",
            "kubernetes.io/x",
            "a.kubernetes.io/x",
            "requests.a/x",
            "a_b/x",
            "intel.com/-x",
            &format!("a/{}", "x".repeat(64)),
        ] {
            assert!(!is_extended_resource(name), "{name}");
        }
    }
}
