//! `sriovdp`'s reconciler on real VFs: DELs that never come, living pods beside them, and a machine that is reset with
//! records on its disk. What was put back is read through `ip` and sysfs.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use super::Cases;
use crate::cluster::Cluster;
use crate::cni::Sandbox;
use crate::cni::same;
use crate::cni::sriov;
use crate::cni::state;
use crate::host;
use crate::host::Function;
use crate::host::PF0;
use crate::host::PF1;
use crate::host::Pf;
use crate::host::ip;

mod reset;

/// The promise: everything is as it was within this time of `sriovdp`'s start.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the CNI plugins keep their state; in the node's memory, as a real node has its disk's files there.
const RECORDS: &str = "/var/lib/cni/sriov";

/// VFs of each PF, and from which index on they are on vfio-pci.
const VFS: usize = 7;
const FIRST_VFIO: usize = 4;

/// One VF by its PF.
struct Vf {
    pf: Pf,
    index: usize,
    function: Function,
}

impl Vf {
    fn state(&self) -> Result<Value> {
        state(&self.function, Some((&self.pf, self.index)))
    }

    fn is_vfio(&self) -> bool {
        self.function.driver().as_deref() == Some("vfio-pci")
    }

    /// A configuration that changes all that igb lets be changed.
    fn conf(&self) -> Value {
        let vlan = 100 + self.index;
        let mac = format!("02:00:00:00:{:02x}:{:02x}", self.pf.address().as_bytes()[5], self.index);
        sriov(
            &self.function,
            json!({"vlan": vlan, "vlanQoS": 3, "mac": mac, "trust": "on", "spoofchk": "off", "max_tx_rate": 100}),
        )
    }
}

/// Every VF of both PFs, the first of each on their kernel driver.
fn vfs() -> Result<Vec<Vf>> {
    let mut vfs = Vec::new();
    for address in [PF0, PF1] {
        let pf = Pf::at(address)?;
        for (index, function) in pf.create_vfs(VFS)?.into_iter().enumerate() {
            if index >= FIRST_VFIO {
                function.bind("vfio-pci")?;
            }
            vfs.push(Vf { pf: pf.clone(), index, function });
        }
    }
    Ok(vfs)
}

/// Gives each link a name that the kernel gives to none, in this boot or the next.
fn name(vfs: &[Vf]) -> Result<()> {
    for vf in vfs.iter().filter(|vf| !vf.is_vfio()) {
        let bus = &vf.pf.address()[5..7];
        ip(&["link", "set", &vf.function.wait_netdev()?, "name", &format!("pf{bus}v{}", vf.index)])?;
    }
    Ok(())
}

pub(super) fn run(cases: &mut Cases) -> Result<()> {
    if let Some(before) = reset::remembered()? {
        return reset::after(cases, &before);
    }
    let vfs = vfs()?;
    name(&vfs)?;
    // One kernel VF and one on vfio-pci belong to pods that live through all of this.
    let (living, others): (Vec<&Vf>, Vec<&Vf>) =
        vfs.iter().partition(|vf| matches!((vf.pf.address(), vf.index), (PF0, 3) | (PF1, 6)));
    let living = Living::start(&living)?;
    let (mut lost, mut took) = (0, Vec::new());
    for round in 1..=5 {
        // 2, 12, 12, 12 and 12 are 50. The first start is of few: the emulator has to fetch and translate the program for it.
        let of_round = if round > 1 { &others[..] } else { &others[2..4] };
        lost += of_round.len();
        cases.run(&format!("round-{round}-of-lost-dels-is-put-back"), || {
            let (time, said) = start_after_loss(round, of_round, &living)?;
            took.extend((round > 1).then_some(time));
            Ok(said)
        });
    }
    if let (Some(soonest), Some(latest)) = (took.iter().min(), took.iter().max()) {
        let [soonest, latest] = [soonest, latest].map(Duration::as_secs_f64);
        let said = format!("put back after {soonest:.2} to {latest:.2} s; the promise is {LIMIT:?}");
        cases.info("every VF at one start", &said);
    }
    cases.info("attachments-without-del", &lost.to_string());
    cases.run("a-del-lost-while-it-runs-is-put-back", || loss_while_it_runs(others[0], &living));
    drop(living);
    if cases.wants("after-a-reset") {
        reset::before(&others)?;
    }
    Ok(())
}

/// Pods whose DEL never comes, each gone with its namespace; and the states of their VFs before.
fn lose(prefix: &str, vfs: &[&Vf]) -> Result<Vec<Value>> {
    let mut pods = Vec::new();
    for vf in vfs {
        let before = vf.state()?;
        let pod = Sandbox::create(&format!("{prefix}{}", pods.len()))?;
        pod.add(&vf.conf())?;
        ensure!(vf.state()? != before, "{}: the ADD changed nothing", vf.function);
        if !vf.is_vfio() {
            pod.netns.ip(&["link", "set", "net1", "down"])?;
            pod.netns.ip(&["link", "set", "net1", "name", "mine", "mtu", "1400"])?;
        }
        pods.push((pod, before));
    }
    let gone = |(pod, before): (Sandbox, Value)| pod.netns.delete().map(|()| before);
    pods.into_iter().map(gone).collect()
}

/// DELs lost before the daemon starts: all is as it was within the limit of its start, living pods are untouched.
fn start_after_loss(round: usize, vfs: &[&Vf], living: &Living<'_>) -> Result<(Duration, String)> {
    let before = lose(&format!("lost-{round}-"), vfs)?;
    // The kernel takes its time to end a namespace, and keeps the network's lock for most of it; they are long gone where a
    // daemon starts.
    host::wait_namespaces_over()?;
    let began = Instant::now();
    let cluster = Cluster::start(&config(), Vec::new())?;
    let took = put_back(began, living.records())?;
    for (vf, before) in vfs.iter().zip(&before) {
        same(before, &vf.state()?)?;
    }
    living.untouched()?;
    cluster.stop()?;
    let vfio = vfs.iter().filter(|vf| vf.is_vfio()).count();
    let said = format!(
        "{} kernel and {vfio} vfio-pci in {:.2} s of the start",
        vfs.len() - vfio,
        took.as_secs_f64()
    );
    Ok((took, said))
}

/// The kernel's uevent tells of a link that came home.
fn loss_while_it_runs(vf: &Vf, living: &Living<'_>) -> Result<String> {
    let mut cluster = Cluster::start(&config(), Vec::new())?;
    cluster.until("the pool", |state| state.pools.contains_key("intel.com/kernel"))?;
    let before = lose("running-", &[vf])?;
    let took = put_back(Instant::now(), living.records())?;
    same(&before[0], &vf.state()?)?;
    living.untouched()?;
    cluster.stop()?;
    Ok(format!("{:.2} s after its namespace was gone", took.as_secs_f64()))
}

/// Waits until no more than `kept` records are left: how long that took since `began`.
fn put_back(began: Instant, kept: usize) -> Result<Duration> {
    host::until("end of the records", LIMIT, || Ok((records()? <= kept).then_some(())))?;
    Ok(began.elapsed())
}

fn records() -> Result<usize> {
    let entries = match fs::read_dir(RECORDS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let hidden = |name: std::ffi::OsString| name.to_string_lossy().starts_with('.');
    Ok(entries.flatten().filter(|entry| entry.path().is_file() && !hidden(entry.file_name())).count())
}

fn config() -> Value {
    json!({"resourceList": [
        {"resourceName": "kernel", "selectors": {"vendors": ["8086"], "devices": ["10ca"], "drivers": ["igbvf"]}},
        {"resourceName": "vfio", "selectors": {"drivers": ["vfio-pci"]}},
    ]})
}

/// Pods that live, with all that can be seen of them.
struct Living<'a> {
    pods: Vec<(Sandbox, &'a Vf, Value)>,
}

impl<'a> Living<'a> {
    fn start(vfs: &[&'a Vf]) -> Result<Self> {
        let mut pods = Vec::new();
        for vf in vfs {
            let pod = Sandbox::create(&format!("living-{}", pods.len()))?;
            pod.add(&vf.conf())?;
            let seen = Self::look(&pod, vf)?;
            pods.push((pod, *vf, seen));
        }
        Ok(Self { pods })
    }

    fn look(pod: &Sandbox, vf: &Vf) -> Result<Value> {
        let record = fs::read_to_string(format!("{RECORDS}/{}-net1", pod.id))?;
        let claim = fs::read_to_string(format!("{RECORDS}/pci/{}", vf.function))?;
        let mut links = pod.netns.ip_json(&["link", "show"])?;
        for link in links.as_array_mut().into_iter().flatten() {
            // The carrier comes and goes with the watchdog of the driver.
            for volatile in ["flags", "operstate"] {
                link.as_object_mut().map(|link| link.remove(volatile));
            }
        }
        Ok(json!({"state": vf.state()?, "links": links, "record": record, "claim": claim}))
    }

    fn untouched(&self) -> Result<()> {
        for (pod, vf, seen) in &self.pods {
            same(seen, &Self::look(pod, vf)?)?;
        }
        Ok(())
    }

    fn records(&self) -> usize {
        self.pods.len()
    }
}

impl Drop for Living<'_> {
    fn drop(&mut self) {
        for (pod, vf, _) in &self.pods {
            if let Err(error) = pod.del(&vf.conf()) {
                eprintln!("{error:#}");
            }
        }
    }
}
