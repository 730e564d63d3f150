//! `PodResources` v1: what the kubelet gave to which container, for Multus and for whoever asks.
//! It must not change anything.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kubelet_api::pod_resources::pod_resources_lister_client::PodResourcesListerClient;
use kubelet_api::pod_resources::pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer};
use kubelet_api::pod_resources::{
    AllocatableResourcesRequest, AllocatableResourcesResponse, ContainerDevices, ContainerResources,
    GetPodResourcesRequest, GetPodResourcesResponse, ListPodResourcesRequest, ListPodResourcesResponse,
    NumaNode, PodResources, TopologyInfo,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::devices::{Grant, Tells};
use super::session::dial;
use super::{Node, block, lock};
use crate::pod::Pod;

/// Multus and the kubelet's own clients take answers up to this size.
const MAX_MESSAGE: usize = 16 << 20;

/// Calls `List` on the socket of any kubelet.
pub fn list(socket: &Path) -> Result<Vec<PodResources>> {
    block(async {
        let client = PodResourcesListerClient::new(dial(socket).await?);
        let answer = client.max_decoding_message_size(MAX_MESSAGE).list(ListPodResourcesRequest {}).await;
        Ok(answer.context("PodResources List")?.into_inner().pod_resources)
    })
}

/// Calls `Get` on the socket of any kubelet.
pub fn get(socket: &Path, namespace: &str, name: &str) -> Result<PodResources> {
    let request = GetPodResourcesRequest { pod_name: name.to_owned(), pod_namespace: namespace.to_owned() };
    block(async {
        let answer = PodResourcesListerClient::new(dial(socket).await?).get(request).await;
        let answer = answer.context("PodResources Get")?.into_inner();
        answer.pod_resources.context("PodResources Get: an answer without a pod")
    })
}

/// Serves `PodResourcesLister`. Must be called inside the runtime.
pub(super) fn serve(node: &Arc<Node>, socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
    let server = Server::builder().add_service(PodResourcesListerServer::new(Lister(Arc::clone(node))));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    Ok(())
}

struct Lister(Arc<Node>);

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        let mut ledger = lock(&self.0.ledger);
        ledger.update();
        let pod_resources = match ledger.tells {
            Tells::Everything => {
                // There is always a pod more: the plugin's own.
                let own = Pod::new("kube-system", "sriov-device-plugin");
                let all = ledger.pods().map(|(pod, grants)| describe(pod, grants));
                all.chain([describe(&own, &[])]).collect()
            }
            Tells::StaticPods => vec![describe(&Pod::new("kube-system", "kube-proxy"), &[])],
            Tells::NoPods => Vec::new(),
            Tells::Nothing => return Err(Status::unavailable("told not to tell")),
        };
        Ok(Response::new(ListPodResourcesResponse { pod_resources }))
    }

    async fn get(
        &self,
        request: Request<GetPodResourcesRequest>,
    ) -> Result<Response<GetPodResourcesResponse>, Status> {
        let wanted = request.into_inner();
        let ledger = lock(&self.0.ledger);
        let found = ledger
            .pods()
            .find(|(pod, _)| pod.namespace == wanted.pod_namespace && pod.name == wanted.pod_name)
            .map(|(pod, grants)| describe(pod, grants));
        let missing =
            || Status::not_found(format!("pod {} in {} not found", wanted.pod_name, wanted.pod_namespace));
        Ok(Response::new(GetPodResourcesResponse { pod_resources: Some(found.ok_or_else(missing)?) }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<AllocatableResourcesRequest>,
    ) -> Result<Response<AllocatableResourcesResponse>, Status> {
        let state = self.0.state.borrow();
        let devices = state.pools.iter().flat_map(|(resource, pool)| {
            pool.devices
                .iter()
                .filter(|(_, device)| device.healthy)
                .map(|(id, device)| entry(resource, id, &device.numa))
        });
        let devices = devices.collect();
        Ok(Response::new(AllocatableResourcesResponse { devices, cpu_ids: Vec::new(), memory: Vec::new() }))
    }
}

/// One entry for each device, as kubelets write them: a reader has to merge the entries of one resource.
fn describe(pod: &Pod, grants: &[Grant]) -> PodResources {
    let container = |name: &String| ContainerResources {
        name: name.clone(),
        devices: grants
            .iter()
            .filter(|grant| grant.container == *name)
            .flat_map(|grant| grant.devices.iter().map(|(id, numa)| entry(&grant.resource, id, numa)))
            .collect(),
        ..ContainerResources::default()
    };
    PodResources {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        containers: pod.containers.iter().map(|c| container(&c.name)).collect(),
        ..PodResources::default()
    }
}

fn entry(resource: &str, id: &str, numa: &[i64]) -> ContainerDevices {
    let nodes: Vec<NumaNode> = BTreeSet::from_iter(numa).into_iter().map(|&id| NumaNode { id }).collect();
    ContainerDevices {
        resource_name: resource.to_owned(),
        device_ids: vec![id.to_owned()],
        topology: (!nodes.is_empty()).then_some(TopologyInfo { nodes }),
    }
}
