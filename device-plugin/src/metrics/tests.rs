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
    metrics.registration(&resource(), Epoch::default(), Registration::Registered);
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
    metrics.forget(&resource(), Epoch::default());
    let text = metrics.text();
    assert!(!text.contains("sriovdp_devices{") && !text.contains("sriovdp_pool_registered{"), "{text}");
}

#[test]
fn ready_when_the_kubelet_has_every_pool() {
    let metrics = Metrics::new();
    assert_eq!(metrics.readiness().reasons, ["no configuration is served yet"]);
    metrics.configuration(1, None);
    assert!(metrics.readiness().ready, "a node without devices has nothing to wait for");
    metrics.registration(
        &resource(),
        Epoch::default(),
        Registration::Waiting("the kubelet has not asked for it yet".into()),
    );
    let waiting = metrics.readiness();
    assert_eq!(waiting.reasons, ["pool intel.com/net: the kubelet has not asked for it yet"]);
    assert!(!waiting.ready);
    metrics.registration(&resource(), Epoch::default(), Registration::Refused("bad name".into()));
    assert_eq!(metrics.readiness().reasons, ["pool intel.com/net: refused by the kubelet: bad name"]);
    metrics.registration(&resource(), Epoch::default(), Registration::Registered);
    assert_eq!(metrics.readiness(), Readiness { ready: true, reasons: Vec::new() });
    metrics.configuration(1, Some("not JSON".into()));
    let broken = metrics.readiness();
    assert!(broken.ready, "the last good configuration is served");
    assert_eq!(broken.reasons, ["the configuration before it is served: not JSON"]);
}

/// Metrics that have been counted once each, as Prometheus reads them.
fn everything() -> String {
    let metrics = Metrics::new();
    let tree = Tree::generated(1, 1);
    let roots = Roots { sysfs: pci::Sysfs::new(tree.sys()), proc: tree.proc() };
    let config =
        Config::parse(br#"{"resourceList":[{"resourceName":"net","selectors":{}}]}"#, "intel.com").unwrap();
    let pools = crate::pool::unheld(&config.pools, &scan(&roots, &Needs::default()).unwrap().snapshot);
    metrics.pools(pools.iter().map(|(pool, _)| pool));
    metrics.allocation(&resource(), Duration::from_micros(300), true);
    metrics.registration(&resource(), Epoch::default(), Registration::Registered);
    metrics.reconciled("restored");
    metrics.text()
}

/// The labels of the first sample of a metric, without those that Prometheus adds.
fn labels(text: &str, name: &str) -> Vec<String> {
    let is_sample = |line: &&str| line.starts_with(name) && !line.starts_with('#');
    let sample = text.lines().find(is_sample).unwrap_or_else(|| panic!("no sample of {name}"));
    let inner = sample.split_once('{').map(|(_, rest)| rest.split_once('}').unwrap().0).unwrap_or_default();
    let names = inner.split(',').filter(|label| !label.is_empty());
    names.map(|label| label.split_once('=').unwrap().0.to_owned()).filter(|label| label != "le").collect()
}

#[test]
fn the_page_of_metrics_has_every_metric_and_no_other() {
    let text = everything();
    let of = |line: &str, kind: &str| {
        line.strip_prefix(kind)
            .and_then(|rest| rest.split_once(' '))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let helps: Vec<(String, String)> = text.lines().filter_map(|line| of(line, "# HELP ")).collect();
    let types: Vec<(String, String)> = text.lines().filter_map(|line| of(line, "# TYPE ")).collect();
    let exported: Vec<String> = helps
        .iter()
        .zip(&types)
        .map(|((name, help), (_, kind))| {
            let labels: Vec<String> =
                labels(&text, name).into_iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { " ".to_owned() } else { format!(" {} ", labels.join(", ")) };
            format!("| `{name}` | {kind} |{labels}| {} |", help.trim_end_matches('.'))
        })
        .collect();
    let page = include_str!("../../../docs/metrics.md");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `sriovdp_")).collect();
    assert_eq!(told, exported);
}

#[test]
fn the_dashboard_asks_for_what_is_exported() {
    let text = everything();
    let exported: std::collections::BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap_or_default())
        .collect();
    let dashboard = include_str!("../../../deploy/grafana/sriovdp.json");
    serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let asked: std::collections::BTreeSet<&str> =
        dashboard.split(|c: char| !is_name(c)).filter(|word| word.starts_with("sriovdp_")).collect();
    assert!(asked.len() > 8, "{asked:?}");
    let missing: Vec<_> = asked.difference(&exported).collect();
    assert!(missing.is_empty(), "{missing:?} of {exported:?}");
}

#[test]
fn a_front_that_ends_late_takes_nothing_from_the_one_after_it() {
    let metrics = Metrics::new();
    metrics.configuration(1, None);
    let (old, new) = (metrics.epoch(), metrics.epoch());
    metrics.registration(&resource(), old, Registration::Registered);
    metrics.registration(&resource(), new, Registration::Waiting("not yet".into()));
    metrics.registration(&resource(), old, Registration::Registered);
    assert_eq!(metrics.readiness().reasons, ["pool intel.com/net: not yet"]);
    metrics.forget(&resource(), old);
    let gauge = |line: &str| metrics.text().lines().any(|found| found == line);
    assert!(!metrics.readiness().ready && gauge(r#"sriovdp_pool_registered{resource="intel.com/net"} 0"#));
    metrics.registration(&resource(), new, Registration::Registered);
    assert!(metrics.readiness().ready && gauge(r#"sriovdp_pool_registered{resource="intel.com/net"} 1"#));
    metrics.forget(&resource(), new);
    assert!(!metrics.text().contains("sriovdp_pool_registered{"));
}
