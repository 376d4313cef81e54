//! The end of an extension.

use crate::stats::Counts;

/// What a stopped extension leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    pub counts: Counts,
    /// Every running call ended by itself within the limit.
    pub drained: bool,
    /// The last answers were written to the server's socket.
    pub flushed: bool,
    /// False when the connection ended without a stop.
    pub asked: bool,
}

impl Summary {
    /// Of two extensions of one program.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            counts: self.counts.and(other.counts),
            drained: self.drained && other.drained,
            flushed: self.flushed && other.flushed,
            asked: self.asked && other.asked,
        }
    }
}
