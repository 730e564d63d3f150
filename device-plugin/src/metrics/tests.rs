use super::*;
use crate::config::Config;
use crate::inventory::{Needs, Roots, scan};
use testkit::sysfs::Tree;

fn resource() -> Resource {
    Resource::new("intel.com", "net").unwrap()
}

#[test]
fn what_was_counted_can_be_read() {
    let metrics = Metrics::new();
    let tree = Tree::generated(2, 3);
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let text = br#"{"resourceList":[{"resourceName":"net","selectors":{}}]}"#;
    let config = Config::parse(text, "intel.com").unwrap();
    let pools = crate::pool::unheld(&config.pools, &scan(&roots, &Needs::default()).unwrap().snapshot);
    for _ in 0..2 {
        metrics.pools(pools.iter().map(|(pool, _)| pool));
    }
    metrics.allocation(&resource(), Duration::from_micros(300), true);
    metrics.allocation(&resource(), Duration::from_micros(300), false);
    metrics.scan_took(Duration::from_millis(5));
    metrics.configuration(3, Some("no JSON".into()));
    metrics.registration(&resource(), Registration::Registered);
    metrics.reconciled("restored");
    let text = metrics.text();
    for line in [
        r#"sriovdp_devices{resource="intel.com/net",state="healthy",numa_node="0"} 3"#,
        r#"sriovdp_devices{resource="intel.com/net",state="healthy",numa_node="1"} 3"#,
        r#"sriovdp_allocations_total{resource="intel.com/net",outcome="granted"} 1"#,
        r#"sriovdp_allocations_total{resource="intel.com/net",outcome="refused"} 1"#,
        r#"sriovdp_allocation_duration_seconds_bucket{le="0.0001",resource="intel.com/net"} 0"#,
        r#"sriovdp_allocation_duration_seconds_bucket{le="0.0004",resource="intel.com/net"} 2"#,
        "sriovdp_scan_duration_seconds_count 1",
        "sriovdp_configuration_generation 3",
        "sriovdp_configuration_last_reload_successful 0",
        r#"sriovdp_pool_registered{resource="intel.com/net"} 1"#,
        r#"sriovdp_registrations_total{resource="intel.com/net",outcome="registered"} 1"#,
        r#"sriovdp_reconciler_actions_total{action="restored"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    metrics.pools([]);
    metrics.forget(&resource());
    let text = metrics.text();
    assert!(!text.contains("sriovdp_devices{") && !text.contains("sriovdp_pool_registered{"), "{text}");
}

#[test]
fn ready_when_the_kubelet_has_every_pool() {
    let metrics = Metrics::new();
    assert_eq!(metrics.readiness().reasons, ["no configuration is served yet"]);
    metrics.configuration(1, None);
    assert!(metrics.readiness().ready, "a node without devices has nothing to wait for");
    metrics.registration(&resource(), Registration::Waiting("the kubelet has not asked for it yet".into()));
    let waiting = metrics.readiness();
    assert_eq!(waiting.reasons, ["pool intel.com/net: the kubelet has not asked for it yet"]);
    assert!(!waiting.ready);
    metrics.registration(&resource(), Registration::Refused("bad name".into()));
    assert_eq!(metrics.readiness().reasons, ["pool intel.com/net: refused by the kubelet: bad name"]);
    metrics.registration(&resource(), Registration::Registered);
    assert_eq!(metrics.readiness(), Readiness { ready: true, reasons: Vec::new() });
    metrics.configuration(1, Some("not JSON".into()));
    let broken = metrics.readiness();
    assert!(broken.ready, "the last good configuration is served");
    assert_eq!(broken.reasons, ["the configuration before it is served: not JSON"]);
}
