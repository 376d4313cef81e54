//! How wide this process may write, and whether in colour. The console sets it once, before there
//! is anything to show; nothing is limited until then.

use std::sync::OnceLock;

/// What tables keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Look {
    /// Columns of a line.
    pub(in crate::cli) width: usize,
    pub(in crate::cli) colour: bool,
}

static LOOK: OnceLock<Look> = OnceLock::new();

impl Look {
    pub(in crate::cli) const PLAIN: Self = Self {
        width: usize::MAX,
        colour: false,
    };

    /// The first one stays.
    pub(in crate::cli) fn set(self) {
        let _first = LOOK.set(self);
    }

    pub(in crate::cli) fn current() -> Self {
        LOOK.get().copied().unwrap_or(Self::PLAIN)
    }
}
