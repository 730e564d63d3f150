//! The `sriovdp` binary from outside: a generated node, a configuration file and the kubelet stand-in on one side, its
//! sockets, answers, files, exit codes and words on the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its tools fail"
)]

mod alive;
mod allocate;
mod cases;
mod cdi;
mod chain;
mod chart;
mod commands;
mod configuration;
mod daemon;
mod deploy;
mod discovery;
mod drivers;
mod exits;
mod hangs;
mod kubelet_side;
mod left_behind;
mod lifecycle;
mod malformed;
mod metrics;
mod pools;
mod prefer;
mod reload;
mod safety;
mod storm;
