use std::path::Path;

use attachment::{End, Owner, Place, Pod, Record, Sandbox};
use testkit::sysfs::Tree;

use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, scan};
use crate::pool::{Holds, build};
use crate::reconcile::Unclean;

const VF: &str = "0000:3b:02.0";

/// A PF with two VFs on vfio-pci, in a pool.
fn pools(unclean: &[(&str, &str)]) -> Vec<Arc<Pool>> {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    for index in 0..2 {
        tree.vf(&format!("0000:3b:02.{index}"), "0000:3b:00.0").on_vfio(57 + index);
    }
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let text = r#"{"resourceList":[{"resourceName":"dpdk","selectors":{"drivers":["vfio-pci"]}}]}"#;
    let config = Config::parse(text.as_bytes(), "intel.com").unwrap();
    let unclean: Unclean = unclean.iter().map(|(id, why)| (id.parse().unwrap(), (*why).to_owned())).collect();
    let snapshot = scan(&roots, &Needs::default()).unwrap().snapshot;
    let built = build(&config.pools, &snapshot, &Holds::default(), &unclean);
    built.into_iter().map(|(pool, _)| Arc::new(pool)).collect()
}

fn holder(pod: &str, resource: &str) -> Holder {
    let pod = PodName::Named { namespace: "ns".into(), name: pod.into() };
    Holder { resource: resource.into(), pod, container: "app".into() }
}

fn held(holders: &[(&str, &str, &str)]) -> Held {
    holders.iter().map(|(id, pod, resource)| (id.parse().unwrap(), holder(pod, resource))).collect()
}

fn attached(pod: &str, device: &str) -> Attached {
    let record = Record {
        version: Record::VERSION,
        owner: Owner { container_id: "c1".into(), ifname: "net1".parse().unwrap() },
        pod: Some(Pod { namespace: "ns".into(), name: pod.into(), uid: Some(format!("{pod}-uid")) }),
        sandbox: Sandbox::unknown(Some(Path::new("/run/netns/a"))),
        device: device.into(),
        function: None,
        pf: None,
        ipam: None,
        config: serde_json::Map::new(),
        undo: Vec::new(),
    };
    let (device, record) = (record.device.clone(), Some(record));
    let leftover =
        Leftover { device, record, claimed: true, torn: false, life: Life::Alive, place: Place::Linkless };
    Attached { plugin: "sriov", leftover, link: None }
}

fn seen(held: Held, attachments: Vec<Attached>) -> Seen {
    Seen { held: Ok(held), pools: pools(&[]), attachments }
}

fn disagreement(seen: &Seen) -> String {
    explain(&"ns/p".parse().unwrap(), seen).disagreement.unwrap_or_default()
}

#[test]
fn a_whole_chain_agrees() {
    let seen = seen(held(&[(VF, "p", "intel.com/dpdk")]), vec![attached("p", VF)]);
    let explanation = explain(&"ns/p".parse().unwrap(), &seen);
    let wanted = "\
pod ns/p
  container app has 0000:3b:02.0 as intel.com/dpdk  vfio-pci
    net1 by sriov, container c1 for pod ns/p
    in /run/netns/a, alive
everything agrees
";
    assert_eq!(explanation.text(), wanted);
    let json: serde_json::Value = serde_json::from_str(&explanation.json()).unwrap();
    assert_eq!(json["devices"][0]["attachments"][0]["state"], "alive");
    assert_eq!(json["disagreement"], serde_json::Value::Null);
}

#[test]
fn each_link_that_can_break_is_the_first_to_be_named() {
    let given = || held(&[(VF, "p", "intel.com/dpdk")]);
    let mine = || attached("p", VF);
    let with = |change: &dyn Fn(&mut Attached)| {
        let mut it = mine();
        change(&mut it);
        seen(given(), vec![it])
    };
    let kernel = |it: &mut Attached| {
        let link = netlink::Link { name: "ens1f0v0".into(), ..netlink::Link::default() };
        let before = attachment::LinkBefore::of(&link, None).unwrap();
        it.leftover.record.as_mut().unwrap().undo = vec![attachment::Undo::Link(before)];
    };
    for (seen, wanted) in [
        (
            Seen { held: Err("the kubelet is down".into()), ..seen(given(), vec![mine()]) },
            "the kubelet is down",
        ),
        (seen(held(&[]), vec![]), "the kubelet does not tell of such a pod"),
        (seen(held(&[(VF, "p", "x.y/z")]), vec![mine()]), "x.y/z, which is no pool of this daemon"),
        (seen(held(&[("0000:99:00.0", "p", "intel.com/dpdk")]), vec![]), "which does not have it now"),
        (seen(given(), vec![]), "no CNI plugin of Sluice attached it"),
        (seen(given(), vec![attached("other", VF)]), "its attachment is ns/other's, whose DEL never came"),
        (seen(given(), vec![mine(), mine()]), "attached twice, by c1-net1 and c1-net1"),
        (with(&|it| it.leftover.claimed = false), "another attachment has claimed it since"),
        (with(&|it| it.leftover.life = Life::Over(End::NoPath)), "that network namespace is gone"),
        (with(&|it| it.leftover.life = Life::Unseen), "mountPropagation HostToContainer"),
        (with(&kernel), "should be net1 in /run/netns/a, and is not there"),
        (
            with(&|it| {
                kernel(it);
                it.link = Some("renamed".into());
            }),
            "and is called renamed",
        ),
        (
            seen(given(), vec![mine(), attached("p", "0000:3b:02.1")]),
            "net1 of container c1 has 0000:3b:02.1, which the kubelet gave to nobody",
        ),
        (
            Seen { pools: pools(&[(VF, "restore failed")]), ..seen(given(), vec![mine()]) },
            "is unhealthy: not restored yet: restore failed",
        ),
    ] {
        let found = disagreement(&seen);
        assert!(found.contains(wanted), "{found:?} has no {wanted:?}");
    }
}

#[test]
fn a_checkpoint_names_the_pod_by_the_uid_that_a_record_tells() {
    let holder = Holder { pod: PodName::Uid("p-uid".into()), ..holder("", "intel.com/dpdk") };
    let held: Held = [(VF.parse().unwrap(), holder)].into_iter().collect();
    assert_eq!(disagreement(&seen(held, vec![attached("p", VF)])), "");
}

#[test]
fn a_pod_is_a_namespace_and_a_name() {
    for odd in ["p", "intel.com/net", "ns/", "/p", "ns/P", "ns/a/b", "ns/a b"] {
        assert_eq!(odd.parse::<Asked>(), Err(ParseAskedError), "{odd}");
    }
    assert_eq!("ns/web.0-a".parse::<Asked>().unwrap().to_string(), "ns/web.0-a");
}
