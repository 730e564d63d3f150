//! The gRPC services of one pool: `DevicePlugin`, and `Registration` for a kubelet that looks for plugins.
//! It must not hold state of its own: the pool is the last one in the channel, the host is asked each time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubelet_api::device_plugin::device_plugin_server::{DevicePlugin, DevicePluginServer};
use kubelet_api::device_plugin::{
    AllocateRequest, AllocateResponse, CdiDevice, ContainerAllocateResponse,
    ContainerPreferredAllocationRequest, ContainerPreferredAllocationResponse, Device, DevicePluginOptions,
    DeviceSpec, Empty, HEALTHY, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
    PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse, TopologyInfo,
    UNHEALTHY, VERSION,
};
use kubelet_api::plugin_registration::registration_server::{Registration, RegistrationServer};
use kubelet_api::plugin_registration::{
    DEVICE_PLUGIN, InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use super::contact::Contact;
use super::socket::Socket;
use crate::config::AllocationPolicy;
use crate::device_info::cdi::Names;
use crate::device_info::{Error, Grant, Host, Node};
use crate::metrics::{Metrics, Registration as Outcome};
use crate::pool::Pool;

/// What answers for one pool.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) pool: watch::Receiver<Arc<Pool>>,
    pub(super) host: Arc<Host>,
    pub(super) metrics: Metrics,
    pub(super) contact: Contact,
    pub(super) socket: PathBuf,
}

/// A server at work. Dropped, it ends with its streams, and its socket is gone at once.
#[derive(Debug)]
pub(super) struct Running {
    task: JoinHandle<Result<(), tonic::transport::Error>>,
    socket: Socket,
    /// Whoever waits for its end ends with it.
    open: watch::Sender<()>,
}

impl Running {
    pub(super) fn start(listener: UnixListener, socket: Socket, service: Service) -> Self {
        let (open, closed) = watch::channel(());
        let service = Serving { service, closed: closed.clone() };
        let server = Server::builder()
            .add_service(DevicePluginServer::new(service.clone()))
            .add_service(RegistrationServer::new(service))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), over(closed));
        Self { task: tokio::spawn(server), socket, open }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// When the server has ended by itself.
    pub(super) async fn ended(&mut self) -> Result<(), tonic::transport::Error> {
        // A task that panicked has said so; one that was cancelled was so by us.
        (&mut self.task).await.unwrap_or(Ok(()))
    }

    /// Ends the streams and lets calls end, but does not wait for a kubelet that hangs.
    pub(super) async fn stop(mut self) {
        self.open = watch::Sender::new(());
        if tokio::time::timeout(Duration::from_secs(1), self.ended()).await.is_err() {
            tracing::debug!("{}: calls did not end in time", self.socket.path().display());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until the other side of the channel is dropped.
async fn over(mut channel: watch::Receiver<()>) {
    while channel.changed().await.is_ok() {}
}

/// A service, and whether its server is still open.
#[derive(Clone, Debug)]
struct Serving {
    service: Service,
    closed: watch::Receiver<()>,
}

impl Serving {
    /// Sends the list now, and again when it is another, until the pool, the client or the server is gone.
    async fn send_lists(self, client: mpsc::Sender<Result<ListAndWatchResponse, Status>>) {
        let Self { service: Service { mut pool, contact, .. }, closed } = self;
        let _listening = contact.listen();
        let gone = over(closed);
        tokio::pin!(gone);
        loop {
            let list = list(&pool.borrow_and_update());
            // In this order: what the pool was last is passed on before the end of the server is.
            tokio::select! {
                biased;
                sent = client.send(Ok(list)) => if sent.is_err() { return },
                () = &mut gone => return,
            }
            tokio::select! {
                biased;
                changed = pool.changed() => if changed.is_err() { return },
                () = client.closed() => return,
                () = &mut gone => return,
            }
        }
    }
}

impl Service {
    fn pool(&self) -> Arc<Pool> {
        self.pool.borrow().clone()
    }

    /// All containers are looked at before anything is written for one.
    fn grant(&self, request: &AllocateRequest) -> Result<AllocateResponse, Error> {
        let pool = self.pool();
        let containers = &request.container_requests;
        let mut grants: Vec<Grant> = containers
            .iter()
            .map(|container| self.host.prepare(&pool, &container.devices_ids))
            .collect::<Result<_, _>>()?;
        let mut container_responses = Vec::with_capacity(grants.len());
        for (container, grant) in containers.iter().zip(&mut grants) {
            let names = self.host.publish(&pool, grant)?;
            container_responses.push(response(std::mem::take(grant), names));
            tracing::info!(pool = %pool.config.resource, devices = container.devices_ids.join(","), "allocated");
        }
        Ok(AllocateResponse { container_responses })
    }
}

#[tonic::async_trait]
impl DevicePlugin for Serving {
    type ListAndWatchStream = ReceiverStream<Result<ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(options(&self.service.pool())))
    }

    /// Ends with the client, who then drops the stream, or with the pool.
    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let (sender, lists) = mpsc::channel(1);
        tokio::spawn(self.clone().send_lists(sender));
        Ok(Response::new(ReceiverStream::new(lists)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let pool = self.service.pool();
        if pool.config.allocation_policy == AllocationPolicy::None {
            return Ok(Response::new(PreferredAllocationResponse::default()));
        }
        let prefer = |wanted: ContainerPreferredAllocationRequest| {
            let size = usize::try_from(wanted.allocation_size).unwrap_or(0);
            let preferred = pool.prefer(&wanted.available_device_ids, &wanted.must_include_device_ids, size);
            preferred.map(|device_ids| ContainerPreferredAllocationResponse { device_ids })
        };
        let answers = request.into_inner().container_requests.into_iter().map(prefer);
        let container_responses: Result<Vec<_>, _> = answers.collect();
        let container_responses =
            container_responses.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    /// Reads a few files of sysfs on the one thread: there is nobody else to serve meanwhile.
    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let (service, began) = (&self.service, Instant::now());
        let granted = service.grant(request.get_ref());
        let resource = &service.pool().config.resource;
        service.metrics.allocation(resource, began.elapsed(), granted.is_ok());
        granted.map(Response::new).map_err(|error| {
            tracing::error!(%error, "allocation refused");
            Status::new(code(&error), error.to_string())
        })
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

#[tonic::async_trait]
impl Registration for Serving {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: DEVICE_PLUGIN.to_owned(),
            name: self.service.pool().config.resource.to_string(),
            endpoint: self.service.socket.to_string_lossy().into_owned(),
            // v1alpha1 is long gone; the Go plugin names it, and the kubelet takes the one it knows.
            supported_versions: vec!["v1alpha1".to_owned(), VERSION.to_owned()],
        }))
    }

    /// A kubelet that refuses tries again by itself, so the socket stays.
    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus { plugin_registered, error } = request.into_inner();
        let service = &self.service;
        let resource = &service.pool().config.resource;
        if plugin_registered {
            tracing::info!(pool = %resource, "registered");
            service.contact.is(Outcome::Registered);
        } else {
            tracing::error!(pool = %resource, error, "the kubelet refuses the pool; it will try again");
            service.contact.is(Outcome::Refused(error));
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

/// What the kubelet is to know of the plugin before it uses it; a change of it needs another registration.
pub(super) fn options(pool: &Pool) -> DevicePluginOptions {
    let chooses = pool.config.allocation_policy != AllocationPolicy::None;
    DevicePluginOptions { get_preferred_allocation_available: chooses, ..DevicePluginOptions::default() }
}

fn list(pool: &Pool) -> ListAndWatchResponse {
    let devices = pool.devices.iter().map(|device| {
        let node = device.function.numa_node.filter(|_| !pool.config.exclude_topology);
        let nodes = |node| TopologyInfo { nodes: vec![NumaNode { id: i64::from(node) }] };
        let health = if pool.is_healthy(device) { HEALTHY } else { UNHEALTHY };
        Device { id: device.id().to_string(), health: health.to_owned(), topology: node.map(nodes) }
    });
    ListAndWatchResponse { devices: devices.collect() }
}

fn code(error: &Error) -> Code {
    match error {
        Error::Unknown { .. } => Code::InvalidArgument,
        Error::Gone { .. } => Code::NotFound,
        Error::Unfit(_) | Error::Nodes(_) => Code::FailedPrecondition,
        Error::File(_) | Error::Cdi(_) => Code::Internal,
    }
}

/// With CDI the runtime takes the nodes from the specification; to list them here too would be to give them twice.
fn response(grant: Grant, cdi: Option<Names>) -> ContainerAllocateResponse {
    let spec = |node: Node| DeviceSpec {
        container_path: node.container,
        host_path: node.host,
        permissions: "rw".to_owned(),
    };
    let Some(names) = cdi else {
        let devices = grant.nodes.into_iter().map(spec).collect();
        return ContainerAllocateResponse { envs: grant.envs, devices, ..Default::default() };
    };
    ContainerAllocateResponse {
        envs: grant.envs,
        annotations: names.annotation.into_iter().collect(),
        cdi_devices: names.devices.into_iter().map(|name| CdiDevice { name }).collect(),
        ..Default::default()
    }
}
