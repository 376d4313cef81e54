//! What the replicas of a router share so that each knows the messages of the others: the keys that
//! sign them, and what was taken already. Times are milliseconds since 1970.

mod keys;
mod seen;

pub use keys::{FleetKey, FleetKeys};
pub use seen::{Seen, Sight, is_fresh};
