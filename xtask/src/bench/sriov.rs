//! `sriov` beside others on the emulated node's VFs: builds what is compared, and shows what the node says of it.
//! Measures nothing itself.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use anyhow::ensure;
use testbed::Event;
use testbed::Job;
use testbed::Outcome;

use crate::cargo;
use crate::cargo::cargo;
use crate::cargo::run;
use crate::node::Rig;
use crate::shipped;

/// The kernel operations alone, by a program that is started for them: what starting one costs on the node is not the plugin's.
const BARE: &str = "bare_vf";

/// Runs our `sriov` and each of `others`, named and by path, in turns. A development build of the harness will do, as for
/// `host_device_beside`.
pub(super) fn beside(release: &Path, others: &[(String, PathBuf)]) -> Result<()> {
    const HARNESS: &str = "sriov_beside";
    let bare = shipped::build_like_plugin("benches", BARE)?;
    run(cargo().args(["build", "--package", "benches", "--bin", HARNESS]))?;
    let rig = Rig::set_up(&[])?;
    rig.add(&cargo::target().join("debug").join(HARNESS), HARNESS)?;
    rig.add(&release.join("sriov"), "beside/sluice")?;
    rig.add(&bare, "beside/program")?;
    for (name, path) in others {
        rig.add(path, &format!("beside/{name}"))?;
    }
    let finished = rig.run(&Job { name: "bench-sriov", ..Job::default() }, |event| match event {
        Event::Story(line) => println!("{line}"),
        Event::Case { outcome: Outcome::Fail, .. } => println!("{event}"),
        _ => {}
    })?;
    ensure!(finished.passed(), "the node did not finish");
    Ok(())
}
