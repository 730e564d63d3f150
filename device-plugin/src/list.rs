//! `sriovdp list`: every function that a pool could take, as a table or as JSON.
//! It must not print: it gives text to whoever does.

use std::collections::HashMap;
use std::fmt::Write;

use pci::{PciAddress, Role};
use serde::Serialize;

use crate::inventory::{Device, DeviceId, Snapshot};
use crate::pool::{Pool, Why};

/// One function.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The PF's network device: its own for a PF, its PF's for a VF.
    pub pf_name: Option<String>,
    /// The PF's address, for a VF; the function's that it is below, for an SF.
    pub pf_address: Option<PciAddress>,
    /// The number below the PF, for a VF; an SF's own.
    pub vf_index: Option<u32>,
    /// Its device id: a function's address, an SF's name.
    pub address: DeviceId,
    /// Four hexadecimal digits.
    pub vendor: String,
    /// Four hexadecimal digits.
    pub device: String,
    /// The bound driver.
    pub driver: Option<String>,
    /// The NUMA node.
    pub numa_node: Option<u32>,
    /// The IOMMU group's number.
    pub iommu_group: Option<u32>,
    /// Its network devices in this network namespace.
    pub netdevs: Vec<String>,
    /// The resource of the pool that takes it.
    pub pool: Option<String>,
    /// Why no pool may take it.
    pub left_out: Option<String>,
}

/// The rows, VFs behind their PF.
pub fn rows(snapshot: &Snapshot, pools: &[(Pool, Option<Why>)]) -> Vec<Row> {
    let mut owners = HashMap::new();
    for (pool, _) in pools {
        owners.extend(pool.devices.iter().map(|device| (device.id(), pool.config.resource.to_string())));
    }
    let mut rows: Vec<Row> =
        snapshot.devices().iter().map(|device| Row::new(device, owners.remove(&device.id()))).collect();
    rows.sort_by_cached_key(|row| {
        let own = match row.address {
            DeviceId::Function(address) => Some(address),
            DeviceId::Subfunction(_) => None,
        };
        (row.pf_address.or(own), matches!(row.address, DeviceId::Subfunction(_)), row.vf_index)
    });
    rows
}

impl Row {
    fn new(device: &Device, pool: Option<String>) -> Self {
        let function = &device.function;
        let own = || function.netdevs.first().cloned();
        Self {
            pf_name: match function.role {
                _ if device.sf.is_some() => device.pf_name.clone(),
                Role::Vf { .. } => device.pf_name.clone(),
                Role::Pf { .. } => own(),
                Role::Plain => None,
            },
            pf_address: device.root(),
            vf_index: device.index(),
            address: device.id(),
            vendor: function.vendor.clone(),
            device: function.device.clone(),
            driver: function.driver.clone(),
            numa_node: function.numa_node,
            iommu_group: function.iommu_group.as_ref().map(|group| group.number),
            netdevs: device.netdevs().to_vec(),
            pool,
            left_out: device.left_out.as_ref().map(ToString::to_string),
        }
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let pf = self.pf_name.clone().or_else(|| self.pf_address.map(|pf| pf.to_string()));
        let pool = match (&self.pool, &self.left_out) {
            (Some(pool), _) => pool.clone(),
            (None, Some(left_out)) => format!("- ({left_out})"),
            (None, None) => "-".to_owned(),
        };
        [
            or_dash(pf),
            or_dash(self.vf_index),
            self.address.to_string(),
            format!("{}:{}", self.vendor, self.device),
            or_dash(self.driver.clone()),
            or_dash(self.numa_node),
            or_dash(self.iommu_group),
            or_dash((!self.netdevs.is_empty()).then(|| self.netdevs.join(","))),
            pool,
        ]
    }
}

/// Heads of the columns; numbers stand to the right.
const COLUMNS: [(&str, Side); 9] = [
    ("PF", Side::Left),
    ("VF", Side::Right),
    ("ADDRESS", Side::Left),
    ("ID", Side::Left),
    ("DRIVER", Side::Left),
    ("NUMA", Side::Right),
    ("IOMMU", Side::Right),
    ("NETDEV", Side::Left),
    ("POOL", Side::Left),
];

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// The rows in aligned columns, under their heads.
pub fn text(rows: &[Row]) -> String {
    let head = COLUMNS.map(|(head, _)| head.to_owned());
    let lines: Vec<_> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = [0; COLUMNS.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for ((cell, (_, side)), width) in line.iter().zip(COLUMNS).zip(widths) {
            // Writing to a string cannot fail.
            let _ = match side {
                Side::Left => write!(row, "{cell:<width$}  "),
                Side::Right => write!(row, "{cell:>width$}  "),
            };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// The rows as JSON.
pub fn json(rows: &[Row]) -> String {
    // Strings, numbers and lists of them cannot fail to be JSON.
    serde_json::to_string_pretty(rows).unwrap_or_default() + "\n"
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use testkit::sysfs::Tree;

    use super::*;
    use crate::config::Config;
    use crate::inventory::{Needs, Roots, scan};
    use crate::pool::unheld;

    fn listed() -> Vec<Row> {
        let tree = Tree::new();
        tree.function("0000:00:05.0").ids("1d0f", "ec20").driver("ena").netdev("eth0");
        tree.pf("0000:3b:00.0", "ens1f0").numa(0);
        tree.pf("0000:3b:00.1", "ens1f1").numa(0);
        tree.vf("0000:3b:02.0", "0000:3b:00.0").numa(0).netdev("ens1f0v0");
        tree.vf("0000:3b:02.1", "0000:3b:00.0").numa(0).on_vfio(57);
        tree.default_route("eth0");
        let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
        let snapshot = scan(&roots, &Needs::default()).unwrap().snapshot;
        let text = r#"{"resourceList":[{"resourceName":"dpdk","selectors":{"drivers":["vfio-pci"]}}]}"#;
        let config = Config::parse(text.as_bytes(), "intel.com").unwrap();
        rows(&snapshot, &unheld(&config.pools, &snapshot))
    }

    #[test]
    fn a_table() {
        let wanted = "\
PF      VF  ADDRESS       ID         DRIVER    NUMA  IOMMU  NETDEV    POOL
-        -  0000:00:05.0  1d0f:ec20  ena          -      -  eth0      - (eth0 carries a default route)
ens1f0   -  0000:3b:00.0  8086:1572  i40e         0      -  ens1f0    - (2 VFs are enabled)
ens1f0   0  0000:3b:02.0  8086:154c  iavf         0      -  ens1f0v0  -
ens1f0   1  0000:3b:02.1  8086:154c  vfio-pci     0     57  -         intel.com/dpdk
ens1f1   -  0000:3b:00.1  8086:1572  i40e         0      -  ens1f1    -
";
        assert_eq!(text(&listed()), wanted);
    }

    #[test]
    fn json() {
        let row = serde_json::to_string(&listed()[3]).unwrap();
        assert_eq!(
            row,
            concat!(
                r#"{"pfName":"ens1f0","pfAddress":"0000:3b:00.0","vfIndex":1,"address":"0000:3b:02.1","#,
                r#""vendor":"8086","device":"154c","driver":"vfio-pci","numaNode":0,"iommuGroup":57,"#,
                r#""netdevs":[],"pool":"intel.com/dpdk","leftOut":null}"#
            )
        );
    }
}
