//! The `k8s.v1.cni.cncf.io/network-status` annotation, made of a plugin's result.
//! It must not ask the kernel: what a plugin does not say is not there.

use serde_json::{Map, Value, json};

/// The entries for one network: one for each interface of the result that is in the pod.
pub(super) fn entries(network: &str, result: &Value, device_info: Option<&Value>) -> Vec<Value> {
    let list = |key: &str| result[key].as_array().cloned().unwrap_or_default();
    let mut entries: Vec<(usize, Map<String, Value>)> = Vec::new();
    for (index, interface) in list("interfaces").into_iter().enumerate() {
        if interface["sandbox"].as_str().is_none_or(str::is_empty) {
            continue;
        }
        let mut entry = Map::from_iter([("name".to_owned(), json!(network)), ("dns".to_owned(), json!({}))]);
        for (from, to) in [("name", "interface"), ("mac", "mac"), ("mtu", "mtu")] {
            if let Some(value) = interface.get(from) {
                entry.insert(to.to_owned(), value.clone());
            }
        }
        entries.push((index, entry));
    }
    for ip in list("ips") {
        let at = ip["interface"].as_u64().and_then(|wanted| {
            entries.iter().position(|(index, _)| u64::try_from(*index).is_ok_and(|index| index == wanted))
        });
        // An address that names no interface of the pod goes to the last one.
        let at = at.unwrap_or(entries.len().saturating_sub(1));
        let address = ip["address"].as_str().and_then(|address| address.split('/').next());
        if let (Some((_, entry)), Some(address)) = (entries.get_mut(at), address) {
            push(entry, "ips", json!(address));
        }
    }
    let default = |route: &Value| matches!(route["dst"].as_str(), Some("0.0.0.0/0" | "::/0"));
    for route in list("routes").iter().filter(|route| default(route)) {
        if let (Some((_, entry)), Some(gateway)) = (entries.last_mut(), route.get("gw")) {
            push(entry, "gateway", gateway.clone());
        }
    }
    let finish = |(_, mut entry): (usize, Map<String, Value>)| {
        if let Some(dns) = result.get("dns").filter(|dns| dns.is_object()) {
            entry.insert("dns".to_owned(), dns.clone());
        }
        if let Some(info) = device_info {
            entry.insert("device-info".to_owned(), info.clone());
        }
        Value::Object(entry)
    };
    entries.into_iter().map(finish).collect()
}

fn push(entry: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(list) = entry.entry(key).or_insert_with(|| json!([])).as_array_mut() {
        list.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_pod_is_told() {
        let result = json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "br0"},
                {"name": "net1", "mac": "02:00:00:00:00:01", "mtu": 1500, "sandbox": "/run/netns/p"},
                {"name": "net1.5", "sandbox": "/run/netns/p"}],
            "ips": [{"address": "192.0.2.5/24", "interface": 1}, {"address": "2001:db8::5/64"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}, {"dst": "198.51.100.0/24"}],
        });
        let info = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:01:00.1"}});
        assert_eq!(
            entries("ns/net", &result, Some(&info)),
            [
                json!({"name": "ns/net", "interface": "net1", "mac": "02:00:00:00:00:01", "mtu": 1500, "dns": {},
                    "ips": ["192.0.2.5"], "device-info": info}),
                json!({"name": "ns/net", "interface": "net1.5", "dns": {}, "ips": ["2001:db8::5"],
                    "gateway": ["192.0.2.1"], "device-info": info}),
            ]
        );
        assert!(entries("ns/net", &json!({}), Some(&info)).is_empty());
    }
}
