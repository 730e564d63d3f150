//! A small device plugin in this process, whose list a test holds and whose calls it reads.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kubelet_api::device_plugin::device_plugin_server::{DevicePlugin, DevicePluginServer};
use kubelet_api::device_plugin::registration_client::RegistrationClient;
use kubelet_api::device_plugin::{
    AllocateRequest, AllocateResponse, ContainerAllocateResponse, ContainerPreferredAllocationResponse,
    Device, DevicePluginOptions, Empty, HEALTHY, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
    PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest,
    TopologyInfo, UNHEALTHY,
};
use kubelet_api::plugin_registration::registration_server::{Registration, RegistrationServer};
use kubelet_api::plugin_registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::session::dial;
use super::{block, lock};

/// A plugin whose list the test holds and whose calls the test reads.
pub(crate) struct Plugin {
    runtime: Option<Runtime>,
    pub(crate) devices: watch::Sender<Vec<Listed>>,
    calls: Arc<Mutex<Vec<String>>>,
}

/// A device's id, health and NUMA node.
pub(crate) type Listed = (&'static str, bool, i64);

#[derive(Clone)]
struct Service {
    info: PluginInfo,
    options: DevicePluginOptions,
    devices: watch::Receiver<Vec<Listed>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Plugin {
    /// A device plugin without options.
    pub(crate) fn plain(socket: &Path, name: &str, list: &[Listed]) -> Self {
        Self::serve(socket, "DevicePlugin", name, DevicePluginOptions::default(), list)
    }

    pub(crate) fn serve(
        socket: &Path,
        kind: &str,
        name: &str,
        options: DevicePluginOptions,
        list: &[Listed],
    ) -> Self {
        let (devices, receiver) = watch::channel(list.to_vec());
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let info = PluginInfo {
            r#type: kind.into(),
            name: name.into(),
            endpoint: String::new(),
            supported_versions: vec!["v1alpha1".into(), "v1beta1".into()],
        };
        let service = Service { info, options, devices: receiver, calls: calls.clone() };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let in_runtime = runtime.enter();
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let server = Server::builder()
            .add_service(RegistrationServer::new(service.clone()))
            .add_service(DevicePluginServer::new(service));
        runtime.spawn(server.serve_with_incoming(incoming));
        drop(in_runtime);
        Self { runtime: Some(runtime), devices, calls }
    }

    pub(crate) fn register(
        socket: &Path,
        endpoint: &str,
        version: &str,
        resource: &str,
    ) -> Result<(), Status> {
        let request = RegisterRequest {
            version: version.into(),
            endpoint: endpoint.into(),
            resource_name: resource.into(),
            options: None,
        };
        block(async {
            let mut kubelet = RegistrationClient::new(dial(socket).await.unwrap());
            kubelet.register(request).await.map(|_| ())
        })
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.calls).clone()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[tonic::async_trait]
impl Registration for Service {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        status: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = status.into_inner();
        lock(&self.calls).push(format!("registered {} {}", status.plugin_registered, status.error));
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    type ListAndWatchStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<ListAndWatchResponse, Status>> + Send + 'static>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(self.options))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let lists = WatchStream::new(self.devices.clone()).map(|list| {
            let device = |&(id, healthy, numa): &Listed| Device {
                id: id.into(),
                health: if healthy { HEALTHY.into() } else { UNHEALTHY.into() },
                topology: Some(TopologyInfo { nodes: vec![NumaNode { id: numa }] }),
            };
            Ok(ListAndWatchResponse { devices: list.iter().map(device).collect() })
        });
        Ok(Response::new(Box::pin(lists)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let mut ids = request.into_inner().container_requests.remove(0).available_device_ids;
        lock(&self.calls).push(format!("prefer {}", ids.join(",")));
        ids.reverse();
        let container_responses = vec![ContainerPreferredAllocationResponse { device_ids: ids }];
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let ids = request.into_inner().container_requests.remove(0).devices_ids.join(",");
        lock(&self.calls).push(format!("allocate {ids}"));
        if ids.contains("broken") {
            return Err(Status::internal("broken"));
        }
        let envs = [("DEVICES".to_owned(), ids)].into();
        let container_responses = vec![ContainerAllocateResponse { envs, ..Default::default() }];
        Ok(Response::new(AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        request: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        lock(&self.calls).push(format!("start {}", request.into_inner().devices_ids.join(",")));
        Ok(Response::new(PreStartContainerResponse {}))
    }
}
