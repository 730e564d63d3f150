use kubelet_api::device_plugin::device_plugin_client::DevicePluginClient;
use kubelet_api::device_plugin::registration_server::{Registration, RegistrationServer};
use kubelet_api::device_plugin::{
    AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest, DevicePluginOptions,
    Empty, ListAndWatchResponse, PreStartContainerRequest, PreStartContainerResponse,
    PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest,
};
use kubelet_api::plugin_registration::registration_client::RegistrationClient;
use kubelet_api::plugin_registration::{InfoRequest, RegistrationStatus};
use testkit::sysfs::Tree;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, scan};

/// Four VFs on NUMA node 0, two of them on vfio-pci, and a kubelet's folder.
fn node(folder: &str) -> (Tree, Kubelet) {
    let tree = Tree::generated(1, 4);
    std::fs::create_dir_all(tree.root().join("kubelet").join(folder)).unwrap();
    let kubelet = Kubelet::find(&tree.root().join("kubelet"));
    (tree, kubelet)
}

fn pool(tree: &Tree, members: &str) -> Arc<Pool> {
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let text = format!(r#"{{"resourceList":[{{"resourceName":"net",{members}}}]}}"#);
    let config = Config::parse(text.as_bytes(), "intel.com").unwrap();
    Arc::new(
        crate::pool::unheld(&config.pools, &scan(&roots, &Needs::default()).unwrap().snapshot).remove(0).0,
    )
}

/// A pool that is served, from when its socket is there.
struct Served {
    sender: watch::Sender<Arc<Pool>>,
    metrics: Metrics,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

fn front(tree: &Tree, kubelet: &Kubelet, members: &str) -> (watch::Sender<Arc<Pool>>, Metrics, Front) {
    let (sender, receiver) = watch::channel(pool(tree, members));
    let host = Host {
        sysfs: pci::Sysfs::new(tree.sys()),
        dev: tree.dev(),
        devinfo: tree.root().join("devinfo"),
        cdi: None,
        grants: crate::pool::Grants::default(),
    };
    let metrics = Metrics::new();
    metrics.configuration(1, None);
    let folder = Folder::follow(kubelet.dir().parent().unwrap(), false);
    (sender, metrics.clone(), Front::new(folder, receiver, Arc::new(host), metrics))
}

async fn serve(tree: &Tree, kubelet: &Kubelet, members: &str) -> Served {
    let (sender, metrics, front) = front(tree, kubelet, members);
    let task = tokio::spawn(front.serve());
    while !kubelet.dir().join("intel.com_net.sock").exists() {
        tokio::task::yield_now().await;
    }
    Served { sender, metrics, task }
}

async fn dial(kubelet: &Kubelet) -> Channel {
    let socket = kubelet.dir().join("intel.com_net.sock");
    Endpoint::try_from(format!("unix://{}", socket.display())).unwrap().connect().await.unwrap()
}

fn ids(list: &ListAndWatchResponse) -> Vec<&str> {
    list.devices.iter().map(|device| device.id.as_str()).collect()
}

fn request(ids: &[&str]) -> AllocateRequest {
    let devices_ids = ids.iter().map(ToString::to_string).collect();
    AllocateRequest { container_requests: vec![ContainerAllocateRequest { devices_ids }] }
}

#[tokio::test]
async fn a_kubelet_that_watches_asks_who_we_are() {
    let (tree, kubelet) = node("plugins_registry");
    let served = serve(&tree, &kubelet, r#""selectors":{}"#).await;
    let mut client = RegistrationClient::new(dial(&kubelet).await);
    let info = client.get_info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("DevicePlugin", "intel.com/net"));
    assert_eq!(info.endpoint, kubelet.dir().join("intel.com_net.sock").to_str().unwrap());
    assert_eq!(info.supported_versions, ["v1alpha1", "v1beta1"]);
    let refused = RegistrationStatus { plugin_registered: false, error: "no".into() };
    client.notify_registration_status(refused).await.unwrap();
    assert_eq!(served.metrics.readiness().reasons, ["pool intel.com/net: refused by the kubelet: no"]);
    assert!(client.get_info(InfoRequest {}).await.is_ok(), "still serving after a refusal");
    let taken = RegistrationStatus { plugin_registered: true, error: String::new() };
    client.notify_registration_status(taken).await.unwrap();
    assert!(served.metrics.readiness().ready);
}

#[tokio::test]
async fn lists_what_the_channel_holds_and_ends_with_it() {
    let (tree, kubelet) = node("plugins_registry");
    let Served { sender, task, .. } = serve(&tree, &kubelet, r#""selectors":{"drivers":["iavf"]}"#).await;
    let mut client = DevicePluginClient::new(dial(&kubelet).await);
    let mut lists = client.list_and_watch(Empty {}).await.unwrap().into_inner();
    let list = lists.message().await.unwrap().unwrap();
    assert_eq!(ids(&list), ["0000:01:00.0", "0000:01:00.1"]);
    assert!(list.devices.iter().all(|device| device.health == "Healthy"));
    assert_eq!(list.devices[0].topology.as_ref().unwrap().nodes[0].id, 0);

    sender.send(pool(&tree, r#""selectors":{},"excludeTopology":true"#)).unwrap();
    let list = lists.message().await.unwrap().unwrap();
    assert_eq!(list.devices.len(), 4);
    assert_eq!(list.devices[0].topology, None);

    drop(sender);
    assert!(lists.message().await.unwrap().is_none());
    task.await.unwrap().unwrap();
    assert!(!kubelet.dir().join("intel.com_net.sock").exists());
}

#[tokio::test]
async fn a_stream_ends_with_its_client() {
    let (tree, kubelet) = node("plugins_registry");
    let Served { sender, .. } = serve(&tree, &kubelet, r#""selectors":{}"#).await;
    let before = sender.receiver_count();
    for _ in 0..3 {
        let mut client = DevicePluginClient::new(dial(&kubelet).await);
        let mut lists = client.list_and_watch(Empty {}).await.unwrap().into_inner();
        lists.message().await.unwrap().unwrap();
        assert!(sender.receiver_count() > before);
    }
    while sender.receiver_count() > before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn allocates_or_says_which_device_is_wrong() {
    let (tree, kubelet) = node("plugins_registry");
    let _served = serve(&tree, &kubelet, r#""selectors":{}"#).await;
    let mut client = DevicePluginClient::new(dial(&kubelet).await);
    let response = client.allocate(request(&["0000:01:00.2"])).await.unwrap().into_inner();
    let container = &response.container_responses[0];
    assert_eq!(container.envs["PCIDEVICE_INTEL_COM_NET"], "0000:01:00.2");
    let specs: Vec<_> = container.devices.iter().map(|spec| spec.host_path.as_str()).collect();
    assert_eq!(specs, ["/dev/vfio/vfio", "/dev/vfio/2"]);
    assert_eq!(container.devices[0].permissions, "rw");
    assert_eq!(std::fs::read_dir(tree.root().join("devinfo")).unwrap().count(), 1);

    let status = client.allocate(request(&["0000:01:00.0", "0000:99:00.0"])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("0000:99:00.0"));
    assert_eq!(std::fs::read_dir(tree.root().join("devinfo")).unwrap().count(), 1, "nothing is written");

    tree.remove("0000:01:00.1");
    let status = client.allocate(request(&["0000:01:00.1"])).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("0000:01:00.1"));

    let empty = client.allocate(AllocateRequest::default()).await.unwrap().into_inner();
    assert!(empty.container_responses.is_empty());
}

/// As the Go plugin does: a kubelet that asks although it was told not to gets no error.
#[tokio::test]
async fn what_is_not_on_offer_is_answered_with_nothing() {
    let (tree, kubelet) = node("plugins_registry");
    let _served = serve(&tree, &kubelet, r#""selectors":{}"#).await;
    let mut client = DevicePluginClient::new(dial(&kubelet).await);
    let options = client.get_device_plugin_options(Empty {}).await.unwrap().into_inner();
    let neither =
        DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: false };
    assert_eq!(options, neither);
    let ids = || vec!["0000:01:00.0".to_owned()];
    let request = ContainerPreferredAllocationRequest {
        available_device_ids: ids(),
        must_include_device_ids: Vec::new(),
        allocation_size: 1,
    };
    let request = PreferredAllocationRequest { container_requests: vec![request] };
    let preferred = client.get_preferred_allocation(request).await.unwrap().into_inner();
    assert_eq!(preferred, PreferredAllocationResponse::default());
    let request = PreStartContainerRequest { devices_ids: ids() };
    let started = client.pre_start_container(request).await.unwrap().into_inner();
    assert_eq!(started, PreStartContainerResponse {});
}

/// The registration half of a kubelet that must be told.
struct Kubelets(mpsc::UnboundedSender<RegisterRequest>);

#[tonic::async_trait]
impl Registration for Kubelets {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(Empty {}))
    }
}

/// As a kubelet starts: empties its folder, then listens.
fn start_kubelet(kubelet: &Kubelet, heard: &mpsc::UnboundedSender<RegisterRequest>) {
    for entry in std::fs::read_dir(kubelet.dir()).unwrap().flatten() {
        std::fs::remove_file(entry.path()).unwrap();
    }
    let listener = UnixListener::bind(kubelet.dir().join("kubelet.sock")).unwrap();
    let service = RegistrationServer::new(Kubelets(heard.clone()));
    tokio::spawn(
        Server::builder().add_service(service).serve_with_incoming(UnixListenerStream::new(listener)),
    );
}

#[tokio::test]
async fn a_kubelet_that_must_be_told_is_told_each_time_it_starts() {
    let (tree, kubelet) = node("device-plugins");
    let (heard, mut requests) = mpsc::unbounded_channel();
    start_kubelet(&kubelet, &heard);
    let _served = serve(&tree, &kubelet, r#""selectors":{}"#).await;
    let request = requests.recv().await.unwrap();
    assert_eq!((request.version.as_str(), request.endpoint.as_str()), ("v1beta1", "intel.com_net.sock"));
    assert_eq!((request.resource_name.as_str(), request.options), ("intel.com/net", None));

    for _ in 0..2 {
        start_kubelet(&kubelet, &heard);
        assert_eq!(requests.recv().await.unwrap().endpoint, "intel.com_net.sock");
        let mut client = DevicePluginClient::new(dial(&kubelet).await);
        assert!(client.get_device_plugin_options(Empty {}).await.is_ok(), "bound again before it registered");
    }
}

#[tokio::test]
async fn a_kubelet_that_is_not_there_is_waited_for() {
    let (tree, kubelet) = node("device-plugins");
    let (_sender, metrics, front) = front(&tree, &kubelet, r#""selectors":{}"#);
    let _task = tokio::spawn(front.serve());
    while !metrics.readiness().reasons.concat().contains("device-plugins/kubelet.sock: No such file") {
        tokio::task::yield_now().await;
    }
    let (heard, mut requests) = mpsc::unbounded_channel();
    start_kubelet(&kubelet, &heard);
    requests.recv().await.unwrap();
    while !metrics.readiness().ready {
        tokio::task::yield_now().await;
    }
}

/// A kubelet that refuses whoever comes, and is another by the time it does so for the twelfth time.
struct Refusing {
    folder: Folder,
    socket: std::path::PathBuf,
    asked: mpsc::UnboundedSender<tokio::time::Instant>,
    times: std::sync::atomic::AtomicUsize,
}

#[tonic::async_trait]
impl Registration for Refusing {
    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        self.asked.send(tokio::time::Instant::now()).unwrap();
        if self.times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 11 {
            let mut folder = self.folder.clone();
            let before = folder.place();
            let aside = self.socket.with_extension("aside");
            std::fs::rename(&self.socket, &aside).unwrap();
            std::fs::rename(&aside, &self.socket).unwrap();
            folder.moved(before.as_ref()).await;
        }
        Err(Status::unavailable("not yet"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_comes_while_an_attempt_fails_is_tried_at_once() {
    let (tree, kubelet) = node("device-plugins");
    let socket = kubelet.dir().join("kubelet.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (asked, mut times) = mpsc::unbounded_channel();
    let (_sender, _, front) = front(&tree, &kubelet, r#""selectors":{}"#);
    let folder = front.folder.clone();
    let refusing = RegistrationServer::new(Refusing { folder, socket, asked, times: 0.into() });
    tokio::spawn(
        Server::builder().add_service(refusing).serve_with_incoming(UnixListenerStream::new(listener)),
    );
    tokio::spawn(front.serve());
    let mut pauses = Vec::new();
    let mut last = times.recv().await.unwrap();
    for _ in 0..12 {
        let now = times.recv().await.unwrap();
        pauses.push(now - last);
        last = now;
    }
    assert!(pauses[10] > std::time::Duration::from_secs(5), "{pauses:?}");
    assert!(pauses[11] < std::time::Duration::from_secs(1), "{pauses:?}");
}

#[tokio::test]
async fn a_name_that_is_too_long_is_final() {
    let (tree, kubelet) = node("plugins_registry");
    let long = kubelet.dir().parent().unwrap().join("x".repeat(100));
    std::fs::create_dir_all(long.join("plugins_registry")).unwrap();
    let (_sender, _, front) = front(&tree, &Kubelet::find(&long), r#""selectors":{}"#);
    let error = front.serve().await.unwrap_err();
    assert!(matches!(error, Error::Socket(SocketError::TooLong { .. })), "{error}");
}

#[tokio::test]
async fn a_kubelet_that_listened_for_a_moment_has_let_go() {
    let (_tree, kubelet) = node("device-plugins");
    let metrics = Metrics::new();
    let resource = Resource::new("intel.com", "net").unwrap();
    let contact = Contact::new(resource, metrics.clone(), metrics.epoch());
    let _kubelet = std::os::unix::net::UnixListener::bind(kubelet.dir().join("kubelet.sock")).unwrap();
    let folder = Folder::follow(kubelet.dir().parent().unwrap(), false);
    // As where another process registers the same pool before anybody waits for this.
    drop(contact.listen());
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, forgotten(&contact, &folder)).await.unwrap();
}
