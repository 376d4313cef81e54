//! What happened in a run, for somebody who looks for the reason of a failure.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// All clones write the same story.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    begun: Instant,
    /// `None`: nobody wants to read it.
    lines: Option<Arc<Mutex<Vec<String>>>>,
}

impl Story {
    pub(crate) fn begin(kept: bool) -> Self {
        Self {
            begun: Instant::now(),
            lines: kept.then(Arc::default),
        }
    }

    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            lines.lock().push(format!(
                "{:>12.3} ms  {}",
                self.begun.elapsed().as_secs_f64() * 1_000.0,
                line()
            ));
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .as_ref()
            .map(|lines| lines.lock().clone())
            .unwrap_or_default()
    }
}
