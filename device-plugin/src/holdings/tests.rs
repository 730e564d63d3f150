use testkit::kubelet::{Kubelet, Tells};

use super::*;

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// What is held, in words: `device resource pod container`.
fn words(held: &Held) -> Vec<String> {
    let word =
        |(device, by): (&DeviceId, &Holder)| format!("{device} {} {} {}", by.resource, by.pod, by.container);
    held.iter().map(word).collect()
}

fn sources(root: &Path, checkpoint: Option<&str>) -> Sources {
    let sources = Sources::of(root, None);
    if let Some(text) = checkpoint {
        std::fs::create_dir_all(sources.checkpoint.parent().unwrap()).unwrap();
        std::fs::write(&sources.checkpoint, text).unwrap();
    }
    sources
}

#[test]
fn a_kubelet_that_holds_nothing_says_so_and_its_checkpoint_is_not_asked() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path(), Some("not read"));
    let _kubelet = Kubelet::start(root.path()).unwrap();
    let held = block(read(&sources)).unwrap();
    assert_eq!((words(&held), held.pods().len()), (vec![], 1), "there is the plugin's own pod");
}

const NOTED: &str = r#"{"Data":{"PodDeviceEntries":[
    {"PodUID":"u1","ContainerName":"c","ResourceName":"a.b/r","DeviceIDs":{"-1":["0000:3b:02.1"]},"AllocResp":""}],
    "RegisteredDevices":{}},"Checksum":1}"#;

#[test]
fn a_device_is_free_where_both_say_so() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    // As one that has heard of its static pods alone, or whose pod has the device in an init container.
    let sources = sources(root.path(), Some(NOTED));
    let noted = ["0000:3b:02.1 a.b/r with UID u1 c"];
    let agreed = block(agreed(&sources)).unwrap();
    assert_eq!((words(&agreed.held), agreed.lags), (noted.map(str::to_owned).to_vec(), true));
    kubelet.tells(Tells::Everything).unwrap();
    let agreed = block(super::agreed(&sources)).unwrap();
    assert_eq!((words(&agreed.held), agreed.lags), (vec![], false));
}

#[test]
fn an_answer_without_a_pod_is_none() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(root.path()).unwrap();
    kubelet.tells(Tells::NoPods).unwrap();
    let sources = sources(root.path(), Some(NOTED));
    for held in [block(agreed(&sources)).unwrap().held, block(read(&sources)).unwrap()] {
        assert_eq!(words(&held), ["0000:3b:02.1 a.b/r with UID u1 c"]);
    }
    std::fs::remove_file(&sources.checkpoint).unwrap();
    let error = block(agreed(&sources)).unwrap_err().to_string();
    assert!(error.contains("names no pod"), "{error}");
}

#[test]
fn both_layouts_of_the_checkpoint() {
    let by_node = r#"{"Data":{"PodDeviceEntries":[
        {"PodUID":"u1","ContainerName":"c","ResourceName":"intel.com/net","DeviceIDs":{"-1":["0000:3b:02.1"],"1":["0000:3b:02.3","mlx5_core.sf.4"]},"AllocResp":"CgA="},
        {"PodUID":"u2","ContainerName":"g","ResourceName":"nvidia.com/gpu","DeviceIDs":{"0":["GPU-1"],"1":null},"AllocResp":""}],
        "RegisteredDevices":{"intel.com/net":["0000:3b:02.1"]}},"Checksum":1}"#;
    let list = r#"{"Data":{"PodDeviceEntries":[
        {"PodUID":"u1","ContainerName":"c","ResourceName":"intel.com/net","DeviceIDs":["0000:3b:02.1"],"AllocResp":"CgA="}],
        "RegisteredDevices":{}},"Checksum":1}"#;
    let none = r#"{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}"#;
    let first = "0000:3b:02.1 intel.com/net with UID u1 c".to_owned();
    for (text, wanted) in [
        (
            by_node,
            vec![
                first.clone(),
                "0000:3b:02.3 intel.com/net with UID u1 c".to_owned(),
                "mlx5_core.sf.4 intel.com/net with UID u1 c".to_owned(),
            ],
        ),
        (list, vec![first]),
        (none, vec![]),
    ] {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(words(&block(read(&sources(root.path(), Some(text)))).unwrap()), wanted);
    }
}

#[test]
fn a_socket_that_nobody_serves_any_more_leaves_the_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path(), Some(r#"{"Data":{"PodDeviceEntries":[]},"Checksum":0}"#));
    std::fs::create_dir_all(sources.socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&sources.socket).unwrap());
    assert_eq!(block(read(&sources)).unwrap(), Held::default());
}

#[test]
fn a_kubelet_that_hangs_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path(), None);
    std::fs::create_dir_all(sources.socket.parent().unwrap()).unwrap();
    let _never_accepts = std::os::unix::net::UnixListener::bind(&sources.socket).unwrap();
    let patience = Duration::from_millis(30);
    let error = block(pod_resources::list(&sources.socket, patience)).unwrap_err().to_string();
    assert!(error.ends_with("pod-resources/kubelet.sock within 30ms"), "{error}");
}

#[test]
fn says_what_neither_source_tells() {
    let root = tempfile::tempdir().unwrap();
    let error = block(read(&sources(root.path(), Some("{}")))).unwrap_err().to_string();
    assert!(error.contains("pod-resources/kubelet.sock: No such file or directory"), "{error}");
    assert!(error.contains("kubelet_internal_checkpoint is no checkpoint of a device manager"), "{error}");
}
