//! What a scan makes of a node: every source of an attribute, and functions that are odd.

use std::os::unix::fs::{PermissionsExt, symlink};

use testkit::kubelet::{Kubelet, State};
use testkit::sysfs::Tree;

use crate::alive::often;
use crate::daemon::{Daemon, LIMIT, command, kubelet_root};
use crate::pools::ids;

/// The devices of the one pool with these members, and what was said.
fn offered(tree: &Tree, members: &str) -> (Vec<String>, String) {
    offered_by(tree, members, |_| {})
}

fn offered_by(
    tree: &Tree,
    members: &str,
    arrange: impl FnOnce(&mut std::process::Command),
) -> (Vec<String>, String) {
    let kubelet = Kubelet::start(kubelet_root(tree)).unwrap();
    let config = format!(r#"{{"resourceList": [{{"resourceName": "p", {members}}}]}}"#);
    let mut command = command(tree, &config);
    arrange(&mut command);
    let daemon = Daemon::spawn(command);
    let listed = |state: &State| state.pools.get("intel.com/p").is_some_and(|pool| pool.lists > 0);
    let state = kubelet.until(members, LIMIT, listed).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    (ids(&state, "intel.com/p"), daemon.end().1)
}

#[test]
fn classes() {
    let tree = Tree::new();
    for (number, class) in
        [0x01_08_02, 0x02_00_00, 0x02_07_00, 0x02_80_00, 0x0b_40_00, 0x12_00_00].iter().enumerate()
    {
        tree.function(&format!("0000:00:0{number}.0")).class(*class).driver("x");
    }
    let network = ["0000:00:01.0", "0000:00:02.0", "0000:00:03.0"];
    assert_eq!(offered(&tree, r#""selectors": {}"#).0, network);
    assert_eq!(offered(&tree, r#""deviceType": "accelerator", "selectors": {}"#).0, ["0000:00:05.0"]);
}

#[test]
fn pfs_with_vfs_stay_and_idle_ones_go() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    tree.pf("0000:3b:00.1", "ens1f1");
    tree.pf("0000:3b:00.2", "ens1f2").unbound();
    let (ids, said) = offered(&tree, r#""selectors": {}"#);
    assert_eq!(ids, ["0000:3b:00.1", "0000:3b:02.0"]);
    assert!(said.contains("its VFs are offered instead") && said.contains("no driver is bound"), "{said}");
}

#[test]
fn one_odd_function_hides_no_other() {
    let tree = Tree::new();
    for number in 0..8 {
        tree.function(&format!("0000:00:0{number}.0")).driver("ena");
    }
    let odd = |number: u32| tree.existing(&format!("0000:00:0{number}.0"));
    odd(0).attribute("vendor", "junk");
    odd(1).attribute("class", "");
    odd(2).attribute("sriov_totalvfs", "many");
    std::fs::create_dir(odd(3).dir().join("physfn")).unwrap();
    std::fs::create_dir(odd(4).dir().join("acpi_index")).unwrap();
    odd(5).link("physfn", "../0000:99:00.0");
    odd(6).attribute("numa_node", "junk").attribute("acpi_index", "");
    std::fs::create_dir(tree.sys().join("bus/pci/devices/not-an-address")).unwrap();
    symlink("nowhere", tree.sys().join("bus/pci/devices/0000:00:1f.0")).unwrap();
    tree.function("10000:e1:00.0").driver("ena");
    let (ids, said) = offered(&tree, r#""selectors": {}"#);
    assert_eq!(ids, ["0000:00:06.0", "0000:00:07.0", "10000:e1:00.0"]);
    assert!(said.contains("0000:00:00.0") && said.contains("holds \"junk\""), "{said}");
    assert_eq!(said.matches("passed over").count(), 7, "{said}");
}

#[test]
fn numbers_of_the_firmware_and_nodes() {
    let tree = Tree::new();
    tree.function("0000:00:05.0").driver("ena").attribute("acpi_index", "101");
    tree.function("0000:00:06.0").driver("ena").attribute("acpi_index", "102");
    assert_eq!(offered(&tree, r#""selectors": {"acpiIndexes": ["102", "7"]}"#).0, ["0000:00:06.0"]);
}

#[test]
fn the_pf_of_a_switch_is_its_uplink() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "eth0").netdev("enp59s0f0np0");
    tree.existing("0000:3b:00.0").port("eth0", "pf0vf0").port("enp59s0f0np0", "p0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    tree.vf("0000:3b:02.1", "0000:3b:00.0");
    assert_eq!(offered(&tree, r#""selectors": {"pfNames": ["enp59s0f0np0#1"]}"#).0, ["0000:3b:02.1"]);
}

#[test]
fn infiniband_functions_by_type_and_key() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ib0").infiniband("ib0", "mlx5_0", "0xffff");
    for (vf, key) in [(0, "0x7fff"), (1, "0x8001"), (2, "0x7fff")] {
        let netdev = format!("ib{}", vf + 1);
        let device = format!("mlx5_{}", vf + 1);
        tree.vf(&format!("0000:3b:02.{vf}"), "0000:3b:00.0")
            .netdev(&netdev)
            .infiniband(&netdev, &device, key);
    }
    let (ids, _) = offered(&tree, r#""selectors": {"linkTypes": ["infiniband"], "pKeys": ["0x7fff"]}"#);
    assert_eq!(ids, ["0000:3b:02.0", "0000:3b:02.2"]);
}

#[test]
fn subfunctions_by_every_key_that_they_have() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "p0").ids("15b3", "101d").driver("mlx5_core").numa(1);
    tree.pf("0000:3b:00.1", "p1").ids("15b3", "101d").driver("mlx5_core");
    for (name, pf, number) in [("2", 0, 88), ("3", 0, 89), ("10", 0, 90), ("4", 1, 88)] {
        let parent = format!("0000:3b:00.{pf}");
        tree.sf(&format!("mlx5_core.sf.{name}"), &parent, number, Some(&format!("p{pf}s{number}")));
    }
    tree.sf("mlx5_core.eth.0", "0000:3b:00.0", 0, None);
    let of = |selector: &str| {
        let members =
            format!(r#""deviceType": "auxNetDevice", "selectors": {{"auxTypes": ["sf"], {selector}}}"#);
        offered(&tree, &members).0
    };
    // Sorted as text by the stand-in.
    let first = ["mlx5_core.sf.10", "mlx5_core.sf.2", "mlx5_core.sf.3"];
    assert_eq!(of(r#""pfNames": ["p0"]"#), first);
    assert_eq!(of(r#""rootDevices": ["0000:3b:00.0"]"#), first);
    assert_eq!(of(r#""pfNames": ["p0#89-95"]"#), ["mlx5_core.sf.10", "mlx5_core.sf.3"]);
    assert_eq!(
        of(r#""vendors": ["15b3"], "devices": ["101d"], "drivers": ["mlx5_core"], "pfNames": ["p1"]"#),
        ["mlx5_core.sf.4"]
    );
    assert_eq!(of(r#""linkTypes": ["ether"], "rootDevices": ["0000:3b:00.1#88"]"#), ["mlx5_core.sf.4"]);
    // A function and the SFs below it may be in two pools.
    assert_eq!(offered(&tree, r#""selectors": {"pfNames": [], "vendors": ["15b3"]}"#).0.len(), 2);
}

#[test]
fn profiles_by_the_tool_and_only_of_devices_that_matter() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    for vf in 0..4 {
        tree.vf(&format!("0000:3b:02.{vf}"), "0000:3b:00.0");
    }
    let bin = tree.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let tool = r#"#!/bin/sh
echo "$*" >> "$0.calls"
[ "$5" = 0000:3b:02.1 ] && name='GTPv1-C/U IPv4/IPv6 payload' || name='Default'
printf '{"DDPInventory":{"device":"154C","address":"%s","DDPpackage":{"name":"%s"}}}' "$5" "$name"
"#;
    std::fs::write(bin.join("ddptool"), tool).unwrap();
    std::fs::set_permissions(bin.join("ddptool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let members =
        r#""selectors": {"pfNames": ["ens1f0#0-1"], "ddpProfiles": ["GTPv1-C/U IPv4/IPv6 payload"]}"#;
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let (ids, _) = offered_by(&tree, members, |command| {
        command.env("PATH", path);
    });
    assert_eq!(ids, ["0000:3b:02.1"]);
    let calls = std::fs::read_to_string(bin.join("ddptool.calls")).unwrap();
    assert_eq!(calls, "-l -a -j -s 0000:3b:02.0\n-l -a -j -s 0000:3b:02.1\n");
}

#[test]
fn a_profile_stays_while_the_tool_that_told_it_fails() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0");
    let bin = tree.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let tool = r#"#!/bin/sh
[ -e "$0.broken" ] && echo >> "$0.calls" && exit 1
echo '{"DDPInventory":{"DDPpackage":{"name":"x"}}}'
"#;
    std::fs::write(bin.join("ddptool"), tool).unwrap();
    std::fs::set_permissions(bin.join("ddptool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [{"resourceName": "p", "selectors": {"ddpProfiles": ["x"]}},
        {"resourceName": "rest", "selectors": {}}]}"#;
    let mut command = often(&tree, config);
    command.env("PATH", bin.clone());
    let _daemon = Daemon::spawn(command);
    kubelet.until("the device", LIMIT, |state| state.has("intel.com/p", 1)).unwrap();
    std::fs::write(bin.join("ddptool.broken"), "").unwrap();
    let asked = || std::fs::read_to_string(bin.join("ddptool.calls")).unwrap_or_default().len();
    let began = std::time::Instant::now();
    while asked() < 3 {
        assert!(began.elapsed() < LIMIT, "the tool is not asked again");
        std::thread::yield_now();
    }
    // Nobody has told of this one.
    tree.vf("0000:3b:02.1", "0000:3b:00.0");
    let state = kubelet.until("the other", LIMIT, |state| state.has("intel.com/rest", 1)).unwrap();
    assert!(state.has("intel.com/p", 1), "{state:?}");
    assert_eq!(state.pools["intel.com/p"].lists, 1, "it was never gone");
}

#[test]
fn profiles_that_nobody_tells_are_told_of_once() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    for vf in 0..2 {
        tree.vf(&format!("0000:3b:02.{vf}"), "0000:3b:00.0");
    }
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [{"resourceName": "p", "selectors": {"pfNames": ["ens1f0"], "ddpProfiles": ["x"]}},
        {"resourceName": "rest", "selectors": {}}]}"#;
    let mut command = often(&tree, config);
    command.env("PATH", tree.root().join("bin"));
    let daemon = Daemon::spawn(command);
    for vf in 2..5 {
        kubelet.until("the others", LIMIT, |state| state.has("intel.com/rest", vf)).unwrap();
        tree.vf(&format!("0000:3b:02.{vf}"), "0000:3b:00.0");
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let said = daemon.end().1;
    let line =
        "neither devlink (fw.app.name) nor ddptool tells the profile of 0000:3b:02.0, 0000:3b:02.1, so";
    assert_eq!((said.matches("ddptool").count(), said.matches(line).count()), (2, 1), "{said}");
}

#[test]
fn a_name_with_a_hyphen_has_a_second_variable() {
    let tree = Tree::new();
    tree.function("0000:00:06.0").driver("ena");
    let kubelet = Kubelet::start(kubelet_root(&tree)).unwrap();
    let config = r#"{"resourceList": [{"resourceName": "ena-vfio", "resourcePrefix": "amazon.com", "selectors": {}}]}"#;
    let _daemon = Daemon::start(&tree, config);
    kubelet.until("the pool", LIMIT, |state| state.has("amazon.com/ena-vfio", 1)).unwrap();
    let pod = testkit::pod::Pod::new("default", "pod").container("app", &[("amazon.com/ena-vfio", 1)]);
    let envs = kubelet.admit(&pod).unwrap().remove(0).response.envs;
    for name in ["PCIDEVICE_AMAZON_COM_ENA-VFIO", "PCIDEVICE_AMAZON_COM_ENA_VFIO"] {
        assert_eq!(envs[name], "0000:00:06.0");
        assert_eq!(
            envs[&format!("{name}_INFO")],
            r#"{"0000:00:06.0":{"generic":{"deviceID":"0000:00:06.0"}}}"#
        );
    }
    assert_eq!(envs.len(), 4);
}
