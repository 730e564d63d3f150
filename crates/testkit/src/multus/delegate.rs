//! One network of one pod, ready to be called: what Multus changes in the configuration, and what it asks of the plugins.
//! It must not run anything.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::networks::{Nad, Selection};
use crate::pod::Pod;

/// A network of a pod. Multus keeps these on disk between ADD and DEL, and so is this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Delegate {
    /// `<namespace>/<name>` of the network object.
    pub(super) network: String,
    /// The network's name in its configuration.
    pub(super) name: String,
    pub(super) cni_version: Option<String>,
    /// The plugins' configurations, in the order of ADD.
    pub(super) plugins: Vec<Value>,
    pub(super) ifname: String,
    pub(super) resource: Option<String>,
    /// The device that came from the resource.
    pub(super) device: Option<String>,
    /// What is offered as `runtimeConfig`, by capability.
    pub(super) offered: Map<String, Value>,
    /// `CNI_ARGS` beyond those that name the pod.
    pub(super) args: Vec<(String, String)>,
}

impl Delegate {
    /// Joins a network, what the pod wants of it, and its device. `ifname` is the name that it gets unless it asks for one.
    pub(super) fn new(nad: &Nad, wish: &Selection, device: Option<String>, ifname: String) -> Result<Self> {
        let config =
            nad.config.as_object().with_context(|| format!("{}: spec.config is no object", nad.name))?;
        let plugins = if config.contains_key("type") {
            vec![nad.config.clone()]
        } else {
            let list = config.get("plugins").and_then(Value::as_array);
            list.with_context(|| format!("{}: spec.config has neither type nor plugins", nad.name))?.clone()
        };
        let text = |key: &str| config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut delegate = Self {
            network: format!("{}/{}", nad.namespace, nad.name),
            name: text("name").unwrap_or(&nad.name).to_owned(),
            cni_version: text("cniVersion").map(str::to_owned),
            plugins,
            ifname: if wish.interface.is_empty() { ifname } else { wish.interface.clone() },
            resource: nad.resource.clone(),
            device,
            offered: Map::new(),
            args: Vec::new(),
        };
        delegate.change_plugins(wish);
        delegate.offer(wish);
        Ok(delegate)
    }

    /// The device and the annotation's `cni-args` go into every plugin of a list, whether it knows them or not.
    fn change_plugins(&mut self, wish: &Selection) {
        for plugin in self.plugins.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(device) = &self.device {
                plugin.insert("deviceID".to_owned(), json!(device));
                plugin.insert("pciBusID".to_owned(), json!(device));
            }
            if !wish.cni_args.is_empty() {
                let args = object(plugin, "args");
                object(args, "cni").extend(wish.cni_args.clone());
            }
        }
    }

    fn offer(&mut self, wish: &Selection) {
        let device = self.device.clone().unwrap_or_else(|| wish.device_id.clone());
        let wishes = [
            ("mac", json!(wish.mac)),
            ("ips", json!(wish.ips)),
            ("infinibandGUID", json!(wish.infiniband_guid)),
            ("portMappings", wish.port_mappings.clone()),
            ("bandwidth", wish.bandwidth.clone()),
            ("deviceID", json!(device)),
        ];
        let said = |value: &Value| *value != Value::Null && *value != json!("") && *value != json!([]);
        for (capability, value) in wishes.into_iter().filter(|(_, value)| said(value)) {
            self.offered.insert(capability.to_owned(), value);
        }
        if !wish.mac.is_empty() {
            self.args.push(("MAC".to_owned(), wish.mac.clone()));
        }
        if !wish.ips.is_empty() {
            self.args.push(("IP".to_owned(), wish.ips.join(",")));
        }
    }

    /// `CNI_ARGS` for this network of `pod` in a sandbox.
    pub(super) fn cni_args(&self, pod: &Pod, container_id: &str) -> String {
        let pairs = [
            ("IgnoreUnknown", "true"),
            ("K8S_POD_NAMESPACE", &pod.namespace),
            ("K8S_POD_NAME", &pod.name),
            ("K8S_POD_INFRA_CONTAINER_ID", container_id),
            ("K8S_POD_UID", &pod.uid),
        ];
        let asked = self.args.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let pairs: Vec<String> =
            pairs.into_iter().chain(asked).map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(";")
    }

    /// What libcni hands to one plugin: the network's name and version, the result so far, and as `runtimeConfig` whatever
    /// is offered and declared `true` under `capabilities`.
    pub(super) fn conf(&self, plugin: &Value, prev_result: Option<&Value>) -> Value {
        let mut conf = plugin.clone();
        conf["name"] = json!(self.name);
        if let Some(version) = &self.cni_version {
            conf["cniVersion"] = json!(version);
        }
        if let Some(result) = prev_result {
            conf["prevResult"] = result.clone();
        }
        let declared = |capability: &String| plugin["capabilities"][capability.as_str()] == true;
        let runtime: Map<String, Value> =
            self.offered.clone().into_iter().filter(|(capability, _)| declared(capability)).collect();
        if !runtime.is_empty() {
            conf["runtimeConfig"] = Value::Object(runtime);
        }
        conf
    }

    /// Whether DEL is given the result of ADD: from version 0.4.0 on.
    pub(super) fn remembers_results(&self) -> bool {
        !matches!(self.cni_version.as_deref(), None | Some("0.1.0" | "0.2.0" | "0.3.0" | "0.3.1"))
    }
}

/// The object at `key`, made if it is not there.
fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let child = parent.entry(key).or_insert_with(|| json!({}));
    if !child.is_object() {
        *child = json!({});
    }
    child.as_object_mut().expect("it was just made one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multus::networks::parse;

    #[test]
    fn a_device_goes_into_every_plugin_and_wishes_only_where_declared() {
        let nad = Nad::new(
            "ns",
            "net",
            json!({"cniVersion": "1.0.0", "plugins": [
                {"type": "sriov", "vlan": 100, "deviceID": "pinned", "capabilities": {"mac": true, "ips": false}},
                {"type": "tuning"}]}),
        );
        let wish =
            r#"[{"name":"net","mac":"02:00:00:00:00:01","ips":["192.0.2.1/24"],"cni-args":{"k":"v"}}]"#;
        let wish = parse(wish, "ns").unwrap().remove(0);
        let delegate = Delegate::new(&nad, &wish, Some("0000:01:00.1".into()), "net1".into()).unwrap();
        assert_eq!(
            delegate.conf(&delegate.plugins[0], None),
            json!({"type": "sriov", "vlan": 100, "name": "net", "cniVersion": "1.0.0",
                "deviceID": "0000:01:00.1", "pciBusID": "0000:01:00.1", "args": {"cni": {"k": "v"}},
                "capabilities": {"mac": true, "ips": false}, "runtimeConfig": {"mac": "02:00:00:00:00:01"}})
        );
        assert_eq!(
            delegate.conf(&delegate.plugins[1], Some(&json!({"r": 1}))),
            json!({"type": "tuning", "name": "net", "cniVersion": "1.0.0", "deviceID": "0000:01:00.1",
                "pciBusID": "0000:01:00.1", "args": {"cni": {"k": "v"}}, "prevResult": {"r": 1}})
        );
        let pod = Pod { uid: "u".into(), ..Pod::new("ns", "p") };
        assert_eq!(
            delegate.cni_args(&pod, "c1"),
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u;\
             MAC=02:00:00:00:00:01;IP=192.0.2.1/24"
        );
    }

    #[test]
    fn a_single_plugin_without_device_is_left_alone() {
        let nad = Nad::new(
            "ns",
            "net",
            json!({"type": "host-device", "name": "own", "capabilities": {"deviceID": true}}),
        );
        let wish = parse(r#"[{"name":"net","interface":"dpdk0","deviceID":"0000:02:00.0"}]"#, "ns")
            .unwrap()
            .remove(0);
        let delegate = Delegate::new(&nad, &wish, None, "net1".into()).unwrap();
        assert_eq!((delegate.ifname.as_str(), delegate.remembers_results()), ("dpdk0", false));
        assert_eq!(
            delegate.conf(&delegate.plugins[0], None),
            json!({"type": "host-device", "name": "own", "capabilities": {"deviceID": true},
                "runtimeConfig": {"deviceID": "0000:02:00.0"}})
        );
        assert!(Delegate::new(&Nad::new("ns", "net", json!({})), &wish, None, "net1".into()).is_err());
    }
}
