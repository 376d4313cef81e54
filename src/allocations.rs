//! Heap allocations since the start, in builds with the feature `count-allocations`: what a request
//! costs is their difference, divided by the requests between.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

/// The counters of the allocator that `main.rs` chooses with this feature.
#[derive(Debug)]
pub(crate) struct Allocations;

impl Collector for Allocations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
        let counters = [
            (
                "router_allocations",
                "Blocks of memory that were taken from the heap",
                stats.allocations,
            ),
            (
                "router_reallocations",
                "Times that a block of the heap was made larger or smaller",
                stats.reallocations,
            ),
            (
                "router_allocated_bytes",
                "Bytes that were taken from the heap",
                stats.bytes_allocated,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value as u64);
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }
}
