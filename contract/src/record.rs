//! The registry record of an extension (contract section 3).

mod breaker;
mod extension;
mod operator;
#[cfg(feature = "schema")]
mod schema;

pub use crate::kind::Kind;
pub use breaker::{BreakerOverrides, BreakerSetting, Isolation};
pub use extension::{ExtensionInstance, ExtensionRecord, ExtensionVersion, Program};
pub use operator::{BreakerResets, OperatorDecision, OperatorState};
#[cfg(feature = "schema")]
pub(crate) use schema::{WrittenExtension, WrittenPatch, breaker_schema};
