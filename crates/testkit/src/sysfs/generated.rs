//! Trees of any size, for benches and for tests of many VFs.

use super::Tree;

impl Tree {
    /// `pfs` PFs named `pf0`, `pf1`, … with `vfs` VFs each: PF n is `000n:00:00.0`, on NUMA node n mod 2, and its VFs are
    /// `000n:01:00.0` and on. Of four VFs two are on `iavf` with a network
    /// device and two on `vfio-pci` in a group of their own.
    pub fn generated(pfs: u32, vfs: u32) -> Self {
        let tree = Self::new();
        for pf in 0..pfs {
            let node = i32::try_from(pf % 2).expect("0 or 1");
            let address = format!("{pf:04x}:00:00.0");
            let function = tree.pf(&address, &format!("pf{pf}")).numa(node);
            function
                .attribute("sriov_totalvfs", &vfs.to_string())
                .attribute("sriov_numvfs", &vfs.to_string());
            for vf in 0..vfs {
                tree.generated_vf(pf, vf, &address, node);
            }
        }
        tree
    }

    /// The address of VF `vf` of PF `pf` in a generated tree.
    pub fn generated_address(pf: u32, vf: u32) -> String {
        format!("{pf:04x}:{:02x}:{:02x}.{}", 1 + vf / 256, vf % 256 / 8, vf % 8)
    }

    fn generated_vf(&self, pf: u32, vf: u32, pf_address: &str, node: i32) {
        let address = Self::generated_address(pf, vf);
        let function = self.function(&address).ids("8086", "154c").numa(node);
        let function = function.link("physfn", &format!("../{pf_address}"));
        self.existing(pf_address).link(&format!("virtfn{vf}"), &format!("../{address}"));
        if vf % 4 < 2 {
            function.driver("iavf").netdev(&format!("pf{pf}v{vf}"));
        } else {
            function.on_vfio(pf * 1024 + vf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vf_is_linked_both_ways() {
        let tree = Tree::generated(2, 300);
        let devices = tree.sys().join("bus/pci/devices");
        assert_eq!(std::fs::read_dir(&devices).unwrap().count(), 2 * 301);
        let vf = Tree::generated_address(1, 299);
        assert_eq!(vf, "0001:02:05.3");
        assert!(devices.join("0001:00:00.0/virtfn299").canonicalize().unwrap().ends_with(&vf));
        assert!(devices.join(vf).join("physfn").canonicalize().unwrap().ends_with("0001:00:00.0"));
    }

    #[test]
    fn a_removed_vf_is_forgotten_by_its_pf() {
        let tree = Tree::generated(1, 2);
        tree.remove("0000:01:00.0");
        let pf = tree.existing("0000:00:00.0").dir();
        assert!(!pf.join("virtfn0").is_symlink() && pf.join("virtfn1").exists());
    }
}
