//! The device plugin: from selectors in a file to pools of functions that the kubelet can hand to pods.
//! It must not change a function: binding drivers, creating VFs and configuring them is for others.

pub mod config;
pub mod inventory;
pub mod pool;
pub mod selector;
