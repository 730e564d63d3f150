//! The configuration file as it was written: every key that the Go plugin takes, types checked and nothing else.
//! It must not judge what the values mean.

use super::json::{At, Json, Members, TypeError};
use super::{AdditionalInfo, keys, kind_of};
use crate::inventory::Kind;

/// The whole file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) pools: Vec<Pool>,
    pub(super) unknown: Vec<Unknown>,
}

/// One entry of `resourceList`.
#[derive(Debug)]
pub(super) struct Pool {
    /// Where it stands, for messages.
    pub(super) path: String,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) device_type: String,
    pub(super) exclude_topology: bool,
    /// A type error in here costs this pool alone.
    pub(super) selectors: Result<Selectors, TypeError>,
    pub(super) additional_info: Option<AdditionalInfo>,
    pub(super) vfio_cdev: bool,
    pub(super) pf_carrier: bool,
    pub(super) allocation_policy: String,
    /// Keys that no pool has.
    pub(super) unknown: Vec<Unknown>,
}

/// A key that nobody takes.
#[derive(Debug)]
pub(super) struct Unknown {
    /// Where it stands.
    pub(super) path: String,
    /// The key alone, as written.
    pub(super) key: String,
}

/// The selectors of one pool.
#[derive(Debug)]
pub(super) enum Selectors {
    /// No such key, or null.
    Absent,
    /// One object, or a list of them.
    Listed(Vec<Selector>),
}

/// One selector object.
#[derive(Debug, Default)]
pub(super) struct Selector {
    /// Where it stands, for messages.
    pub(super) path: String,
    pub(super) vendors: Vec<String>,
    pub(super) devices: Vec<String>,
    pub(super) drivers: Vec<String>,
    pub(super) pci_addresses: Vec<String>,
    pub(super) acpi_indexes: Vec<String>,
    pub(super) pf_names: Vec<String>,
    pub(super) root_devices: Vec<String>,
    pub(super) link_types: Vec<String>,
    pub(super) ddp_profiles: Vec<String>,
    pub(super) p_keys: Vec<String>,
    pub(super) aux_types: Vec<String>,
    pub(super) is_rdma: bool,
    pub(super) need_vhost_net: bool,
    pub(super) vdpa_type: String,
    /// Keys that no selector has.
    pub(super) unknown: Vec<Unknown>,
    /// Where keys stand that other device types have and that ask for something. As in the Go plugin nobody looks at their values.
    pub(super) foreign: Vec<String>,
}

impl File {
    pub(super) fn read(json: Json) -> Result<Self, TypeError> {
        let document = At { json, path: String::new() };
        if !matches!(document.json, Json::Object(_)) {
            return Err(TypeError { path: "the document".to_owned(), ..document.mistyped("an object") });
        }
        let mut members = document.members("an object")?;
        let mut unknown = Vec::new();
        let mut pools = Vec::new();
        for pool in members.take("resourceList").list("a list of pools")? {
            pools.push(Pool::read(pool)?);
        }
        note_unknown(members, &mut unknown);
        Ok(Self { pools, unknown })
    }
}

impl Pool {
    fn read(at: At) -> Result<Self, TypeError> {
        let path = at.path.clone();
        let mut members = at.members("an object")?;
        let device_type = members.take_scalar("deviceType").text()?;
        let mut pool = Self {
            path,
            name: members.take_scalar("resourceName").text()?,
            prefix: members.take_scalar("resourcePrefix").text()?,
            exclude_topology: members.take_scalar("excludeTopology").truth()?,
            selectors: Selectors::read(members.take("selectors"), kind_of(&device_type)),
            device_type,
            additional_info: additional_info(members.take("additionalInfo"))?,
            vfio_cdev: members.take_scalar("vfioCdev").truth()?,
            pf_carrier: members.take_scalar("pfCarrier").truth()?,
            allocation_policy: members.take_scalar("allocationPolicy").text()?,
            unknown: Vec::new(),
        };
        note_unknown(members, &mut pool.unknown);
        Ok(pool)
    }
}

impl Selectors {
    /// For devices of a kind; without one the file is refused for that.
    fn read(at: At, kind: Option<Kind>) -> Result<Self, TypeError> {
        const WANTED: &str = "an object or a list of objects";
        match at.json {
            Json::Null => Ok(Self::Absent),
            Json::Object(_) => Ok(Self::Listed(vec![Selector::read(at, kind)?])),
            Json::List(_) => {
                let objects = at.list(WANTED)?.into_iter().map(|at| Selector::read(at, kind));
                Ok(Self::Listed(objects.collect::<Result<_, _>>()?))
            }
            _ => Err(at.mistyped(WANTED)),
        }
    }
}

impl Selector {
    fn read(at: At, kind: Option<Kind>) -> Result<Self, TypeError> {
        if at.is_null() {
            return Err(at.mistyped("an object"));
        }
        let path = at.path.clone();
        let mut members = at.members("an object")?;
        let foreign = take_foreign(&mut members, kind);
        let mut selector = Self {
            path,
            vendors: members.take("vendors").texts()?,
            devices: members.take("devices").texts()?,
            drivers: members.take("drivers").texts()?,
            pci_addresses: members.take("pciAddresses").texts()?,
            acpi_indexes: members.take("acpiIndexes").texts()?,
            pf_names: members.take("pfNames").texts()?,
            root_devices: members.take("rootDevices").texts()?,
            link_types: members.take("linkTypes").texts()?,
            ddp_profiles: members.take("ddpProfiles").texts()?,
            p_keys: members.take("pKeys").texts()?,
            aux_types: members.take("auxTypes").texts()?,
            is_rdma: members.take_scalar("isRdma").truth()?,
            need_vhost_net: members.take_scalar("needVhostNet").truth()?,
            vdpa_type: members.take_scalar("vdpaType").text()?,
            unknown: Vec::new(),
            foreign,
        };
        note_unknown(members, &mut selector.unknown);
        Ok(selector)
    }
}

/// Takes out what this kind of device does not have: where that stands, and asks for something.
fn take_foreign(members: &mut Members, kind: Option<Kind>) -> Vec<String> {
    let foreign = keys::SELECTOR.iter().filter(|(_, kinds)| kind.is_some_and(|kind| !kinds.contains(&kind)));
    let taken = foreign.map(|(key, _)| members.take(key)).filter(|at| !at.asks_for_nothing());
    taken.map(|at| at.path).collect()
}

fn additional_info(at: At) -> Result<Option<AdditionalInfo>, TypeError> {
    const WANTED: &str = "an object of objects of strings";
    if at.is_null() {
        return Ok(None);
    }
    let mut info = AdditionalInfo::new();
    for (device, values) in at.members(WANTED)?.rest() {
        let values = values.members(WANTED)?.rest().map(|(key, value)| Ok((key, value.text()?)));
        info.insert(device, values.collect::<Result<_, TypeError>>()?);
    }
    Ok(Some(info))
}

/// Null is what the SR-IOV Network Operator writes for keys that are not there (`"SelectorObj": null`).
fn note_unknown(members: Members, unknown: &mut Vec<Unknown>) {
    let left = members.rest().filter(|(_, at)| !at.is_null());
    unknown.extend(left.map(|(key, at)| Unknown { path: at.path, key }));
}
