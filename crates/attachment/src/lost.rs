//! The DEL that never came, made from what a record kept.
//! It must not read the request of somebody else's that happens to be at hand, beyond its network's own configuration.

use std::path::PathBuf;

use cni::{NetConf, Request, Version};
use serde_json::Value;

use crate::record::{Pod, Record};

/// The DEL of `record`'s attachment, with IPAM plugins from `path`. `network`: the configuration of some network, where one
/// is at hand.
pub(crate) fn lost(record: &Record, path: &[PathBuf], network: Option<&NetConf>) -> Request {
    let name = record.network().unwrap_or_default().to_owned();
    let mut config = record.config.clone();
    // The Go plugin keeps no more of IPAM's keys than the type, which is too little for host-local and its like.
    let same = |network: &&NetConf| network.name == name && network.ipam == record.ipam;
    let ipam = network.filter(same).filter(|_| record.is_of_go()).and_then(|network| network.raw.get("ipam"));
    if let Some(ipam) = ipam {
        config.insert("ipam".to_owned(), ipam.clone());
    }
    Request {
        container_id: record.owner.container_id.clone(),
        netns: None,
        ifname: record.owner.ifname.to_string(),
        args: record.pod.as_ref().map(arguments).unwrap_or_default(),
        path: path.to_vec(),
        stdin: Value::Object(config.clone()).to_string().into_bytes(),
        conf: NetConf { version: Version::V1_1_0, name, ipam: record.ipam.clone(), raw: config },
    }
}

/// `CNI_ARGS` as the runtime would have them: some IPAM plugins know a lease by its pod.
fn arguments(Pod { namespace, name, uid }: &Pod) -> String {
    let uid = uid.as_ref().map(|uid| format!(";K8S_POD_UID={uid}")).unwrap_or_default();
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}{uid}")
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::record::{Owner, Sandbox};

    #[test]
    fn the_pod_is_named_as_its_runtime_named_it() {
        let pod = Pod { namespace: "ns".into(), name: "p".into(), uid: Some("u".into()) };
        let record = Record {
            version: Record::VERSION,
            owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
            pod: Some(pod.clone()),
            sandbox: Sandbox::unknown(None),
            device: "eth0".into(),
            function: None,
            pf: None,
            ipam: Some("host-local".into()),
            config: Map::new(),
            undo: Vec::new(),
        };
        let del = lost(&record, &[], None);
        assert_eq!(
            (del.container_id.as_str(), del.ifname.as_str(), Pod::of(&del)),
            ("c1", "net1", Some(pod))
        );
        assert_eq!(lost(&Record { pod: None, ..record }, &[], None).args, "");
    }
}
