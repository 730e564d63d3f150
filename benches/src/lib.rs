//! What the benches share: binaries run and weighed, and what is said of the measurements.
//! It must not know what is measured.

pub mod bare;
pub mod figures;
pub mod memory;
pub mod process;
pub mod table;
pub mod turns;
