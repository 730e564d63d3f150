//! What pods that are gone left behind: told apart from what living pods own, put back, and until then kept from the kubelet.
//! It must not touch what a living pod has, nor let one device's trouble stop another's.

mod decide;
mod handle;
mod pass;
mod task;
mod tell;
mod unclean;
mod work;

pub(crate) use decide::is_same;
pub use decide::{Act, Holding, Verdict, decide};
pub use handle::Handle;
pub(crate) use pass::{Plugin, look};
pub use task::{Setup, start};
pub use unclean::Unclean;
pub(crate) use work::on_thread;
