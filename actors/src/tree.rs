//! The supervision tree: who restarts whom, when to give up, and what `beamline-router tree` shows.
//!
//! ractor gives links and events; what a supervisor here adds is restarts with a wait, their limit,
//! and the tree as data.

mod address;
mod child;
mod guarded_task;
mod node;
mod restarts;
mod root;
mod start;
mod supervisor;
mod task;
#[cfg(test)]
mod tests;
mod thread;

pub use address::{Address, Vacant};
pub use beamline_contract::admin::{NodeBreaker, NodeKind, TreeNode};
pub use child::Child;
pub use guarded_task::Outcome;
pub use node::Node;
pub use restarts::{Intensity, RestartLog, Verdict};
pub use root::{Root, TreeNotStarted};
pub use start::start_linked;
pub use task::{OnDrop, OwnedTask};
pub use thread::on_own_thread;
