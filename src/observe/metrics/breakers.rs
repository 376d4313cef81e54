//! The state of every extension that was called or decided about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::registry::Registry;
use beamline_domain::target::breaker::{Mode, State};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::table;

#[derive(Debug)]
pub(crate) struct BreakerStates {
    pub(crate) registry: Registry,
    pub(crate) invokers: Invokers,
    pub(crate) metrics: Metrics,
}

impl Collector for BreakerStates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = table::BREAKER_STATE.encoder(&mut encoder)?;
        for (extension_id, number) in self.worst() {
            family
                .encode_family(&[("extension_id", extension_id)])?
                .encode_gauge(&number)?;
        }
        Ok(())
    }
}

impl BreakerStates {
    /// By label: several may share one.
    fn worst(&self) -> BTreeMap<Arc<str>, i64> {
        let wall = SystemTime::now();
        let mut worst = BTreeMap::new();
        for extension in self.registry.snapshot().extensions() {
            let mode = Mode::of(extension.breaker_operator.as_ref(), wall);
            let invoker = self.invokers.find(&extension.id);
            if invoker.is_none() && mode == Mode::Normal {
                continue;
            }
            let measured = invoker.map_or(State::Closed, |invoker| {
                invoker.breakers(extension).whole.state
            });
            let number: i64 = match mode.effective(measured) {
                "closed" => 0,
                "half_open" => 1,
                _ => 2,
            };
            let known = worst.entry(self.metrics.extension(&extension.id));
            let shown = known.or_insert(number);
            *shown = number.max(*shown);
        }
        worst
    }
}
