//! Which device a pod holds, and as what: a device that is held is offered as that and as nothing else.
//! It must not ask the kubelet: what the kubelet says comes in as `Held`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Pool;
use crate::holdings::Held;
use crate::inventory::DeviceId;

/// The resource of every device that is held, as `<prefix>/<name>`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holds(BTreeMap<DeviceId, String>);

impl Holds {
    /// The resource that a device is held as; `None` where nobody holds it.
    pub fn get(&self, device: &DeviceId) -> Option<&str> {
        self.0.get(device).map(String::as_str)
    }

    /// Every device that is held, with its resource.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.0.iter().map(|(id, resource)| (id, resource.as_str()))
    }

    /// Adds what is held elsewhere and not here.
    pub fn add(&mut self, other: &Self) {
        for (id, resource) in &other.0 {
            self.0.entry(id.clone()).or_insert_with(|| resource.clone());
        }
    }

    /// Takes every device of these pools for held that is not yet: who cannot tell what is held must move nothing.
    pub fn all_in_place(&mut self, pools: &[Arc<Pool>]) {
        for pool in pools {
            for device in &pool.devices {
                self.0.entry(device.id()).or_insert_with(|| pool.config.resource.to_string());
            }
        }
    }
}

impl From<&Held> for Holds {
    fn from(held: &Held) -> Self {
        held.iter().map(|(id, holder)| (id.clone(), holder.resource.clone())).collect()
    }
}

impl FromIterator<(DeviceId, String)> for Holds {
    fn from_iter<T: IntoIterator<Item = (DeviceId, String)>>(holds: T) -> Self {
        Self(holds.into_iter().collect())
    }
}

/// What this process has handed out and the kubelet may not tell of yet: a device counts as held from the moment in which
/// it is given. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Grants(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    doubt: Notify,
}

/// Under one lock: between a look at one and a change of the other nothing falls.
#[derive(Debug, Default)]
struct State {
    given: HashMap<DeviceId, Grant>,
    /// What must not be given now, and why.
    barred: BTreeMap<DeviceId, String>,
}

#[derive(Clone, Debug)]
struct Grant {
    resource: String,
    at: Instant,
    /// When the kubelet was asked that told of it first.
    told: Option<Instant>,
}

impl Grants {
    /// How long after a grant the kubelet may not tell of it. It notes the answer to `Allocate` as soon as it has it.
    const UNTOLD: Duration = Duration::from_secs(10);

    /// Notes that a device was given as `resource`.
    pub fn note(&self, device: DeviceId, resource: String, now: Instant) {
        self.state().given.insert(device, Grant { resource, at: now, told: None });
    }

    /// Notes that all of these are given as `resource`; or none, and says which of them must not be and why.
    pub fn give(&self, devices: &[DeviceId], resource: &str, now: Instant) -> Result<(), (DeviceId, String)> {
        let mut state = self.state();
        let barred = |device: &DeviceId| Some((device.clone(), state.barred.get(device)?.clone()));
        if let Some(barred) = devices.iter().find_map(barred) {
            return Err(barred);
        }
        let grant = Grant { resource: resource.to_owned(), at: now, told: None };
        let grant = |device: &DeviceId| (device.clone(), grant.clone());
        state.given.extend(devices.iter().map(grant));
        Ok(())
    }

    /// What must not be given from now on: all of it, not what is new. A device that was given a moment ago is not barred any
    /// more: a pod has it.
    pub fn bar(&self, mut devices: BTreeMap<DeviceId, String>, now: Instant) {
        let mut state = self.state();
        devices.retain(|device, _| !state.is_given(device, now, now));
        state.barred = devices;
    }

    /// The kubelet told of these to a question of `asked`: from then on it alone says whether they are held.
    pub fn told(&self, held: &Held, asked: Instant) {
        for (device, grant) in &mut self.state().given {
            grant.hear(held.get(device).is_some(), asked);
        }
    }

    /// Whether a device was given so lately that the kubelet's answer to a question of `asked` may not tell of it.
    pub fn is_given(&self, device: &DeviceId, asked: Instant, now: Instant) -> bool {
        self.state().is_given(device, asked, now)
    }

    /// Adds to what the kubelet told, when it was asked at `asked`, what it could not know. A grant that it told of counts no
    /// more: the kubelet will also tell of its end.
    pub fn add_to(&self, told: &mut Holds, asked: Instant) {
        for (device, grant) in &mut self.state().given {
            grant.hear(told.0.contains_key(device), asked);
            if grant.counts(asked, asked) {
                told.0.insert(device.clone(), grant.resource.clone());
            }
        }
    }

    /// The kubelet wants to give a device away that was thought to be held: it can be so no more.
    pub fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Waits for the next doubt, or for none where one came since the last.
    pub async fn doubted(&self) {
        self.0.doubt.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two grants leaves none half made.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_given(&self, device: &DeviceId, asked: Instant, now: Instant) -> bool {
        self.given.get(device).is_some_and(|grant| grant.counts(asked, now))
    }
}

impl Grant {
    /// The kubelet names the device, or does not, in its answer to a question of `asked`.
    fn hear(&mut self, names: bool, asked: Instant) {
        if names && self.at < asked {
            self.told = Some(self.told.map_or(asked, |told| told.min(asked)));
        }
    }

    /// Whether the answer to a question of `asked` may lack it though a pod has it. Who asked before the kubelet told others of
    /// it knows of it by this alone, so it is kept until the device is given again.
    fn counts(&self, asked: Instant, now: Instant) -> bool {
        let untold = || match self.told {
            Some(told) => told > asked,
            None => now.duration_since(self.at) < Grants::UNTOLD,
        };
        self.at >= asked || untold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        text.parse().unwrap()
    }

    fn told(pairs: &[(&str, &str)]) -> Holds {
        pairs.iter().map(|(device, resource)| (id(device), (*resource).to_owned())).collect()
    }

    #[test]
    fn a_grant_counts_until_the_kubelet_has_told_of_it_or_long_could_have() {
        let (grants, start) = (Grants::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        grants.note(id("0000:01:00.0"), "a/a".into(), after(10));
        for asked in [9, 10, 11, 19] {
            let mut holds = told(&[]);
            grants.add_to(&mut holds, after(asked));
            assert_eq!(holds.get(&id("0000:01:00.0")), Some("a/a"), "{asked}");
        }
        let mut holds = told(&[("0000:01:00.0", "a/a")]);
        grants.add_to(&mut holds, after(12));
        let mut holds = told(&[]);
        grants.add_to(&mut holds, after(13));
        assert_eq!(holds, told(&[]), "it was told of, and then it was free");
        grants.note(id("0000:01:00.0"), "a/a".into(), after(20));
        grants.add_to(&mut holds, after(30));
        assert_eq!(holds, told(&[]), "the kubelet never told of it");
    }

    #[test]
    fn who_asked_before_the_kubelet_told_of_a_grant_does_not_take_it_for_over() {
        let (grants, start) = (Grants::default(), Instant::now());
        let (device, after) = (id("0000:01:00.0"), |seconds| start + Duration::from_secs(seconds));
        grants.note(device.clone(), "a/a".into(), after(10));
        // Somebody else is told of it.
        grants.add_to(&mut told(&[("0000:01:00.0", "a/a")]), after(12));
        let given = |asked| grants.is_given(&device, after(asked), after(60));
        assert_eq!([9, 11, 12, 13].map(given), [true, true, false, false]);
    }

    #[test]
    fn what_was_given_while_the_kubelet_answered_is_newer_than_the_answer() {
        let (grants, start) = (Grants::default(), Instant::now());
        let mut holds = told(&[("0000:01:00.0", "a/a")]);
        grants.note(id("0000:01:00.0"), "b/b".into(), start + Duration::from_secs(1));
        grants.add_to(&mut holds, start);
        assert_eq!(holds, told(&[("0000:01:00.0", "b/b")]));
    }

    #[test]
    fn what_is_barred_is_not_given_and_what_is_given_is_not_barred() {
        let (grants, now) = (Grants::default(), Instant::now());
        let (first, second) = (id("0000:01:00.0"), id("0000:01:00.1"));
        let both = || [&first, &second].map(|device| (device.clone(), "its VLAN is 7".to_owned())).into();
        grants.give(std::slice::from_ref(&first), "a/a", now).unwrap();
        grants.bar(both(), now);
        let refused = grants.give(&[first.clone(), second.clone()], "a/a", now).unwrap_err();
        assert_eq!(refused, (second.clone(), "its VLAN is 7".to_owned()));
        assert!(!grants.is_given(&second, now, now), "all or none");
        assert!(grants.is_given(&first, now, now));
        let later = now + Grants::UNTOLD;
        assert!(!grants.is_given(&first, later, later));
        grants.bar(both(), later);
        assert_eq!(grants.give(std::slice::from_ref(&first), "a/a", later).unwrap_err().0, first);
        grants.bar(BTreeMap::new(), later);
        grants.give(&[first, second], "a/a", later).unwrap();
    }
}
