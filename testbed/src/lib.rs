//! The emulated SR-IOV node, seen from the host: its packages, kernel, image and virtual machine.
//! Knows nothing of Sluice's own programs: they come in by a folder, results come out as events.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let image = testbed::Image::prepare()?; // minutes the first time, then a second
//! let share = std::path::Path::new("share"); // holds `guest` and the programs under test
//! let job = testbed::Job { name: "smoke", ..testbed::Job::default() };
//! let mut node = testbed::Node::boot(&image, share, &job)?;
//! while let Some(event) = node.next_event()? {
//!     println!("{event}");
//! }
//! assert!(node.finish()?.passed());
//! # Ok(())
//! # }
//! ```

mod apt;
mod cache;
mod cpio;
mod digest;
mod event;
mod external;
mod image;
mod initramfs;
mod kernel;
mod modules;
mod node;
mod oci;
mod packages;
mod peer;
mod phases;
mod qemu;
mod qmp;
mod release;
mod root;
mod scratch;
mod tar;
mod tool;

pub use event::Event;
pub use event::Outcome;
pub use image::Image;
pub use node::Finished;
pub use node::Job;
pub use node::Node;
pub use peer::host_device as peer_host_device;
pub use scratch::Scratch;
