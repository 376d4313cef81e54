//! The registry record of an extension (contract section 3).

mod breaker;
mod extension;
mod operator;

pub use crate::kind::Kind;
pub use breaker::{BreakerOverrides, BreakerSetting, Isolation};
pub use extension::{ExtensionInstance, ExtensionRecord, ExtensionVersion};
pub use operator::{BreakerResets, OperatorDecision, OperatorState};
