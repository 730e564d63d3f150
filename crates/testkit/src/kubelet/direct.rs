//! Single calls to a plugin's socket, also those that no right kubelet makes: for tests of its answers.
//! It must not go through the accounts.

use std::path::Path;

use anyhow::{Context, Result};
use kubelet_api::device_plugin::device_plugin_client::DevicePluginClient;
use kubelet_api::device_plugin::{AllocateRequest, ContainerAllocateRequest, ContainerAllocateResponse};
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
