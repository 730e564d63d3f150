//! The device plugin: from selectors in a file to pools of functions that the kubelet can hand to pods.
//! It must not change a function, save for putting back what an attachment that is over had changed: binding drivers, creating
//! VFs and configuring them is for others.

pub mod cli;
mod coalesce;
pub mod config;
pub mod control;
pub mod daemon;
pub mod device_info;
pub mod explain;
pub mod holdings;
pub mod inventory;
pub mod kubelet;
pub mod lint;
pub mod list;
pub mod metrics;
pub mod names;
pub mod pool;
pub mod reconcile;
pub mod selector;
pub mod web;
