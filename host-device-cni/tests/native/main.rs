//! The real binary in real network namespaces, as root: what it does to a veth is read back with `ip`.

mod alt_names;
mod attach;
mod by_key;
mod come_back;
mod go_pod;
mod identity;
mod kill;
mod kinds;
mod namesake;
mod network;
mod node;
mod refuse;
mod verify;
mod waiting;
