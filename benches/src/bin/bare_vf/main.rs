//! The bare kernel operations of `benches::bare` as a program that is started for one VF, as a plugin is: what is left of a
//! plugin's time when all that it does by itself is taken away.
//! It must not be one: it keeps no record and gives no answer.
//!
//! It is told like a plugin, by `CNI_COMMAND` and `CNI_NETNS`, and which VF it is by `BARE_PF` (a link index), `BARE_VF` and
//! `BARE_NAME`.

use std::env;

use anyhow::{Context, Result, bail};
use benches::bare::{Side, Vf};
use netlink::Netns;

fn main() -> Result<()> {
    let command = told("CNI_COMMAND")?;
    if command == "VERSION" {
        return Ok(());
    }
    let vf = Vf {
        pf: told("BARE_PF")?.parse()?,
        number: told("BARE_VF")?.parse()?,
        name: told("BARE_NAME")?.parse()?,
    };
    let (mut host, mut pod) = (Side::of(Netns::current()?)?, Side::of(Netns::open(told("CNI_NETNS")?)?)?);
    match command.as_str() {
        "ADD" => vf.add(&mut host, &mut pod),
        "DEL" => vf.del(&mut host, &mut pod),
        other => bail!("{other} is none of VERSION, ADD and DEL"),
    }
}

fn told(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}
