//! The character devices of an RDMA device, as userspace opens them below `/dev/infiniband`.
//! It must not look whether they are there.

use std::fs;

use crate::sysfs::{Sysfs, entries};

/// The names of one RDMA device's character devices, in the order in which the Go programs list them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RdmaNodes {
    /// `ucmN`, gone from kernels since 5.6.
    pub ucm: Vec<String>,
    /// `issmN`, for subnet managers.
    pub issm: Vec<String>,
    /// `umadN`, for management datagrams.
    pub umad: Vec<String>,
    /// `uverbsN`, for everyone.
    pub uverbs: Vec<String>,
}

impl Sysfs {
    /// The character devices of an RDMA device, such as `mlx5_2`: those whose `ibdev` names it.
    pub fn rdma_nodes(&self, device: &str) -> RdmaNodes {
        let of = |class: &str, prefix: &str| {
            let dir = self.root().join("class").join(class);
            let mut names = entries(&dir);
            names.retain(|name| {
                let ibdev = || fs::read_to_string(dir.join(name).join("ibdev")).unwrap_or_default();
                name.starts_with(prefix) && ibdev().trim() == device
            });
            names
        };
        RdmaNodes {
            ucm: of("infiniband_cm", "ucm"),
            issm: of("infiniband_mad", "issm"),
            umad: of("infiniband_mad", "umad"),
            uverbs: of("infiniband_verbs", "uverbs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_name_the_device() {
        let root = tempfile::tempdir().unwrap();
        for (node, device) in [
            ("infiniband_verbs/uverbs0", "mlx5_0\n"),
            ("infiniband_verbs/uverbs1", "mlx5_1\n"),
            ("infiniband_mad/umad1", "mlx5_1\n"),
            ("infiniband_mad/issm1", "mlx5_1\n"),
        ] {
            let dir = root.path().join("class").join(node);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("ibdev"), device).unwrap();
        }
        fs::write(root.path().join("class/infiniband_verbs/abi_version"), "6\n").unwrap();
        let nodes = Sysfs::new(root.path()).rdma_nodes("mlx5_1");
        assert_eq!(
            (nodes.uverbs, nodes.umad, nodes.issm),
            (vec!["uverbs1".to_owned()], vec!["umad1".to_owned()], vec!["issm1".to_owned()])
        );
        assert_eq!(Sysfs::new("/nonexistent").rdma_nodes("mlx5_1"), RdmaNodes::default());
    }
}
