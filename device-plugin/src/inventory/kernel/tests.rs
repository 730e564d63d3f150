//! What devlink says, recorded, to the scan's end. Its messages are laid out as net/devlink of Linux 6.12 does.

use pci::Sysfs;
use testkit::netlink::{Message, Recorded};
use testkit::sysfs::Tree;

use super::super::scan::scan_with;
use super::super::{Device, DeviceId, Needs, Roots, Snapshot};
use super::*;

const CONTROLLER: u16 = 0x10;
const DEVLINK: u16 = 0x15;
const ESWITCH_GET: u8 = 29;
const PARAM_GET: u8 = 38;
const INFO_GET: u8 = 51;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// With the flag that the kernel sets on such attributes.
fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &parts.concat())
}

fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), b"\0"].concat())
}

/// `<bus>/<device>`, with which every request begins.
fn handle(mut request: &[u8]) -> String {
    let mut names = Vec::new();
    for _ in 0..2 {
        let length = usize::from(u16::from_ne_bytes([request[0], request[1]]));
        names.push(std::str::from_utf8(&request[4..length - 1]).unwrap());
        request = &request[length.next_multiple_of(4)..];
    }
    names.join("/")
}

/// Answers a command about a device with the attributes that `answer` has for it, or with `ENODEV`.
fn devlink(answer: impl Fn(u8, &str) -> Option<Vec<u8>> + Send + 'static) -> Kernel {
    let recorded = Recorded::new(move |kind, request| {
        let attributes = match kind {
            CONTROLLER => attribute(1, &DEVLINK.to_ne_bytes()),
            _ => answer(request[0], &handle(&request[4..]))?,
        };
        Some(vec![Message { kind, payload: [&[0; 4][..], &attributes].concat() }])
    });
    Kernel::with_devlink(Devlink::over(Netlink::over(Box::new(recorded))).unwrap().unwrap())
}

fn scanned(tree: &Tree, needs: &Needs<'_>, kernel: Kernel) -> Snapshot {
    let roots = Roots { sysfs: Sysfs::new(tree.sys()), proc: tree.proc() };
    scan_with(&roots, needs, kernel).unwrap().snapshot
}

fn get<'a>(snapshot: &'a Snapshot, id: &str) -> &'a Device {
    snapshot.get(&id.parse::<DeviceId>().unwrap()).unwrap()
}

#[test]
fn rdma_that_is_on_though_its_device_is_in_another_namespace() {
    let tree = Tree::new();
    tree.pf("0000:3b:00.0", "ens1f0");
    for vf in 0..3 {
        tree.vf(&format!("0000:3b:02.{vf}"), "0000:3b:00.0");
    }
    tree.sf("mlx5_core.sf.2", "0000:3b:00.0", 88, None);
    tree.sf("mlx5_core.sf.3", "0000:3b:00.0", 89, None);
    let kernel = || {
        devlink(|command, device| {
            let on: &[Vec<u8>] = match device {
                "pci/0000:3b:02.0" | "auxiliary/mlx5_core.sf.2" => &[attribute(86, &[])],
                "pci/0000:3b:02.1" => &[],
                _ => return None,
            };
            let param = [text(81, "enable_rdma"), nest(84, &[nest(85, on)])];
            (command == PARAM_GET).then(|| nest(80, &param))
        })
    };
    let needs = Needs { rdma: true, subfunctions: true, ..Needs::default() };
    let snapshot = scanned(&tree, &needs, kernel());
    let is_rdma = |id: &&str| get(&snapshot, id).is_rdma();
    let ids = ["0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2", "mlx5_core.sf.2", "mlx5_core.sf.3"];
    assert_eq!(ids.iter().map(is_rdma).collect::<Vec<_>>(), [true, false, false, true, false]);
    let unasked = Needs { subfunctions: true, ..Needs::default() };
    assert!(!get(&scanned(&tree, &unasked, kernel()), ids[0]).is_rdma());
}

#[test]
fn profiles_of_the_function_or_else_of_its_pf() {
    let tree = Tree::new();
    for pf in 0..2 {
        tree.pf(&format!("0000:3b:00.{pf}"), &format!("ens1f{pf}"));
        for vf in 0..2 {
            tree.vf(&format!("0000:3b:0{}.{vf}", 2 + pf), &format!("0000:3b:00.{pf}"));
        }
    }
    let kernel = devlink(|command, device| {
        let profile = match device {
            "pci/0000:3b:00.0" => "ICE OS Default Package",
            "pci/0000:3b:02.1" => "ICE COMMS Package",
            _ => return None,
        };
        let version = |name: &str, value: &str| nest(101, &[text(103, name), text(104, value)]);
        let versions = [version("fw.app", "1.3.30.0"), version("fw.app.name", profile)];
        (command == INFO_GET).then(|| versions.concat())
    });
    let every = |_: &Device| true;
    let snapshot = scanned(&tree, &Needs { ddp: Some(&every), ..Needs::default() }, kernel);
    let profile = |id: &str| get(&snapshot, id).ddp_profile.as_deref();
    assert_eq!(profile("0000:3b:02.0"), Some("ICE OS Default Package"));
    assert_eq!(profile("0000:3b:02.1"), Some("ICE COMMS Package"));
    assert_eq!(profile("0000:3b:00.0"), Some("ICE OS Default Package"));
    assert_eq!(profile("0000:3b:03.0"), None);
}

#[test]
fn the_mode_of_the_switch_decides_what_names_a_pf() {
    let tree = Tree::new();
    // Of each PF the first network device is a representor's, the second the port's.
    for pf in 0..5 {
        let address = format!("0000:3b:00.{pf}");
        let (representor, port) = (format!("eth{pf}"), format!("np{pf}"));
        tree.pf(&address, &representor).port(&representor, "pf0vf0");
        if pf != 2 && pf != 4 {
            tree.existing(&address).netdev(&port).port(&port, "p0");
        }
        tree.vf(&format!("0000:3b:02.{pf}"), &address);
    }
    let kernel = devlink(|command, device| {
        let mode: u16 = match device {
            "pci/0000:3b:00.0" => 0,
            "pci/0000:3b:00.1" | "pci/0000:3b:00.2" => 1,
            _ => return None,
        };
        (command == ESWITCH_GET).then(|| attribute(25, &mode.to_ne_bytes()))
    });
    let snapshot = scanned(&tree, &Needs::default(), kernel);
    let names: Vec<_> =
        (0..5).map(|vf| get(&snapshot, &format!("0000:3b:02.{vf}")).pf_name.clone()).collect();
    let wanted = [
        Some("eth0"), // legacy: the first, whatever the ports are called
        Some("np1"),  // switchdev: the uplink
        None,         // switchdev without an uplink: no representor stands for it
        Some("np3"),  // nobody tells the mode: an uplink is one
        Some("eth4"), // nor is there one: the first
    ];
    assert_eq!(names.iter().map(Option::as_deref).collect::<Vec<_>>(), wanted);
}
