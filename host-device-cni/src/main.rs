//! The `host-device` binary.
//! It must hold nothing but the way in.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::main(&host_device::HostDevice::on_this_node())
}
