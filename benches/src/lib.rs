//! What the benches say of their measurements: percentiles, and ratios taken round by round.
//! It must not measure, nor know what was measured.

pub mod figures;
