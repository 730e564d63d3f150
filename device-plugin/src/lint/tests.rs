use super::*;

fn report(pools: &str) -> Report {
    let text = format!(r#"{{"resourceList":[{pools}]}}"#);
    let config = Config::parse(text.as_bytes(), "intel.com");
    let config = config.map_err(|source| Error::Invalid { path: "c.json".into(), source });
    check(&config, Path::new("/var/lib/kubelet"))
}

fn found(pools: &str) -> Vec<String> {
    report(pools).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_file_has_no_findings() {
    let report = report(
        r#"{"resourceName":"a","selectors":{"vendors":["8086"],"pfNames":["pf0#0-3"]},"additionalInfo":{"*":{"k":"v"}}},
           {"resourceName":"b-c","selectors":[{"pfNames":["pf0#4"]},{"drivers":["vfio-pci"]}]}"#,
    );
    assert_eq!(report.text(), "2 pools, 0 errors, 0 warnings\n");
    assert!(!report.failed());
}

#[test]
fn what_makes_the_file_or_a_pool_unusable_is_an_error() {
    assert!(report("").failed());
    assert_eq!(report(r#"{"resourceName":"a","selectors":[]}"#).findings[0].severity, Severity::Error);
    let name = "x".repeat(80);
    let long = report(&format!(r#"{{"resourceName":"{name}","selectors":{{}}}}"#));
    assert!(long.failed() && long.findings[0].message.contains("is 129 bytes long"), "{:?}", long.findings);
}

#[test]
fn names_that_others_do_not_take() {
    let of = |prefix: &str, name: &str| {
        found(&format!(r#"{{"resourcePrefix":"{prefix}","resourceName":"{name}","selectors":{{}}}}"#))
    };
    assert!(of("a.b", "a_")[0].contains("a letter or digit at both ends"));
    assert!(of("4a.b", "a")[0].contains("is no CDI vendor"));
    let two = found(
        r#"{"resourceName":"a-b","selectors":{"vendors":["8086"]}},{"resourceName":"a_b","selectors":{}}"#,
    );
    assert!(two[0].contains("PCIDEVICE_INTEL_COM_A-B") && two[0].contains("another pool's"), "{two:?}");
}

#[test]
fn selectors_that_take_nothing() {
    let of = |selectors: &str| found(&format!(r#"{{"resourceName":"a","selectors":{selectors}}}"#));
    let upper = of(r#"{"devices":["154C"]}"#);
    assert_eq!(upper.len(), 2);
    assert!(upper[1].ends_with("selectors[0] can never match, because of devices"), "{upper:?}");
    let shadowed = of(r#"[{"vendors":["8086"]},{"vendors":["8086"],"drivers":["iavf"]}]"#);
    assert!(shadowed[0].contains("selectors[1] takes nothing: selectors[0]"), "{shadowed:?}");
    let extras = of(r#"[{"drivers":["mlx5_core"]},{"drivers":["mlx5_core"],"isRdma":true}]"#);
    assert!(extras[0].contains("takes nothing and adds nothing"), "{extras:?}");
    let other = found(
        r#"{"resourceName":"all","selectors":{}},{"resourceName":"some","selectors":{"pfNames":["pf0"]}},
           {"resourceName":"fec","deviceType":"accelerator","selectors":{}}"#,
    );
    assert_eq!(other.len(), 1, "{other:?}");
    assert!(other[0].contains("pool intel.com/all takes all of it before"), "{other:?}");
}

#[test]
fn keys_of_additional_information() {
    let of = |key: &str| {
        found(&format!(r#"{{"resourceName":"a","selectors":{{}},"additionalInfo":{{"{key}":{{"a":"b"}}}}}}"#))
    };
    assert!(of("0000:3b:02.1").is_empty());
    assert!(of("3b:02.1")[0].contains("is not a PCI address"));
    assert!(of("mlx5_core.sf.2")[0].contains("the address of the function"));
}

#[test]
fn as_json() {
    let json: serde_json::Value = serde_json::from_str(&report("").json()).unwrap();
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["pools"], serde_json::json!([]));
}
