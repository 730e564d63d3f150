//! The `sriov` binary.
//! It must hold nothing but the way in.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::main(&sriov::Sriov::on_this_node())
}
