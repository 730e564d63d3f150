//! Single calls to a plugin's socket, also those that no right kubelet makes: for tests of its answers.
//! It must not go through the accounts.

use std::path::Path;

use anyhow::{Context, Result};
use kubelet_api::device_plugin::device_plugin_client::DevicePluginClient;
use kubelet_api::device_plugin::{
    AllocateRequest, ContainerAllocateRequest, ContainerAllocateResponse, Empty,
};
use kubelet_api::plugin_registration::registration_client::RegistrationClient;
use kubelet_api::plugin_registration::{InfoRequest, PluginInfo};
use tonic::Status;

use super::block;
use super::session::dial;

/// `GetInfo`.
pub fn info(socket: &Path) -> Result<PluginInfo> {
    block(async {
        let answer = RegistrationClient::new(dial(socket).await?).get_info(InfoRequest {}).await;
        Ok(answer.context("GetInfo")?.into_inner())
    })
}

/// As often as told: dials, opens `ListAndWatch`, takes the first list, and goes without a word.
pub fn listen(socket: &Path, times: usize) -> Result<()> {
    block(async {
        for _ in 0..times {
            let mut plugin = DevicePluginClient::new(dial(socket).await?);
            let mut lists = plugin.list_and_watch(Empty {}).await.context("ListAndWatch")?.into_inner();
            lists.message().await?.context("the first list")?;
        }
        Ok(())
    })
}

/// `Allocate` of any ids, one list for each container.
///
/// # Errors
/// The plugin's refusal inside, everything else outside.
pub fn allocate(
    socket: &Path,
    containers: &[&[&str]],
) -> Result<Result<Vec<ContainerAllocateResponse>, Status>> {
    let ids = |list: &&[&str]| list.iter().map(|id| (*id).to_owned()).collect();
    let container_requests =
        containers.iter().map(|list| ContainerAllocateRequest { devices_ids: ids(list) }).collect();
    block(async {
        let mut plugin = DevicePluginClient::new(dial(socket).await?);
        let answer = plugin.allocate(AllocateRequest { container_requests }).await;
        Ok(answer.map(|answer| answer.into_inner().container_responses))
    })
}
