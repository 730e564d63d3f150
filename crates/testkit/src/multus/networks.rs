//! The `k8s.v1.cni.cncf.io/networks` annotation, in both its forms, and the objects that it names.
//! It must not know of devices or plugins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The annotation of a network that says which device it wants.
pub const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// A `NetworkAttachmentDefinition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nad {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The `k8s.v1.cni.cncf.io/resourceName` annotation.
    pub resource: Option<String>,
    /// `spec.config`, parsed: one plugin's configuration or a list of plugins.
    pub config: Value,
}

impl Nad {
    /// A network without a device.
    pub fn new(namespace: &str, name: &str, config: Value) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), resource: None, config }
    }

    /// Sets the resource from which each attachment takes a device.
    #[must_use]
    pub fn resource(mut self, name: &str) -> Self {
        self.resource = Some(name.to_owned());
        self
    }

    /// Reads a manifest.
    pub fn from_manifest(manifest: &Value) -> Result<Self> {
        let kind = &manifest["kind"];
        ensure!(
            kind == "NetworkAttachmentDefinition",
            "kind is {kind}, wanted a NetworkAttachmentDefinition"
        );
        let metadata = &manifest["metadata"];
        let name = metadata["name"].as_str().context("the network has no metadata.name")?;
        let config =
            manifest["spec"]["config"].as_str().with_context(|| format!("{name}: no spec.config"))?;
        let config = serde_json::from_str(config).with_context(|| format!("{name}: spec.config"))?;
        let mut nad = Self::new(metadata["namespace"].as_str().unwrap_or("default"), name, config);
        nad.resource = metadata["annotations"][RESOURCE_NAME].as_str().map(str::to_owned);
        Ok(nad)
    }
}

/// One element of the annotation: which network, and what the pod wants of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selection {
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(alias = "interfaceRequest")]
    pub(super) interface: String,
    pub(super) mac: String,
    pub(super) ips: Vec<String>,
    #[serde(rename = "infiniband-guid")]
    pub(super) infiniband_guid: String,
    pub(super) port_mappings: Value,
    pub(super) bandwidth: Value,
    #[serde(rename = "cni-args")]
    pub(super) cni_args: Map<String, Value>,
    #[serde(rename = "deviceID")]
    pub(super) device_id: String,
}

/// Reads the annotation of a pod in `namespace`. Multus takes it as JSON as soon as there is a `[`, `{` or `"` in it.
pub(super) fn parse(annotation: &str, namespace: &str) -> Result<Vec<Selection>> {
    let mut selections: Vec<Selection> = if annotation.contains(['[', '{', '"']) {
        serde_json::from_str(annotation).context("the networks annotation")?
    } else {
        annotation
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(short)
            .collect::<Result<_>>()?
    };
    for selection in &mut selections {
        ensure!(!selection.name.is_empty(), "the networks annotation: an element without a name");
        if selection.namespace.is_empty() {
            namespace.clone_into(&mut selection.namespace);
        }
        if !selection.mac.is_empty() {
            hardware_address(&selection.mac, 6)?;
        }
        if !selection.infiniband_guid.is_empty() {
            hardware_address(&selection.infiniband_guid, 8)?;
        }
        selection.ips.iter().try_for_each(|ip| address(ip))?;
    }
    Ok(selections)
}

/// `[<namespace>/]<name>[@<interface>]`.
fn short(item: &str) -> Result<Selection> {
    let (path, interface) = item.split_once('@').unwrap_or((item, ""));
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    for part in [namespace, name].into_iter().filter(|part| !part.is_empty() || *part == name) {
        let word = part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        ensure!(
            word && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-'),
            "the networks annotation: an item is no [namespace/]name[@interface], mismatch @ '{part}'"
        );
    }
    let named = interface.len() <= 15 && !interface.contains(|c: char| c == '/' || c.is_whitespace());
    ensure!(named, "the networks annotation: '{interface}' is no interface name");
    Ok(Selection {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        interface: interface.to_owned(),
        ..Selection::default()
    })
}

fn hardware_address(text: &str, bytes: usize) -> Result<()> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let hex = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    ensure!(
        parts.len() == bytes && parts.iter().all(hex),
        "'{text}' is no hardware address of {bytes} bytes"
    );
    Ok(())
}

fn address(text: &str) -> Result<()> {
    let (ip, length) = text.split_once('/').unwrap_or((text, "0"));
    let Ok(ip) = ip.parse::<IpAddr>() else { bail!("'{text}' is neither an address nor a CIDR") };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    ensure!(length.parse::<u8>().is_ok_and(|length| length <= most), "'{text}': no such prefix length");
    Ok(())
}

/// The networks that exist, by namespace and name.
pub(super) type Nads = BTreeMap<(String, String), Nad>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form() {
        let said = parse("a, ns2/b@north ,a", "ns1").unwrap();
        let named = |s: &Selection| format!("{}/{}@{}", s.namespace, s.name, s.interface);
        assert_eq!(said.iter().map(named).collect::<Vec<_>>(), ["ns1/a@", "ns2/b@north", "ns1/a@"]);
        assert!(parse("", "ns").unwrap().is_empty());
    }

    #[test]
    fn the_json_form() {
        let said = parse(
            r#"[{"name":"a","namespace":"n","interface":"x1","mac":"02:00:00:00:00:01","ips":["192.0.2.1/24","2001:db8::1"],
                 "cni-args":{"k":1},"deviceID":"0000:01:00.0","default-route":["192.0.2.254"]},
                {"name":"b","interfaceRequest":"x2"}]"#,
            "ns",
        )
        .unwrap();
        assert_eq!(said[0].mac, "02:00:00:00:00:01");
        assert_eq!((said[0].ips.len(), said[0].cni_args["k"].as_u64()), (2, Some(1)));
        assert_eq!(said[0].device_id, "0000:01:00.0");
        assert_eq!((said[1].namespace.as_str(), said[1].interface.as_str()), ("ns", "x2"));
    }

    #[test]
    fn what_multus_refuses() {
        // The value that an EKS guide gives: it names a resource, not a network.
        let error = parse("amazon.com/sriov_dpdk_1", "ns").unwrap_err().to_string();
        assert!(error.ends_with("mismatch @ 'amazon.com'"), "{error}");
        for bad in [
            "a/b/c",
            "A",
            "a@toolonginterface",
            "a@x/y",
            "a,/",
            "[{}]",
            "[{\"name\":1}]",
            "{\"name\":\"a\"}",
            r#"[{"name":"a","mac":"02:00"}]"#,
            r#"[{"name":"a","ips":["192.0.2.1/33"]}]"#,
        ] {
            assert!(parse(bad, "ns").is_err(), "{bad}");
        }
    }
}
