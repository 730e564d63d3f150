//! Which device goes to which network: a pod's devices as `PodResources` lists them, dealt out in annotation order.
//! It must not ask the kubelet itself.

use std::collections::BTreeMap;

use kubelet_api::pod_resources::PodResources;

use crate::pod::Pod;

/// A pod's devices by resource, with how many of each were dealt out.
#[derive(Debug, Default)]
pub(super) struct Deck(BTreeMap<String, (Vec<String>, usize)>);

impl Deck {
    /// Merges the devices of all containers of `pod`. Multus looks for its name and namespace and knows no uid. Version
    /// 4.3.0 sorts each list; the versions before and after it leave the kubelet's order.
    pub(super) fn of(pod: &Pod, listed: &[PodResources], sorted: bool) -> Self {
        let mut deck = Self::default();
        let same = |entry: &&PodResources| entry.name == pod.name && entry.namespace == pod.namespace;
        for entry in listed.iter().filter(same).flat_map(|entry| &entry.containers).flat_map(|c| &c.devices) {
            deck.0.entry(entry.resource_name.clone()).or_default().0.extend(entry.device_ids.iter().cloned());
        }
        if sorted {
            deck.0.values_mut().for_each(|(ids, _)| ids.sort());
        }
        deck
    }

    /// The next device of `resource`. None when there is none or none is left: Multus goes on without a word.
    pub(super) fn deal(&mut self, resource: &str) -> Option<String> {
        let (ids, dealt) = self.0.get_mut(resource)?;
        *dealt += 1;
        ids.get(*dealt - 1).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubelet_api::pod_resources::{ContainerDevices, ContainerResources};

    fn listed(containers: &[&[(&str, &[&str])]]) -> PodResources {
        let devices = |list: &[(&str, &[&str])]| {
            list.iter()
                .map(|(resource, ids)| ContainerDevices {
                    resource_name: (*resource).into(),
                    device_ids: ids.iter().map(|id| (*id).into()).collect(),
                    topology: None,
                })
                .collect()
        };
        let containers =
            containers.iter().map(|list| ContainerResources { devices: devices(list), ..Default::default() });
        PodResources {
            name: "p".into(),
            namespace: "n".into(),
            containers: containers.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn containers_are_merged_and_dealt_in_order() {
        let listed = [listed(&[&[("x", &["3"]), ("y", &["9"])], &[("x", &["1"]), ("x", &["2"])]])];
        let pod = Pod::new("n", "p");
        let mut deck = Deck::of(&pod, &listed, false);
        let all = |deck: &mut Deck| [deck.deal("x"), deck.deal("x"), deck.deal("x"), deck.deal("x")];
        assert_eq!(all(&mut deck), [Some("3".into()), Some("1".into()), Some("2".into()), None]);
        assert_eq!((deck.deal("y"), deck.deal("z")), (Some("9".into()), None));
        let mut sorted = Deck::of(&pod, &listed, true);
        assert_eq!(all(&mut sorted), [Some("1".into()), Some("2".into()), Some("3".into()), None]);
        assert_eq!(Deck::of(&Pod::new("other", "p"), &listed, false).deal("x"), None);
    }
}
