//! The `sriovdp` binary.

fn main() {}
