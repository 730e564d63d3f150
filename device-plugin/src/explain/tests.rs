use testkit::sysfs::Tree;

use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, Scan, scan};
use crate::pool::unheld;

fn explained(asked: Option<&str>) -> Result<Vec<Explanation>, Unknown> {
    explained_of(&Tree::new(), asked)
}

fn explained_of(tree: &Tree, asked: Option<&str>) -> Result<Vec<Explanation>, Unknown> {
    tree.function("0000:00:05.0").ids("1d0f", "ec20").driver("ena").netdev("eth0");
    tree.default_route("eth0");
    tree.pf("0000:3b:00.0", "ens1f0");
    tree.vf("0000:3b:02.0", "0000:3b:00.0").netdev("ens1f0v0");
    tree.vf("0000:3b:02.1", "0000:3b:00.0").on_vfio(57);
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let needs = Needs { subfunctions: true, ..Needs::default() };
    let Scan { snapshot, odd } = scan(&roots, &needs).unwrap();
    let text = r#"{"resourceList":[{"resourceName":"dpdk","selectors":{"drivers":["vfio-pci"]}},
        {"resourceName":"net","resourcePrefix":"x.y","selectors":[{"pfNames":["ens1f0#1"]},{"vendors":["1d0f"]}]},
        {"resourceName":"fec","deviceType":"accelerator","selectors":{}}]}"#;
    let config = Config::parse(text.as_bytes(), "intel.com").unwrap();
    explain(&snapshot, &odd, &unheld(&config.pools, &snapshot), asked, |_| Names::default())
}

#[test]
fn every_device() {
    let wanted = "\
function 0000:00:05.0  1d0f:ec20  ena  eth0
  left out of every pool: eth0 carries a default route
  intel.com/dpdk: drivers: found ena, wanted vfio-pci
  x.y/net: would take it by selectors[1]
pf 0000:3b:00.0  8086:1572  i40e  ens1f0
  left out of every pool: 2 VFs are enabled
  intel.com/dpdk: drivers: found i40e, wanted vfio-pci
  x.y/net: selectors[0] pfNames: found no PF, wanted ens1f0#1; selectors[1] vendors: found 8086, wanted 1d0f
vf 0000:3b:02.0  8086:154c  iavf  ens1f0v0
  intel.com/dpdk: drivers: found iavf, wanted vfio-pci
  x.y/net: selectors[0] pfNames: found ens1f0#0, wanted ens1f0#1; selectors[1] vendors: found 8086, wanted 1d0f
vf 0000:3b:02.1  8086:154c  vfio-pci
  intel.com/dpdk: takes it by selectors[0]
  x.y/net: would take it, but intel.com/dpdk has it before
";
    assert_eq!(text(&explained(None).unwrap()), wanted);
}

#[test]
fn what_cannot_be_read_is_explained_too() {
    let tree = Tree::new();
    tree.function("0000:00:07.0").driver("ena").attribute("vendor", "junk");
    tree.pf("0000:5e:00.0", "ens2f0");
    std::fs::write(tree.sf("mlx5_core.sf.2", "0000:5e:00.0", 88, None).join("sfnum"), "x").unwrap();
    let path = |device: &str| tree.sys().join(device).display().to_string();
    let function = format!(
        "function 0000:00:07.0\n  left out of every pool: PCI function 0000:00:07.0: {} holds \"junk\", wanted an id \
         such as 0x8086\n",
        path("bus/pci/devices/0000:00:07.0/vendor")
    );
    let sf = format!(
        "sf mlx5_core.sf.2\n  left out of every pool: PCI function 0000:5e:00.0: {} holds \"x\", wanted a decimal number\n",
        path("bus/auxiliary/devices/mlx5_core.sf.2/sfnum")
    );
    let said = text(&explained_of(&tree, None).unwrap());
    assert!(said.ends_with(&(function.clone() + &sf)), "{said}");
    let other = Tree::new();
    other.function("0000:00:07.0").attribute("vendor", "junk");
    let one = explained_of(&other, Some("0000:00:07.0")).unwrap();
    assert_eq!((one.len(), one[0].pools.len()), (1, 0));
    let json: serde_json::Value = serde_json::from_str(&json(&one)).unwrap();
    assert_eq!((&json[0]["device"], &json[0]["ids"]), (&"0000:00:07.0".into(), &serde_json::Value::Null));
    assert!(json[0]["leftOut"].as_str().unwrap().contains("holds \"junk\""), "{json}");
}

#[test]
fn one_device_or_one_pool() {
    for asked in ["0000:3b:02.0", "ens1f0v0"] {
        let one = explained(Some(asked)).unwrap();
        assert_eq!((one.len(), one[0].pools.len()), (1, 2), "{asked}");
    }
    for asked in ["intel.com/dpdk", "dpdk"] {
        let one = explained(Some(asked)).unwrap();
        assert_eq!(one.len(), 4, "{asked}");
        assert!(one.iter().all(|explanation| explanation.pools.len() == 1));
    }
    let unknown = explained(Some("0000:99:00.0")).unwrap_err().to_string();
    assert!(unknown.ends_with("the pools are intel.com/dpdk, x.y/net, intel.com/fec"), "{unknown}");
}

#[test]
fn as_json() {
    let json: serde_json::Value =
        serde_json::from_str(&json(&explained(Some("0000:3b:02.1")).unwrap())).unwrap();
    assert_eq!(json[0]["device"], "0000:3b:02.1");
    assert_eq!(json[0]["pools"][0]["acceptedBy"], 0);
    assert_eq!(json[0]["pools"][1]["takenBeforeBy"], "intel.com/dpdk");
    let json: serde_json::Value =
        serde_json::from_str(&super::json(&explained(Some("0000:3b:02.0")).unwrap())).unwrap();
    assert_eq!(json[0]["pools"][0]["refusedBy"][0]["key"], "drivers");
    assert_eq!(json[0]["pools"][0]["refusedBy"][0]["found"], "iavf");
}
