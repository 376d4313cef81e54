//! From when on a pipeline counts as long.

use std::time::Duration;

use super::reader::Reader;

/// Section `complexity`: what `get_pipeline_complexity` measures a policy by.
#[derive(Debug, Clone, Copy)]
pub struct ComplexityConfig {
    /// Extensions in one pipeline, without the provider.
    pub recommended_total: u32,
    /// Extensions of one kind.
    pub recommended_per_kind: u32,
    /// What an extension is expected to take while nothing is known of its latency.
    pub assumed_latency: Duration,
    /// An estimate above this is warned of.
    pub recommended_latency: Duration,
}

impl ComplexityConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let latencies = Duration::from_millis(1)..=Duration::from_secs(600);
        let milliseconds = Duration::from_millis;
        Self {
            recommended_total: from.number("complexity.recommended_total", 4, 1..=256),
            recommended_per_kind: from.number("complexity.recommended_per_kind", 2, 1..=256),
            assumed_latency: from.duration(
                "complexity.assumed_latency",
                milliseconds(30),
                latencies.clone(),
            ),
            recommended_latency: from.duration(
                "complexity.recommended_latency",
                milliseconds(150),
                latencies,
            ),
        }
    }
}
