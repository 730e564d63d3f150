use netlink::{Netlink, Netns};
use testkit::netlink::link;
use testkit::sysfs::Tree;

use super::*;

const PF: &str = "0000:3b:00.0";

fn address(number: u32) -> String {
    format!("0000:3c:{:02x}.{}", number / 8, number % 8)
}

/// A PF with as many VFs, each unlike its neighbours.
fn node(count: u32, guids: bool) -> (Tree, Host, link::Link) {
    let tree = Tree::new();
    tree.pf(PF, "ens1f0");
    for number in 0..count.min(256) {
        tree.vf(&address(number), PF);
    }
    tree.existing(&address(0)).netdev("ens1f0v0");
    tree.existing(&address(count.min(256) - 1)).netdev("last");
    let vfs: Vec<link::Vf> = (0..count)
        .map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            let on = Some(number % 3 == 0).filter(|_| number % 2 == 0);
            let mac = [2, 0, 0, 0, high, low];
            link::Vf { mac, vlan: (number, number % 8), rate: (0, number), spoofchk: on, trust: on, guids }
        })
        .collect();
    let pf = link::Link::new(2, "ens1f0", [2, 0, 0, 0, 1, 1], PF).with_vfs(&vfs);
    let ours = link::Link::new(9, "last", [2, 0, 0, 0, 0, 9], &address(count.min(256) - 1));
    let netlink = Netlink::over(Box::new(link::node(vec![pf.clone(), ours])));
    let host = Host { sysfs: pci::Sysfs::new(tree.sys()), netns: Netns::current().unwrap(), netlink };
    (tree, host, pf)
}

#[test]
fn the_last_of_256_vfs_is_seen_as_it_is() {
    for guids in [false, true] {
        let (_tree, mut host, pf) = node(256, guids);
        let observed = observe(&mut host, address(255).parse().unwrap()).unwrap();
        assert!(pf.message(true).payload.len() > 32 * 1024, "{}", pf.message(true).payload.len());
        assert_eq!((observed.pf.vf, observed.vf.number), (255, 255));
        assert_eq!(observed.vf.mac, "02:00:00:00:00:ff".parse().unwrap());
        assert_eq!((observed.vf.vlan.get(), observed.vf.qos, observed.vf.max_tx_rate), (255, 7, 255));
        assert_eq!((observed.vf.spoofchk, observed.vf.trust), (None, None));
        assert_eq!(observed.link.map(|link| link.name).as_deref(), Some("last"));
    }
}

#[test]
fn every_vf_of_a_list_whose_length_does_not_fit_its_head_is_read() {
    let (_tree, mut host, pf) = node(700, true);
    assert!(pf.message(true).payload.len() > 2 * 65_536);
    let vfs = host.netlink.vfs(2).unwrap();
    assert_eq!(vfs.len(), 700);
    assert!(vfs.iter().zip(0..).all(|(vf, number)| vf.number == number && vf.vlan.get() == number));
    assert_eq!(vfs[698].spoofchk, Some(false));
}

#[test]
fn a_vf_that_the_pf_does_not_tell_of_is_named() {
    let (tree, mut host, _) = node(4, false);
    tree.vf(&address(4), PF).netdev("ens1f0v4");
    let observed = observe(&mut host, address(4).parse().unwrap());
    // Its network device is in another namespace, as far as this recording goes.
    assert!(matches!(observed, Err(ObserveError::NoInterface { .. })), "{observed:?}");
    tree.existing(&address(4)).without_netdevs().driver("vfio-pci");
    let observed = observe(&mut host, address(4).parse().unwrap());
    assert!(matches!(observed, Err(ObserveError::Vf(netlink::Error::NoVf { vf: 4 }))), "{observed:?}");
}
