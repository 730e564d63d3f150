//! The Helm chart: with its own values it is what `base/` is, and with each overlay it is whole. Rendered by the few lines
//! below, which take what the chart uses of the template language and nothing else.

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::manifests;

use crate::deploy::{deploy, documents};

/// The chart's documents with these values over its own.
fn rendered(over: Option<&str>) -> Vec<Value> {
    let mut values = read(deploy().join("chart/values.yaml"));
    if let Some(over) = over {
        let over = read(deploy().join("overlays").join(over));
        for key in over.as_object().unwrap().keys() {
            assert!(values.get(key).is_some(), "{key} is no value of the chart");
        }
        merge(&mut values, over);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(deploy().join("chart/templates"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let render = |file: &PathBuf| manifests::parse(&render(&std::fs::read_to_string(file).unwrap(), &values));
    files
        .iter()
        .flat_map(|file| render(file).unwrap_or_else(|error| panic!("{}: {error:#}", file.display())))
        .collect()
}

fn read(file: PathBuf) -> Value {
    manifests::parse(&std::fs::read_to_string(file).unwrap()).unwrap().remove(0)
}

/// As Helm lays values over values: maps are merged, all else is replaced.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

fn render(text: &str, values: &Value) -> String {
    let mut lines = text.lines();
    let mut done = String::new();
    while let Some(line) = lines.next() {
        let Some(list) = line.trim().strip_prefix("{{- range ").and_then(|rest| rest.strip_suffix(" }}"))
        else {
            done += &(expressions(line, values, &Value::Null) + "\n");
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "{{- end }}").collect();
        for item in looked_up(list, values, &Value::Null).as_array().unwrap() {
            for line in &body {
                done += &(expressions(line, values, item) + "\n");
            }
        }
    }
    done
}

/// `{{ .Values.a.b | toJson }}` and the like in one line.
fn expressions(line: &str, values: &Value, dot: &Value) -> String {
    let Some((before, rest)) = line.split_once("{{ ") else { return line.to_owned() };
    let (expression, after) = rest.split_once(" }}").unwrap();
    let mut words = expression.split(" | ");
    let mut value = looked_up(words.next().unwrap(), values, dot);
    for filter in words {
        assert_eq!(filter, "toJson", "{line}");
        value = Value::String(value.to_string());
    }
    let shown = value.as_str().unwrap_or_else(|| panic!("{line}: {value} is no text"));
    before.to_owned() + shown + &expressions(after, values, dot)
}

fn looked_up(path: &str, values: &Value, dot: &Value) -> Value {
    match path {
        "." => dot.clone(),
        ".Release.Namespace" => json!("kube-system"),
        _ => {
            let path = path.strip_prefix(".Values").unwrap_or_else(|| panic!("{path} is not of this test"));
            values
                .pointer(&path.replace('.', "/"))
                .unwrap_or_else(|| panic!("there is no value {path}"))
                .clone()
        }
    }
}

/// Without what is empty, and with the configuration as what it says.
fn meaning(mut document: Value) -> Value {
    if let Some(spec) = document.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        spec.retain(|_, value| *value != json!({}));
    }
    if let Some(text) = document.pointer("/data/config.json").and_then(Value::as_str).map(str::to_owned) {
        document["data"]["config.json"] = serde_json::from_str(&text).unwrap();
    }
    document
}

#[test]
fn with_its_own_values_the_chart_is_the_base() {
    let kinds = ["ConfigMap", "DaemonSet", "ServiceAccount"];
    let of = |all: &[Value], kind: &str| -> Vec<Value> {
        all.iter().filter(|document| document["kind"] == kind).cloned().map(meaning).collect()
    };
    let chart = rendered(None);
    for kind in kinds {
        let base = of(&documents("base", kind), kind);
        assert!(!base.is_empty());
        assert_eq!(of(&chart, kind), base, "change chart/templates and base/ alike");
    }
    assert!(chart.iter().all(|document| kinds.iter().any(|kind| document["kind"] == *kind)));
}

#[test]
fn every_overlay_sets_values_that_the_chart_has() {
    let mut overlays: Vec<String> = std::fs::read_dir(deploy().join("overlays"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    overlays.sort();
    assert_eq!(overlays, ["eks.yaml", "k3s.yaml", "rke2.yaml", "talos.yaml"]);
    for overlay in overlays {
        let documents = rendered(Some(&overlay));
        assert_eq!(documents.len(), 4, "{overlay}");
    }
}

/// What a folder of the node is inside, in a pod of this `DaemonSet`.
fn inside(documents: &[Value], set: &str, host: &str) -> Option<String> {
    let spec = &documents.iter().find(|document| document["metadata"]["name"] == set).unwrap()["spec"]["template"]
        ["spec"];
    let volume =
        spec["volumes"].as_array().unwrap().iter().find(|volume| volume["hostPath"]["path"] == host)?;
    let mounts = spec["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
    Some(mount["mountPath"].as_str().unwrap().to_owned())
}

#[test]
fn on_k3s_plugins_go_where_it_looks_and_its_links_lead_somewhere() {
    let documents = rendered(Some("k3s.yaml"));
    let into = inside(&documents, "kube-sriov-cni-ds", "/var/lib/rancher/k3s/data/cni").unwrap();
    let installer =
        documents.iter().find(|document| document["metadata"]["name"] == "kube-sriov-cni-ds").unwrap();
    assert_eq!(installer["spec"]["template"]["spec"]["containers"][0]["args"][1], into);
    let data = "/var/lib/rancher/k3s/data";
    assert_eq!(inside(&documents, "kube-sriov-device-plugin", data).unwrap(), data, "the links are absolute");
}

#[test]
fn a_mount_has_a_volume_and_the_kubelet_sees_its_sockets_by_the_same_path() {
    for overlay in [None, Some("eks.yaml"), Some("k3s.yaml"), Some("rke2.yaml"), Some("talos.yaml")] {
        for set in rendered(overlay).iter().filter(|document| document["kind"] == "DaemonSet") {
            let template = &set["spec"]["template"];
            let labels = template["metadata"]["labels"].as_object().unwrap();
            let wanted = set["spec"]["selector"]["matchLabels"].as_object().unwrap();
            assert!(wanted.iter().all(|(key, value)| labels.get(key) == Some(value)), "{set}");
            let spec = &template["spec"];
            let names = |list: &Value| -> Vec<String> {
                let mut names: Vec<String> = list
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|of| of["name"].as_str().unwrap().to_owned())
                    .collect();
                names.sort();
                names
            };
            assert_eq!(names(&spec["volumes"]), names(&spec["containers"][0]["volumeMounts"]), "{overlay:?}");
        }
        let documents = rendered(overlay);
        // In its answers to the kubelet the daemon names its sockets by the path that it sees.
        for folder in ["device-plugins", "plugins_registry", "pod-resources"] {
            let path = format!("/var/lib/kubelet/{folder}");
            assert_eq!(inside(&documents, "kube-sriov-device-plugin", &path).unwrap(), path);
        }
    }
}
