//! Which endpoint of a target takes an attempt.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::run::CallOrder;
use beamline_domain::target::breaker::Mode;

use super::CallScope;
use crate::invoker::Invoker;
use crate::targets::{CallPermit, Withheld};

/// An attempt that may be sent.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The position of the endpoint.
    pub(super) endpoint: usize,
    pub(super) subject: Arc<str>,
    /// None of a dry run: it takes nobody's probe, and its end tells the breaker nothing.
    pub(super) permit: Option<CallPermit>,
}

/// The first endpoint from `start` on, and around, that did not ask to be left alone and whose
/// breaker lets the call through. When none does, the call is refused until the first of them opens
/// up.
pub(super) fn admit(
    invoker: &Invoker,
    order: &CallOrder,
    extra_time: Duration,
    scope: &CallScope,
    start: usize,
) -> Result<Admitted, CallFailure> {
    let target = &order.call.target;
    let operator = order.call.extension.breaker_operator.as_ref();
    let mode = Mode::of(operator, SystemTime::now());
    let settings = target.breaker.with_extra_time(extra_time);
    let mut soonest: Option<Duration> = None;
    let mut is_busy = false;
    let mut opened_by = None;
    for turn in start..start + target.endpoints.len() {
        let endpoint = turn % target.endpoints.len();
        let Some(place) = target.endpoints.get(endpoint) else {
            continue;
        };
        let breaker = invoker.target(&place.subject);
        let permit = if scope.rehearsal {
            let withheld = breaker.withheld_from(&scope.tenant_id, mode, settings.isolation);
            withheld.map_or(Ok(None), Err)
        } else {
            let permit = breaker.permit_for(&scope.tenant_id, mode, &settings);
            permit.map(Some)
        };
        let wait = match permit {
            Ok(permit) => {
                return Ok(Admitted {
                    endpoint,
                    subject: Arc::clone(&place.subject),
                    permit,
                });
            }
            Err(Withheld::CircuitOpen(wait)) => {
                opened_by = opened_by.or(breaker.opened_by());
                wait
            }
            Err(Withheld::AskedToWait(wait)) => {
                is_busy = true;
                wait
            }
        };
        soonest = Some(soonest.map_or(wait, |known| known.min(wait)));
    }
    Err(match soonest {
        Some(retry_after) if is_busy => CallFailure::LeftAlone { retry_after },
        Some(retry_after) => CallFailure::CircuitOpen {
            retry_after,
            opened_by,
        },
        None => CallFailure::Refused("it has no subject".to_owned()),
    })
}
