//! `PodResources` v1: one `List` call.
//! It must not outlast its patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kubelet_api::pod_resources::pod_resources_lister_client::PodResourcesListerClient;
use kubelet_api::pod_resources::{ListPodResourcesRequest, ListPodResourcesResponse};
use tonic::transport::Endpoint;

use super::{Held, Holder, PodName};
use crate::kubelet::deepest;

/// The kubelet's own clients take answers up to this size.
const MAX_MESSAGE: usize = 16 << 20;

/// The API does not tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("cannot reach the kubelet on {socket}: {}", deepest(source))]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It said no.
    #[error("PodResources List on {socket}: {source}")]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// In its words.
        source: Box<tonic::Status>,
    },
    /// It named not even the pod that asks.
    #[error("PodResources List on {socket} names no pod: the kubelet has not heard of its pods yet")]
    NoPods {
        /// The socket.
        socket: PathBuf,
    },
    /// It said nothing.
    #[error("the kubelet does not answer on {socket} within {patience:?}")]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// How long it had.
        patience: Duration,
    },
}

pub(super) async fn list(socket: &Path, patience: Duration) -> Result<Held, Error> {
    let silent = |_| Error::Silent { socket: socket.to_owned(), patience };
    let answer = tokio::time::timeout(patience, ask(socket)).await.map_err(silent)??;
    if answer.pod_resources.is_empty() {
        return Err(Error::NoPods { socket: socket.to_owned() });
    }
    Ok(held(answer))
}

async fn ask(socket: &Path) -> Result<ListPodResourcesResponse, Error> {
    let unreachable = |source| Error::Unreachable { socket: socket.to_owned(), source };
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let mut client = PodResourcesListerClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let answer = client.list(ListPodResourcesRequest {}).await;
    let refused = |source| Error::Refused { socket: socket.to_owned(), source: Box::new(source) };
    answer.map(tonic::Response::into_inner).map_err(refused)
}

/// A resource may come in several entries, one for each NUMA node or device.
fn held(answer: ListPodResourcesResponse) -> Held {
    let (mut holders, mut pods) = (Vec::new(), Vec::new());
    for pod in answer.pod_resources {
        let named = PodName::Named { namespace: pod.namespace, name: pod.name };
        pods.push(named.clone());
        for container in pod.containers {
            for devices in container.devices {
                let holder = Holder {
                    resource: devices.resource_name,
                    pod: named.clone(),
                    container: container.name.clone(),
                };
                let ids = devices.device_ids.iter().filter_map(|id| id.parse().ok());
                holders.extend(ids.map(|id| (id, holder.clone())));
            }
        }
    }
    let mut held: Held = holders.into_iter().collect();
    held.pods.extend(pods);
    held
}
