use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::LazyLock;

use proptest::prelude::*;
use testkit::sysfs::Tree;

use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, scan};

/// Three PFs with four VFs each. PF 0 and 2 are on NUMA node 0; 0 and 1 below one host bridge, each behind its own port.
static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let tree = Tree::generated(3, 4);
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let config = br#"{"resourceList":[{"resourceName":"net","selectors":{"devices":["154c"]}}]}"#;
    let config = Config::parse(config, "intel.com").unwrap();
    let mut pool =
        crate::pool::unheld(&config.pools, &scan(&roots, &Needs::default()).unwrap().snapshot).remove(0).0;
    for device in pool.devices.iter_mut().map(Arc::make_mut) {
        let domain = device.function.address.to_string().as_bytes()[3];
        device.function.numa_node = Some(u32::from(domain == b'1'));
        let bridges = ["pci0000:00/0000:00:01.0", "pci0000:00/0000:00:02.0", "pci0000:80/0000:80:01.0"];
        device.above = Some(bridges[usize::from(domain - b'0')].to_owned());
    }
    pool
});

const POLICIES: [AllocationPolicy; 4] =
    [AllocationPolicy::Packed, AllocationPolicy::Spread, AllocationPolicy::Numa, AllocationPolicy::Pcie];

fn pool(policy: AllocationPolicy) -> Pool {
    let mut pool = POOL.clone();
    Arc::make_mut(&mut pool.config).allocation_policy = policy;
    pool
}

/// `21` is the second VF of the third PF.
fn ids(short: &[&str]) -> Vec<String> {
    short.iter().map(|short| format!("000{}:01:00.{}", &short[..1], &short[1..])).collect()
}

fn every() -> Vec<String> {
    POOL.devices.iter().map(|device| device.id().to_string()).collect()
}

fn prefer(policy: AllocationPolicy, available: &[&str], must: &[&str], size: usize) -> Vec<String> {
    pool(policy).prefer(&ids(available), &ids(must), size).unwrap()
}

#[test]
fn none_leaves_it_to_the_kubelet() {
    assert_eq!(pool(AllocationPolicy::None).prefer(&every(), &[], 3), Ok(Vec::new()));
}

#[test]
fn packed_fills_a_pf() {
    let packed =
        |available: &[&str], must: &[&str], size| prefer(AllocationPolicy::Packed, available, must, size);
    let used = ["00", "01", "02", "03", "10", "11", "20", "21", "22"];
    assert_eq!(packed(&used, &[], 1), ids(&["10"]), "from the one with fewest left");
    assert_eq!(packed(&used, &[], 2), ids(&["10", "11"]));
    assert_eq!(packed(&used, &[], 3), ids(&["20", "21", "22"]), "in one piece");
    assert_eq!(packed(&used, &[], 5), ids(&["00", "01", "02", "03", "10"]), "from two, not three");
    assert_eq!(packed(&used, &["22"], 2), ids(&["22", "20"]), "beside what must be");
}

#[test]
fn spread_goes_across_pfs() {
    let spread =
        |available: &[&str], must: &[&str], size| prefer(AllocationPolicy::Spread, available, must, size);
    let used = ["00", "01", "02", "03", "10", "11", "20", "21", "22"];
    assert_eq!(spread(&used, &[], 1), ids(&["00"]), "from the one with most left");
    assert_eq!(spread(&used, &[], 4), ids(&["00", "20", "10", "01"]));
    assert_eq!(spread(&used, &["00", "20"], 3), ids(&["00", "20", "10"]));
}

#[test]
fn numa_stays_on_a_node() {
    let numa =
        |available: &[&str], must: &[&str], size| prefer(AllocationPolicy::Numa, available, must, size);
    assert_eq!(numa(&["00", "10", "11", "20"], &[], 2), ids(&["00", "20"]), "of two that fit the first");
    assert_eq!(numa(&["00", "10", "11", "12"], &[], 3), ids(&["10", "11", "12"]));
    assert_eq!(numa(&["00", "10", "11", "20"], &["11"], 2), ids(&["11", "10"]));
}

#[test]
fn pcie_stays_below_one_bridge() {
    let pcie =
        |available: &[&str], must: &[&str], size| prefer(AllocationPolicy::Pcie, available, must, size);
    assert_eq!(pcie(&["00", "10", "20", "21"], &[], 2), ids(&["00", "10"]), "one host bridge");
    assert_eq!(pcie(&["00", "20", "21"], &[], 2), ids(&["20", "21"]), "one port");
    assert_eq!(
        pcie(&["00", "01", "10", "11", "20"], &["10"], 3),
        ids(&["10", "11", "00"]),
        "the nearest first"
    );
}

#[test]
fn what_cannot_be_is_refused_and_what_is_not_known_comes_last() {
    let pool = pool(AllocationPolicy::Packed);
    assert_eq!(
        pool.prefer(&ids(&["00"]), &ids(&["01"]), 1),
        Err(Error::NotAvailable { id: "0000:01:00.1".into() })
    );
    assert_eq!(
        pool.prefer(&ids(&["00", "01"]), &ids(&["00", "01"]), 1),
        Err(Error::TooMany { must: 2, size: 1 })
    );
    let strange = ["nonsense".to_owned(), "0000:01:00.0".to_owned()];
    assert_eq!(pool.prefer(&strange, &[], 1).unwrap(), ["0000:01:00.0"]);
    assert_eq!(pool.prefer(&strange, &[], 9).unwrap().len(), 2, "all where there are fewer");
}

proptest! {
    #[test]
    fn the_kubelet_gets_what_it_can_use(
        picks in proptest::collection::btree_map(0_usize..12, any::<bool>(), 0..12),
        extra in 0_usize..14,
        policy in 0_usize..4,
        turned in any::<bool>(),
    ) {
        let every = every();
        let mut available: Vec<String> = picks.keys().map(|&at| every[at].clone()).collect();
        let must: Vec<String> =
            picks.iter().filter(|(_, must)| **must).map(|(&at, _)| every[at].clone()).collect();
        let size = must.len() + extra;
        let pool = pool(POLICIES[policy]);
        let chosen = pool.prefer(&available, &must, size).unwrap();
        let set: BTreeSet<&String> = chosen.iter().collect();
        prop_assert_eq!(set.len(), chosen.len(), "none twice");
        prop_assert_eq!(chosen.len(), size.min(available.len()));
        prop_assert!(must.iter().all(|id| set.contains(id)));
        prop_assert!(chosen.iter().all(|id| available.contains(id)));
        if turned {
            available.reverse();
        } else {
            available.rotate_left(picks.len() / 2);
        }
        prop_assert_eq!(pool.prefer(&available, &must, size).unwrap(), chosen, "whatever the order of the question");
    }

    #[test]
    fn packed_takes_as_few_pfs_as_spread_takes_many(
        picks in proptest::collection::btree_set(0_usize..12, 1..12),
        size in 1_usize..12,
    ) {
        let every = every();
        let available: Vec<String> = picks.iter().map(|&at| every[at].clone()).collect();
        let size = size.min(available.len());
        let pfs = |policy| {
            let chosen = pool(policy).prefer(&available, &[], size).unwrap();
            chosen.iter().map(|id| id.as_bytes()[3]).collect::<BTreeSet<u8>>().len()
        };
        let mut left = BTreeMap::<u8, usize>::new();
        for id in &available {
            *left.entry(id.as_bytes()[3]).or_default() += 1;
        }
        let mut sizes: Vec<usize> = left.values().copied().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0;
        let fewest = sizes.iter().take_while(|&&count| { let more = sum < size; sum += count; more }).count();
        prop_assert_eq!(pfs(AllocationPolicy::Packed), fewest);
        prop_assert_eq!(pfs(AllocationPolicy::Spread), sizes.len().min(size));
    }
}
