//! Breakers of tenants, counted, with the worst of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use beamline_contract::admin::{TenantBreaker, TenantBreakers};
use beamline_domain::target::breaker::{BreakerReading, State};

use crate::admin::targets::wall_time_ahead;

/// Tenants that are listed by name.
const LISTED: usize = 10;

/// A tenant that calls several targets is counted once: closed while any of them lets its calls
/// through.
pub(super) fn counted(
    readings: impl Iterator<Item = (Arc<str>, BreakerReading)>,
) -> TenantBreakers {
    let mut tenants: HashMap<Arc<str>, Vec<BreakerReading>> = HashMap::new();
    for (tenant_id, reading) in readings {
        tenants.entry(tenant_id).or_default().push(reading);
    }
    let known = tenants.len();
    let whole = tenants
        .into_iter()
        .map(|(tenant_id, readings)| (tenant_id, BreakerReading::over(readings)));
    let mut bad: Vec<_> = whole
        .filter(|(_, reading)| reading.state != State::Closed)
        .collect();
    bad.sort_by_cached_key(|(tenant_id, reading)| {
        (
            reading.state == State::HalfOpen,
            Reverse(reading.failures),
            Arc::clone(tenant_id),
        )
    });
    let half_open = bad
        .iter()
        .filter(|(_, reading)| reading.state == State::HalfOpen)
        .count();
    TenantBreakers {
        known,
        open: bad.len() - half_open,
        half_open,
        worst: bad.iter().take(LISTED).map(line).collect(),
    }
}

fn line((tenant_id, reading): &(Arc<str>, BreakerReading)) -> TenantBreaker {
    let until = match reading.state {
        State::Open { until } => Some(wall_time_ahead(until)),
        State::Closed | State::HalfOpen => None,
    };
    TenantBreaker {
        tenant_id: tenant_id.to_string(),
        state: reading.state.as_str().into(),
        failure_count: reading.failures.into(),
        reason: reading.last.map(|last| last.reason.to_string()),
        until,
    }
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
        let open = (0..20).map(|n| (format!("t{n:02}").into(), reading(State::Open { until }, n)));
        let more = [
            ("half".into(), reading(State::HalfOpen, 99)),
            ("fine".into(), reading(State::Closed, 4)),
            ("t00".into(), reading(State::Closed, 0)),
        ];
        let counted = counted(open.chain(more));
        assert_eq!(
            (counted.known, counted.open, counted.half_open),
            (22, 19, 1)
        );
        let worst: Vec<&str> = counted.worst.iter().map(|one| &*one.tenant_id).collect();
        assert_eq!((worst.len(), worst[0], worst[9]), (10, "t19", "t10"));
    }
}
