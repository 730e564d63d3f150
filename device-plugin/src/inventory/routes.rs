//! Which network devices carry the node's default routes: those that the kernel names, `/proc/net/route`,
//! `/proc/net/ipv6_route` and, for bonds, bridges and VLANs, the `lower_*` links of sysfs. It must not see devices: names
//! are all it knows.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Roots;

/// `RTF_REJECT` of `include/uapi/linux/route.h`, in both tables: an unreachable default leads nowhere.
const REJECT: u32 = 0x0200;

/// Network device to the interface that has the default route.
pub(super) type Carriers = HashMap<String, String>;

/// Reads both tables, and takes `links` for carriers too: the kernel knows more tables than these files show. IPv6 may be switched off; a node without `/proc/net/route` is none, and to go on would offer the NIC
/// that the node itself lives on.
pub(super) fn carriers(roots: &Roots, links: &[String]) -> Result<Carriers, (PathBuf, io::Error)> {
    let read = |name: &str| {
        let path = roots.proc.join("net").join(name);
        fs::read_to_string(&path).map_err(|error| (path, error))
    };
    let v4 = read("route")?;
    let v6 = match read("ipv6_route") {
        Err((_, error)) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let mut carriers = Carriers::new();
    let files = v4.lines().filter_map(default_v4).chain(v6.lines().filter_map(default_v6));
    for route in files.chain(links.iter().map(String::as_str)) {
        spread(&roots.sysfs.root().join("class/net"), route, route, &mut carriers);
    }
    Ok(carriers)
}

/// `fib_route_seq_show`, `net/ipv4/fib_trie.c`: interface, destination, gateway, flags, three numbers, mask, …
fn default_v4(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = fields[..] else { return None };
    leads_somewhere(flags).then_some(interface)
}

/// `rt6_info_route`, `net/ipv6/route.c`: destination, length, source, length, next hop, three numbers, flags, interface.
fn default_v6(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [destination, "00", _, _, _, _, _, _, flags, interface] = fields[..] else { return None };
    let any = destination.bytes().all(|b| b == b'0');
    (any && interface != "lo" && leads_somewhere(flags)).then_some(interface)
}

fn leads_somewhere(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & REJECT == 0)
}

/// Notes the interface and everything below it.
fn spread(class_net: &Path, interface: &str, route: &str, carriers: &mut Carriers) {
    if carriers.contains_key(interface) {
        return;
    }
    carriers.insert(interface.to_owned(), route.to_owned());
    for entry in fs::read_dir(class_net.join(interface)).into_iter().flatten().flatten() {
        if let Some(lower) = entry.file_name().to_str().and_then(|name| name.strip_prefix("lower_")) {
            spread(class_net, lower, route, carriers);
        }
    }
}

#[cfg(test)]
mod tests {
    use pci::Sysfs;
    use testkit::sysfs::Tree;

    use super::*;

    fn carriers_of(tree: &Tree) -> Vec<(String, String)> {
        let roots = Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() };
        let mut carriers: Vec<_> = carriers(&roots, &[]).unwrap().into_iter().collect();
        carriers.sort();
        carriers
    }

    fn pair(netdev: &str, route: &str) -> (String, String) {
        (netdev.to_owned(), route.to_owned())
    }

    #[test]
    fn both_families() {
        let tree = Tree::new();
        assert_eq!(carriers_of(&tree), []);
        tree.default_route("eth0");
        tree.default_route6("eth1");
        assert_eq!(carriers_of(&tree), [pair("eth0", "eth0"), pair("eth1", "eth1")]);
    }

    #[test]
    fn other_routes_are_no_default() {
        let tree = Tree::new();
        let none = "0".repeat(32);
        tree.write(
            "proc/net/route",
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             eth0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n\
             eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
             *\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n",
        );
        tree.write(
            "proc/net/ipv6_route",
            &format!("{none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200       lo\n"),
        );
        assert_eq!(carriers_of(&tree), []);
    }

    #[test]
    fn what_the_kernel_names_counts_too() {
        let tree = Tree::new();
        tree.default_route("eth0");
        tree.stack("bond0", "eth1");
        let roots = Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() };
        let mut named: Vec<_> =
            carriers(&roots, &["eth0".into(), "bond0".into()]).unwrap().into_keys().collect();
        named.sort();
        assert_eq!(named, ["bond0", "eth0", "eth1"]);
    }

    #[test]
    fn down_through_vlan_and_bond() {
        let tree = Tree::new();
        tree.default_route("bond0.7");
        tree.stack("bond0.7", "bond0");
        tree.stack("bond0", "eth0");
        tree.stack("bond0", "eth1");
        let wanted = ["bond0", "bond0.7", "eth0", "eth1"].map(|netdev| pair(netdev, "bond0.7"));
        assert_eq!(carriers_of(&tree), wanted);
    }

    #[test]
    fn a_proc_without_routes_is_an_error_but_without_ipv6_is_none() {
        let tree = Tree::new();
        std::fs::remove_file(tree.proc().join("net/ipv6_route")).unwrap();
        assert_eq!(carriers_of(&tree), []);
        std::fs::remove_file(tree.proc().join("net/route")).unwrap();
        let roots = Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() };
        assert!(carriers(&roots, &[]).unwrap_err().0.ends_with("proc/net/route"));
    }
}
