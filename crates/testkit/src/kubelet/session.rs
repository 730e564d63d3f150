//! The connection to one plugin: dialled, asked for its options, listened to until it ends.
//! It must not decide whom to trust; `plugins` does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kubelet_api::device_plugin::device_plugin_client::DevicePluginClient;
use kubelet_api::device_plugin::{self as api, Empty};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use super::Node;
use super::devices::{Device, Pool};

/// How long a socket may take from its creation to its first answer.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// Connects to a socket, which may be created before it listens.
pub(super) async fn dial(socket: &Path) -> Result<Channel> {
    let deadline = Instant::now() + DIAL_LIMIT;
    // The kubelet names its peer `localhost` over a unix socket since 1.26.
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display()))?
        .origin("http://localhost".parse()?)
        .connect_timeout(DIAL_LIMIT);
    loop {
        match endpoint.connect().await {
            Err(error) if Instant::now() > deadline || !socket.exists() => {
                return Err(error).with_context(|| format!("dial {}", socket.display()));
            }
            Err(_) => sleep(Duration::from_millis(5)).await,
            Ok(channel) => return Ok(channel),
        }
    }
}

impl Node {
    /// Notes why a plugin was not taken.
    pub(super) fn refuse(&self, socket: &Path, error: &anyhow::Error) {
        self.state.send_modify(|state| state.refusals.push((socket.to_owned(), format!("{error:#}"))));
    }

    /// Connects to the device plugin behind `socket`; it is the plugin of `resource` from now on.
    pub(super) async fn connect(self: &Arc<Self>, resource: &str, socket: &Path) -> Result<Session> {
        let mut client = DevicePluginClient::new(dial(socket).await?);
        let options = client.get_device_plugin_options(Empty {}).await.context("GetDevicePluginOptions")?;
        let options = options.into_inner();
        self.plugins.replace(resource, client.clone());
        let mut registration = 0;
        self.state.send_modify(|state| {
            let pool = state.pools.entry(resource.to_owned()).or_default();
            pool.connected = true;
            pool.pre_start = options.pre_start_required;
            pool.preferred_allocation = options.get_preferred_allocation_available;
            socket.clone_into(&mut pool.socket);
            pool.registrations += 1;
            pool.lists = 0;
            registration = pool.registrations;
        });
        Ok(Session { node: Arc::clone(self), resource: resource.to_owned(), registration, client })
    }
}

/// One registration of one resource. When it is dropped, by the end of the stream or of its task, the pool is unhealthy.
pub(super) struct Session {
    node: Arc<Node>,
    resource: String,
    registration: u64,
    client: DevicePluginClient<Channel>,
}

impl Session {
    /// Takes every list that the plugin sends, until it ends or fails.
    pub(super) async fn listen(mut self) {
        let Ok(lists) = self.client.list_and_watch(Empty {}).await else { return };
        let mut lists = lists.into_inner();
        while let Ok(Some(list)) = lists.message().await {
            let devices = list.devices.into_iter().map(|device| {
                let numa =
                    device.topology.map(|topology| topology.nodes.iter().map(|node| node.id).collect());
                let healthy = device.health == api::HEALTHY;
                (device.id, Device { healthy, numa: numa.unwrap_or_default() })
            });
            let devices = devices.collect();
            self.change(|pool| {
                pool.devices = devices;
                pool.lists += 1;
            });
            if let Err(error) = self.node.write_checkpoint() {
                self.node.refuse(&self.node.device_plugins, &error);
            }
        }
    }

    /// Changes the pool, unless a later registration has taken it over.
    fn change(&self, change: impl FnOnce(&mut Pool)) {
        self.node.state.send_if_modified(|state| match state.pools.get_mut(&self.resource) {
            Some(pool) if pool.registrations == self.registration => {
                change(pool);
                true
            }
            _ => false,
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.change(|pool| {
            pool.connected = false;
            pool.devices.values_mut().for_each(|device| device.healthy = false);
        });
    }
}
