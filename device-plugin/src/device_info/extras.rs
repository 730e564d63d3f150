//! What a selector adds to the devices that join by it: RDMA nodes, vhost-net, the vDPA device's node.
//! It must not choose: whether a device is RDMA or vDPA was decided when it joined.

use std::collections::BTreeMap;
use std::path::Path;

use pci::Sysfs;

use super::nodes::{Error, Node, Part, pairs};
use crate::inventory::Device;

const RDMA_CM: &str = "/dev/infiniband/rdma_cm";
const VHOST_NET: &str = "/dev/vhost-net";
const TUN: &str = "/dev/net/tun";

/// The nodes of every RDMA device, and behind the first one's the connection manager's. Of several the last one's are
/// named, as in the Go plugin; `rdma_dev` is the first.
pub(super) fn rdma(sysfs: &Sysfs, dev: &Path, device: &Device) -> Part {
    let mut nodes = Vec::new();
    let mut info = BTreeMap::new();
    let mut connections = Some(Node::same(RDMA_CM.to_owned())).filter(|node| node.below(dev).exists());
    for rdma in device.rdma() {
        let names = sysfs.rdma_nodes(rdma);
        for (key, names) in [
            (None, names.ucm),
            (Some("issm"), names.issm),
            (Some("umad"), names.umad),
            (Some("uverbs"), names.uverbs),
        ] {
            for name in names {
                let node = Node::same(format!("/dev/infiniband/{name}"));
                info.extend(key.map(|key| (key.to_owned(), node.container.clone())));
                nodes.push(node);
            }
        }
        if let Some(connections) = connections.take() {
            info.extend(pairs([("rdma_cm", RDMA_CM)]));
            nodes.push(connections);
        }
    }
    info.extend(device.rdma().first().map(|first| ("rdma_dev".to_owned(), first.clone())));
    Part { name: "rdma", nodes, info }
}

/// Both nodes, or none where either is missing: they are of use together alone.
pub(super) fn vhost_net(dev: &Path) -> Option<Part> {
    let nodes = [VHOST_NET, TUN].map(|path| Node::same(path.to_owned()));
    let there = nodes.iter().all(|node| node.below(dev).exists());
    if !there {
        tracing::warn!(
            "needVhostNet: {VHOST_NET} or {TUN} is not there, so the container gets neither; load vhost_net and tun"
        );
    }
    let info = pairs([("net-mount", VHOST_NET), ("tun-mount", TUN)]);
    there.then(|| Part { name: "vhost", nodes: nodes.into(), info })
}

/// With `vhost_vdpa` the device's node; `virtio_vdpa` makes a network device and needs none.
pub(super) fn vdpa(device: &Device) -> Result<Part, Error> {
    let empty = Part { name: "vdpa", nodes: Vec::new(), info: BTreeMap::new() };
    let Some(vdpa) = device.vdpa.as_ref().filter(|_| device.vdpa_type() == Some("vhost")) else {
        return Ok(empty);
    };
    let no_node = || Error::NoVhostVdpa { address: device.function.address, device: vdpa.name.clone() };
    let node = Node::same(format!("/dev/{}", vdpa.vhost.as_ref().ok_or_else(no_node)?));
    Ok(Part { info: pairs([("mount", &node.container)]), nodes: vec![node], ..empty })
}
