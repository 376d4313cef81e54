//! Breakers of tenants, counted, with the worst of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use beamline_contract::admin::{PartBreaker, TenantsCounted};
use beamline_domain::target::breaker::{BreakerReading, Mode, State};

use super::part;

/// Tenants that are listed by name.
const LISTED: usize = 20;

/// A tenant at all targets that it calls: closed while any of them lets its calls through.
pub(super) type Tenant = (Arc<str>, BreakerReading);

/// One that calls several targets is counted once.
pub(super) fn whole(readings: impl Iterator<Item = Tenant>) -> Vec<Tenant> {
    let mut tenants: HashMap<Arc<str>, Vec<BreakerReading>> = HashMap::new();
    for (tenant_id, reading) in readings {
        tenants.entry(tenant_id).or_default().push(reading);
    }
    let whole = |(tenant_id, readings)| (tenant_id, BreakerReading::over(readings));
    tenants.into_iter().map(whole).collect()
}

pub(super) fn counted(tenants: &[Tenant]) -> TenantsCounted {
    let count = |is: fn(State) -> bool| {
        let found = tenants.iter().filter(|(_, reading)| is(reading.state));
        found.count()
    };
    TenantsCounted {
        known: tenants.len(),
        open: count(|state| matches!(state, State::Open { .. })),
        half_open: count(|state| state == State::HalfOpen),
    }
}

/// A few of those that are kept back, the worst first.
pub(super) fn worst(tenants: &[Tenant], mode: Mode) -> BTreeMap<String, PartBreaker> {
    let mut bad: Vec<&Tenant> = tenants
        .iter()
        .filter(|(_, reading)| reading.state != State::Closed)
        .collect();
    bad.sort_by_cached_key(|(tenant_id, reading)| {
        (
            reading.state == State::HalfOpen,
            Reverse(reading.failures),
            Arc::clone(tenant_id),
        )
    });
    let listed = bad.into_iter().take(LISTED);
    listed
        .map(|(tenant_id, reading)| (tenant_id.to_string(), part(reading, mode)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_worst_are_listed_and_all_are_counted() {
        let until = Instant::now() + Duration::from_secs(60);
        let reading = |state, failures| BreakerReading {
            state,
            failures,
            ..BreakerReading::over([])
        };
        let open = (0..30).map(|n| (format!("t{n:02}").into(), reading(State::Open { until }, n)));
        let more = [
            ("half".into(), reading(State::HalfOpen, 99)),
            ("fine".into(), reading(State::Closed, 4)),
            ("t00".into(), reading(State::Closed, 0)),
        ];
        let tenants = whole(open.chain(more));
        let TenantsCounted {
            known,
            open,
            half_open,
        } = counted(&tenants);
        assert_eq!((known, open, half_open), (32, 29, 1));
        let worst = worst(&tenants, Mode::Normal);
        let names: Vec<&str> = worst.keys().map(String::as_str).collect();
        assert_eq!((names.len(), names[0], names[19]), (20, "t10", "t29"));
    }
}
