//! Giving a pod its devices: the calls of the device manager to the plugins, in its order.
//! It must not keep accounts; `devices` does.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kubelet_api::device_plugin::{
    AllocateRequest, ContainerAllocateRequest, ContainerAllocateResponse,
    ContainerPreferredAllocationRequest, PreStartContainerRequest, PreferredAllocationRequest,
};

use super::devices::{Grant, Pool, choose};
use super::{Node, lock};
use crate::pod::Pod;

/// A plugin that does not answer ends the test with an error, where a kubelet would wait for ever.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// What one container got of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// The container's name.
    pub container: String,
    /// The extended resource.
    pub resource: String,
    /// The device ids, as the plugin was asked for them.
    pub devices: Vec<String>,
    /// What the plugin wants in the container: variables, device nodes, mounts, CDI names.
    pub response: ContainerAllocateResponse,
}

impl Node {
    pub(super) async fn admit(&self, pod: &Pod) -> Result<Vec<Allocation>> {
        let _one_at_a_time = self.admission.lock().await;
        {
            let mut ledger = lock(&self.ledger);
            if ledger.grants(pod).is_some() {
                bail!("pod {}/{} is admitted already", pod.namespace, pod.name);
            }
            ledger.update();
            ledger.admit(pod);
        }
        let outcome = self.allocate(pod).await;
        if outcome.is_err() {
            lock(&self.ledger).refuse(pod);
        }
        self.write_checkpoint()?;
        outcome
    }

    async fn allocate(&self, pod: &Pod) -> Result<Vec<Allocation>> {
        let mut allocations = Vec::new();
        for container in &pod.containers {
            for (resource, &count) in container.limits.iter().filter(|(_, count)| **count > 0) {
                let (ids, response) =
                    self.one(pod, &container.name, resource, count).await.with_context(|| {
                        format!(
                            "pod {}/{}, container {}, {resource}",
                            pod.namespace, pod.name, container.name
                        )
                    })?;
                allocations.push(Allocation {
                    container: container.name.clone(),
                    resource: resource.clone(),
                    devices: ids,
                    response,
                });
            }
        }
        // A kubelet calls this when a container starts, after every container was admitted.
        for allocation in &allocations {
            self.pre_start(allocation).await.with_context(|| allocation.resource.clone())?;
        }
        Ok(allocations)
    }

    async fn one(
        &self,
        pod: &Pod,
        container: &str,
        resource: &str,
        count: usize,
    ) -> Result<(Vec<String>, ContainerAllocateResponse)> {
        let pool = self.pool(resource)?;
        let candidates = lock(&self.ledger).candidates(resource, &pool, count).map_err(|available| {
            anyhow!("requested number of devices unavailable. Requested: {count}, Available: {available}")
        })?;
        let preferred = self.prefer(resource, &pool, &candidates, count).await?;
        let ids = choose(&candidates, &preferred, count);
        let request = AllocateRequest {
            container_requests: vec![ContainerAllocateRequest { devices_ids: ids.clone() }],
        };
        let mut plugin = self.plugins.client(resource).context("no plugin")?;
        let answer = tokio::time::timeout(CALL_LIMIT, plugin.allocate(request)).await.context("Allocate")?;
        let mut responses = answer.context("Allocate")?.into_inner().container_responses;
        let response = responses.pop().filter(|_| responses.is_empty());
        let response = response.context("Allocate: the answer is not for exactly one container")?;
        // A kubelet's accounts have it once the plugin has answered (podDevices.insert, pkg/kubelet/cm/devicemanager); that
        // nobody else is given it meanwhile is because one pod is admitted at a time.
        let devices = ids.iter().map(|id| (id.clone(), pool.devices[id].numa.clone())).collect();
        lock(&self.ledger)
            .grant(pod, Grant { container: container.to_owned(), resource: resource.to_owned(), devices });
        Ok((ids, response))
    }

    fn pool(&self, resource: &str) -> Result<Pool> {
        let state = self.state.borrow();
        let pool = state.pools.get(resource).context("the node does not have this resource")?;
        if pool.healthy().is_empty() {
            bail!("no healthy devices present; cannot allocate unhealthy devices");
        }
        Ok(pool.clone())
    }

    /// What the plugin would like to give, where it has a say.
    async fn prefer(
        &self,
        resource: &str,
        pool: &Pool,
        available: &[String],
        count: usize,
    ) -> Result<Vec<String>> {
        if !pool.preferred_allocation {
            return Ok(Vec::new());
        }
        let request = PreferredAllocationRequest {
            container_requests: vec![ContainerPreferredAllocationRequest {
                available_device_ids: available.to_vec(),
                must_include_device_ids: Vec::new(),
                allocation_size: i32::try_from(count)?,
            }],
        };
        let mut plugin = self.plugins.client(resource).context("no plugin")?;
        let call = plugin.get_preferred_allocation(request);
        let answer = tokio::time::timeout(CALL_LIMIT, call).await.context("GetPreferredAllocation")?;
        let answer = answer.context("GetPreferredAllocation")?.into_inner();
        Ok(answer
            .container_responses
            .into_iter()
            .next()
            .map(|container| container.device_ids)
            .unwrap_or_default())
    }

    async fn pre_start(&self, allocation: &Allocation) -> Result<()> {
        if !self.pool(&allocation.resource)?.pre_start {
            return Ok(());
        }
        let mut plugin = self.plugins.client(&allocation.resource).context("no plugin")?;
        let call =
            plugin.pre_start_container(PreStartContainerRequest { devices_ids: allocation.devices.clone() });
        tokio::time::timeout(CALL_LIMIT, call)
            .await
            .context("PreStartContainer")?
            .context("PreStartContainer")?;
        Ok(())
    }
}
