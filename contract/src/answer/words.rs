//! The words that an answer has for what was decided and for what happened.

use crate::word::words;

words! {
    /// `decision.reason` of an answer.
    pub enum DecisionReason {
        Sticky = "sticky",
        Weighted = "weighted",
        Retry = "retry",
        Fallback = "fallback",
    }
}

impl DecisionReason {
    /// `decision.priority` of an answer.
    pub const fn priority(self) -> u32 {
        match self {
            Self::Sticky => 100,
            Self::Weighted | Self::Retry => 50,
            Self::Fallback => 25,
        }
    }
}

words! {
    /// `status` of a line of `extensions` or `attempts`.
    pub enum ExtensionStatus {
        Success = "success",
        Rejected = "rejected",
        Warned = "warned",
        Skipped = "skipped",
        Timeout = "timeout",
        Error = "error",
        CircuitOpen = "circuit_open",
    }
}
