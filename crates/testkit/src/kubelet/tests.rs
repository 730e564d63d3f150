//! The stand-in against a small plugin in this process.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use kubelet_api::device_plugin::device_plugin_server::{DevicePlugin, DevicePluginServer};
use kubelet_api::device_plugin::registration_client::RegistrationClient;
use kubelet_api::device_plugin::{
    AllocateRequest, AllocateResponse, ContainerAllocateResponse, ContainerPreferredAllocationResponse,
    DevicePluginOptions, Empty, HEALTHY, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
    PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest,
    TopologyInfo, UNHEALTHY,
};
use kubelet_api::plugin_registration::registration_server::{Registration, RegistrationServer};
use kubelet_api::plugin_registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{
    Arc, Builder, Device, Kubelet, Mutex, Options, Path, Runtime, State, block, get, list, lock, plugins,
    watch,
};
use crate::pod::Pod;

const LIMIT: Duration = Duration::from_secs(10);

/// A plugin whose list the test holds and whose calls the test reads.
struct Plugin {
    runtime: Option<Runtime>,
    devices: watch::Sender<Vec<Listed>>,
    calls: Arc<Mutex<Vec<String>>>,
}

type Listed = (&'static str, bool, i64);

#[derive(Clone)]
struct Service {
    info: PluginInfo,
    options: DevicePluginOptions,
    devices: watch::Receiver<Vec<Listed>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Plugin {
    fn serve(socket: &Path, kind: &str, name: &str, options: DevicePluginOptions, list: &[Listed]) -> Self {
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
        let incoming =
            tokio_stream::wrappers::UnixListenerStream::new(tokio::net::UnixListener::bind(socket).unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(RegistrationServer::new(service.clone()))
            .add_service(DevicePluginServer::new(service));
        runtime.spawn(server.serve_with_incoming(incoming));
        drop(in_runtime);
        Self { runtime: Some(runtime), devices, calls }
    }

    fn register(socket: &Path, endpoint: &str, version: &str, resource: &str) -> Result<(), Status> {
        let request = RegisterRequest {
            version: version.into(),
            endpoint: endpoint.into(),
            resource_name: resource.into(),
            options: None,
        };
        block(async {
            let mut kubelet = RegistrationClient::new(plugins::dial(socket).await.unwrap());
            kubelet.register(request).await.map(|_| ())
        })
    }

    fn calls(&self) -> Vec<String> {
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
            let device = |&(id, healthy, numa): &Listed| kubelet_api::device_plugin::Device {
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

fn plain(socket: &Path, name: &str, list: &[Listed]) -> Plugin {
    Plugin::serve(socket, "DevicePlugin", name, DevicePluginOptions::default(), list)
}

#[test]
fn plugins_are_found_followed_and_let_go() {
    let root = tempfile::tempdir().unwrap();
    let registry = root.path().join("plugins_registry");
    std::fs::create_dir(&registry).unwrap();
    let early = plain(&registry.join("a.sock"), "x.com/a", &[("1", true, 0), ("2", false, 1)]);
    std::fs::write(registry.join("no-socket"), "").unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let state = kubelet.until("a's list", LIMIT, |state| state.has("x.com/a", 1)).unwrap();
    assert_eq!(state.pools["x.com/a"].devices["2"], Device { healthy: false, numa: vec![1] });
    assert_eq!(early.calls(), ["registered true "]);

    let late = plain(&registry.join("b.sock"), "x.com/b", &[("3", true, 0)]);
    kubelet.until("b's list", LIMIT, |state| state.has("x.com/b", 1)).unwrap();
    late.devices.send(vec![("3", true, 0), ("4", true, 0)]).unwrap();
    let state = kubelet.until("b's second list", LIMIT, |state| state.has("x.com/b", 2)).unwrap();
    assert_eq!((state.pools["x.com/b"].lists, state.pools["x.com/b"].registrations), (2, 1));

    std::fs::remove_file(registry.join("a.sock")).unwrap();
    let gone =
        |state: &State| !state.pools["x.com/a"].connected && state.pools["x.com/a"].healthy().is_empty();
    kubelet.until("a to be let go", LIMIT, gone).unwrap();
    let _again = plain(&registry.join("a.sock"), "x.com/a", &[("1", true, 0)]);
    let state = kubelet.until("a's return", LIMIT, |state| state.has("x.com/a", 1)).unwrap();
    assert_eq!(state.pools["x.com/a"].registrations, 2);

    drop(late);
    kubelet.until("b to be unhealthy", LIMIT, |state| !state.pools["x.com/b"].connected).unwrap();
}

#[test]
fn strangers_are_refused_and_told_so() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let registry = root.path().join("plugins_registry");
    let _hidden = plain(&registry.join(".hidden.sock"), "x.com/hidden", &[]);
    let csi = Plugin::serve(
        &registry.join("csi.sock"),
        "CSIPlugin",
        "x.com/a",
        DevicePluginOptions::default(),
        &[],
    );
    let state = kubelet.until("the refusal", LIMIT, |state| !state.refusals.is_empty()).unwrap();
    assert_eq!(state.refusals[0].1, r#"type is "CSIPlugin", wanted "DevicePlugin""#);
    assert_eq!(csi.calls(), [format!("registered false {}", state.refusals[0].1)]);
    assert!(state.pools.is_empty());
}

#[test]
fn register_works_without_a_registry() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::with(Options { root: root.path().into(), plugins_registry: false }).unwrap();
    assert!(!root.path().join("plugins_registry").exists());
    let dir = root.path().join("device-plugins");
    let _plugin = plain(&dir.join("a.sock"), "x.com/a", &[("1", true, 0)]);
    let socket = dir.join("kubelet.sock");
    let refused = Plugin::register(&socket, "a.sock", "v1alpha1", "x.com/a").unwrap_err();
    assert!(refused.message().contains("v1beta1"), "{refused}");
    Plugin::register(&socket, "a.sock", "v1beta1", "x.com/a").unwrap();
    kubelet.until("the list", LIMIT, |state| state.has("x.com/a", 1)).unwrap();
    Plugin::register(&socket, "a.sock", "v1beta1", "x.com/a").unwrap();
    let again = |state: &State| state.has("x.com/a", 1) && state.pools["x.com/a"].registrations == 2;
    kubelet.until("the second registration", LIMIT, again).unwrap();
}

#[test]
fn devices_are_given_once_and_reported() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let options = DevicePluginOptions { pre_start_required: true, get_preferred_allocation_available: true };
    let list = [("0", true, 0), ("1", true, 1), ("2", true, 1), ("3", false, 1)];
    let socket = root.path().join("plugins_registry/a.sock");
    let plugin = Plugin::serve(&socket, "DevicePlugin", "x.com/a", options, &list);
    kubelet.until("the list", LIMIT, |state| state.has("x.com/a", 3)).unwrap();

    let two = Pod::new("ns", "two").container("side", &[]).container("main", &[("x.com/a", 2)]);
    let given = kubelet.admit(&two).unwrap();
    assert_eq!(given[0].devices, ["2", "1"]);
    assert_eq!(given[0].response.envs["DEVICES"], "2,1");
    assert!(plugin.calls().ends_with(&["prefer 1,2".into(), "allocate 2,1".into(), "start 2,1".into()]));

    let more = Pod::new("ns", "more").container("c", &[("x.com/a", 2)]);
    let refused = format!("{:#}", kubelet.admit(&more).unwrap_err());
    assert!(refused.ends_with("unavailable. Requested: 2, Available: 1"), "{refused}");

    let pod_resources = root.path().join("pod-resources/kubelet.sock");
    let listed = list_names(&list_pods(&pod_resources));
    assert_eq!(listed, [("two".to_owned(), vec!["2".to_owned(), "1".to_owned()])]);
    let one = get(&pod_resources, "ns", "two").unwrap();
    assert_eq!(one.containers[1].devices[0].topology.as_ref().unwrap().nodes[0].id, 1);
    assert!(get(&pod_resources, "ns", "more").is_err());

    assert!(kubelet.delete(&two));
    kubelet.admit(&more).unwrap();
}

#[test]
fn a_failed_pod_holds_nothing() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    let registry = root.path().join("plugins_registry");
    let _a = plain(&registry.join("a.sock"), "x.com/a", &[("1", true, 0)]);
    let _b = plain(&registry.join("b.sock"), "x.com/b", &[("broken", true, 0)]);
    kubelet.until("both", LIMIT, |state| state.has("x.com/a", 1) && state.has("x.com/b", 1)).unwrap();
    let pod = Pod::new("ns", "p").container("c", &[("x.com/a", 1), ("x.com/b", 1)]);
    let error = format!("{:#}", kubelet.admit(&pod).unwrap_err());
    assert!(error.starts_with("pod ns/p, container c, x.com/b: Allocate"), "{error}");
    assert!(kubelet.ledger().pods().next().is_none());
    assert!(kubelet.admit(&Pod::new("ns", "q").container("c", &[("x.com/c", 1)])).is_err());
}

#[test]
fn a_restart_forgets_plugins_and_keeps_allocations() {
    let root = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::start(root.path()).unwrap();
    let plugin =
        plain(&root.path().join("plugins_registry/a.sock"), "x.com/a", &[("1", true, 0), ("2", true, 0)]);
    let old_style = root.path().join("device-plugins/b.sock");
    let _old_style = plain(&old_style, "x.com/b", &[("3", true, 0)]);
    kubelet.until("the list", LIMIT, |state| state.has("x.com/a", 2)).unwrap();
    let pod = Pod::new("ns", "p").container("c", &[("x.com/a", 1)]);
    kubelet.admit(&pod).unwrap();

    kubelet.stop();
    assert!(kubelet.state().pools.is_empty());
    let socket = root.path().join("device-plugins/kubelet.sock");
    assert!(socket.exists() && UnixStream::connect(&socket).is_err(), "a dead kubelet's socket stays, deaf");
    assert!(kubelet.admit(&Pod::new("ns", "q")).is_err());

    kubelet.resume().unwrap();
    assert!(!old_style.exists(), "a kubelet removes the sockets of device-plugins when it starts");
    kubelet.until("the plugin's return", LIMIT, |state| state.has("x.com/a", 2)).unwrap();
    let other = kubelet.admit(&Pod::new("ns", "q").container("c", &[("x.com/a", 1)])).unwrap();
    assert_eq!(other[0].devices, ["2"]);
    assert_eq!(plugin.calls().iter().filter(|call| call.starts_with("registered")).count(), 2);
}

#[tokio::test]
async fn callable_from_asynchronous_tests() {
    let root = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::start(root.path()).unwrap();
    kubelet.admit(&Pod::new("ns", "p").container("c", &[])).unwrap();
    kubelet.restart().unwrap();
    assert_eq!(list_pods(&root.path().join("pod-resources/kubelet.sock")).len(), 1);
}

fn list_pods(socket: &Path) -> Vec<kubelet_api::pod_resources::PodResources> {
    list(socket).unwrap()
}

fn list_names(pods: &[kubelet_api::pod_resources::PodResources]) -> Vec<(String, Vec<String>)> {
    let ids = |pod: &kubelet_api::pod_resources::PodResources| {
        pod.containers.iter().flat_map(|c| &c.devices).flat_map(|d| d.device_ids.clone()).collect()
    };
    pods.iter().map(|pod| (pod.name.clone(), ids(pod))).collect()
}
