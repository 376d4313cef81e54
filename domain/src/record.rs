//! The registry's record of an extension: read, asked who listens on a subject, and which version
//! takes a request.

pub mod faces;
mod listener;
mod live;
mod read;
mod route;
mod rules;
#[cfg(test)]
mod schema_tests;
mod slices;
mod slips;
mod versions;

pub use listener::{SubjectListener, listener};
pub use live::live_versions;
pub use read::{Checked, check, parse, patch};
pub use route::Route;
pub use rules::{Rollout, RoutingRules};
pub use slips::{rule_keys, slips};
pub use versions::stored_warnings;
