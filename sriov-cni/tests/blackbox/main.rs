//! The real binary over generated sysfs trees: environment and standard input in, output, exit code and files out.
//! Nothing here has a VF that a kernel knows: what needs one is a case of the emulated node's.

mod answer;
mod check;
mod logging;
mod node;
mod pf;
mod refuse;
mod status;
