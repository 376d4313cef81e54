//! `extension_breaker_state` of every extension that was called or decided about.

use std::fmt;
use std::time::SystemTime;

use beamline_actors::invokers::Invokers;
use beamline_actors::registry::Registry;
use beamline_domain::target::breaker::{Mode, State};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

#[derive(Debug)]
pub(super) struct States {
    pub(super) registry: Registry,
    pub(super) invokers: Invokers,
}

impl Collector for States {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let wall = SystemTime::now();
        let help = "What the next call meets: 0 closed, 1 half open, 2 open";
        let mut family =
            encoder.encode_descriptor("extension_breaker_state", help, None, MetricType::Gauge)?;
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
            family
                .encode_family(&[("extension_id", extension.id.as_str())])?
                .encode_gauge(&number)?;
        }
        Ok(())
    }
}
