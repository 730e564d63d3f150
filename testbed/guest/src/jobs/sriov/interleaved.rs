//! Random ADDs and DELs of eight pods that all want the same four VFs, at once: nobody resets a VF that is another's.
//! It must not stop at a refusal: that a VF is another's is half of the answers.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;
use testkit::runtime::Output;

use super::Bench;
use super::Cases;
use super::kills::records;
use crate::cni::Sandbox;
use crate::cni::accepted;
use crate::cni::refused;
use crate::cni::sriov;
use crate::host::Function;
use crate::host::ip_json;

const PODS: usize = 8;
const VFS: usize = 4;

pub(super) fn run(cases: &mut Cases, bench: &Bench) {
    cases.run("interleaved", || interleaved(bench, 100));
    cases.run_if_asked("a-thousand-in-turns", || interleaved(bench, 1000));
}

/// Numbers by xorshift: repeatable from the seed, as far as the threads' turns are.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// The four VFs, and who was told that it has one. Each change of hands makes its number greater.
struct Ground {
    pf: String,
    vfs: Vec<Function>,
    holders: Mutex<[(Option<usize>, usize); VFS]>,
    left: AtomicUsize,
    adds: AtomicUsize,
    refusals: AtomicUsize,
    looks: AtomicUsize,
}

fn interleaved(bench: &Bench, operations: usize) -> Result<String> {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let befores = (0..VFS).map(|index| bench.state(index)).collect::<Result<Vec<_>>>()?;
    let ground = Ground {
        pf: bench.pf0.name()?,
        vfs: bench.pf0.vfs()?,
        holders: Mutex::default(),
        left: AtomicUsize::new(operations),
        adds: AtomicUsize::default(),
        refusals: AtomicUsize::default(),
        looks: AtomicUsize::default(),
    };
    let played: Vec<Result<()>> = std::thread::scope(|scope| {
        let ground = &ground;
        let pods = (0..PODS).map(|pod| scope.spawn(move || ground.pod(pod, Dice(seed * 8 + pod as u64 + 1))));
        // All are started before one is waited for.
        let pods: Vec<_> = pods.collect();
        pods.into_iter().map(|pod| pod.join().map_err(|_| anyhow::anyhow!("a pod panicked"))?).collect()
    });
    for pod in played {
        pod.with_context(|| format!("seed {seed}"))?;
    }
    for (index, before) in befores.iter().enumerate() {
        bench.unchanged(index, before)?;
        ensure!(records(&ground.vfs[index])? == 0, "state files are left");
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (adds, refusals, looks) = (count(&ground.adds), count(&ground.refusals), count(&ground.looks));
    ensure!(adds > operations / 10 && refusals > 0, "{adds} ADDs and {refusals} refusals show nothing");
    Ok(format!("{operations} operations, {adds} ADDs, {refusals} refused, {looks} looks, seed {seed}"))
}

impl Ground {
    /// One pod's life, until all operations are done.
    fn pod(&self, number: usize, mut dice: Dice) -> Result<()> {
        let mut pod = Sandbox::create(&format!("turn-{number}"))?;
        let mut has = None;
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        {
            let asked = has.unwrap_or_else(|| dice.below(VFS));
            match (has, dice.below(6)) {
                (None, _) => has = self.add(&pod, number, asked)?.then_some(asked),
                // Under names that have an attachment already.
                (Some(_), 0) => {
                    let other = self.conf(number, (asked + 1) % VFS);
                    self.refused(&pod.run("ADD", &other))?;
                }
                (Some(_), 1) => {
                    self.give_up(asked);
                    let name = pod.id.clone();
                    let path = pod.netns.path();
                    pod.netns.delete()?;
                    let conf = self.conf(number, asked);
                    accepted(
                        &crate::cni::call("DEL", &name, &path, &conf).run(crate::cni::program("sriov")),
                    )?;
                    pod = Sandbox::create(&name)?;
                    has = None;
                }
                // Two DELs at once, the later of which may find the next pod's attachment in its place.
                (Some(_), 2 | 3) => {
                    self.give_up(asked);
                    let conf = self.conf(number, asked);
                    let twice: [Result<()>; 2] = std::thread::scope(|scope| {
                        let late = scope.spawn(|| pod.del(&conf));
                        [pod.del(&conf), late.join().unwrap_or_else(|_| bail!("a DEL panicked"))]
                    });
                    twice.into_iter().collect::<Result<()>>()?;
                    has = None;
                }
                (Some(_), _) => {
                    self.give_up(asked);
                    pod.del(&self.conf(number, asked))?;
                    has = None;
                }
            }
            self.look()?;
        }
        match has {
            Some(asked) => {
                self.give_up(asked);
                pod.del(&self.conf(number, asked))
            }
            None => Ok(()),
        }
    }

    fn conf(&self, number: usize, vf: usize) -> Value {
        sriov(&self.vfs[vf], json!({"vlan": vlan(number), "trust": "on"}))
    }

    fn add(&self, pod: &Sandbox, number: usize, vf: usize) -> Result<bool> {
        let output = pod.run("ADD", &self.conf(number, vf));
        if !output.ok() {
            self.refused(&output)?;
            return Ok(false);
        }
        self.adds.fetch_add(1, Ordering::Relaxed);
        let mut holders = self.holders();
        let (holder, changes) = &mut holders[vf];
        ensure!(holder.is_none(), "VF {vf} was given to pods {holder:?} and {number} at once");
        (*holder, *changes) = (Some(number), *changes + 1);
        Ok(true)
    }

    fn refused(&self, output: &Output) -> Result<()> {
        let words = refused(output)?;
        ensure!(words.contains("already allocated"), "{words}");
        self.refusals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Before the DEL begins: from then on the VF may look like anything.
    fn give_up(&self, vf: usize) {
        let mut holders = self.holders();
        holders[vf] = (None, holders[vf].1 + 1);
    }

    /// Every VF that had the same holder before and after the look has what its holder asked for.
    fn look(&self) -> Result<()> {
        let before = *self.holders();
        let link = ip_json(&["link", "show", "dev", &self.pf])?;
        let held = &link[0]["vfinfo_list"];
        let after = *self.holders();
        for vf in (0..VFS).filter(|vf| before[*vf] == after[*vf]) {
            let Some(number) = before[vf].0 else { continue };
            let (state, wanted) = (&held[vf], vlan(number));
            ensure!(
                state["vlan_list"][0]["vlan"] == wanted && state["trust"] == true,
                "VF {vf} is pod {number}'s, who asked for VLAN {wanted} and trust: {state}"
            );
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn holders(&self) -> MutexGuard<'_, [(Option<usize>, usize); VFS]> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn vlan(number: usize) -> usize {
    100 + number
}
