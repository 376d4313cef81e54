//! Why a target takes no call now.

use std::time::Duration;

/// Why a target takes no call now, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    CircuitOpen(Duration),
    AskedToWait(Duration),
}
