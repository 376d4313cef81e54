//! The breakers of one target, one for each tenant, where its record asks for that. Bounded: the
//! tenant that has not called for the longest time is forgotten first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use super::withheld::Withheld;
use beamline_domain::target::Tenant;
use beamline_domain::target::breaker::{
    Breaker, BreakerReading, CallEnd, Mode, Permit, Settings, State,
};
use beamline_domain::target::waits::Waits;

/// The breaker of one tenant at one target. Whoever holds a permit of it holds it too, so that an
/// outcome never reaches another.
#[derive(Debug)]
pub struct TenantBreaker {
    tenant_id: Arc<str>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    breaker: Breaker,
    at: Instant,
    waits: Waits,
}

/// How long calls of a tenant are kept back, and why.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeptBack {
    pub(super) held_back: Option<Duration>,
    pub(super) asked_to_wait: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct TenantBreakers {
    breakers: Mutex<LruCache<Arc<str>, Arc<TenantBreaker>>>,
}

/// Tenants at one target.
const MOST: usize = 10_000;
/// Of the tenants that have not called for the longest time, so many are looked at for being
/// forgotten.
const LOOKED_AT: usize = 256;

impl Default for TenantBreakers {
    fn default() -> Self {
        // Bounded by hand: with a bound from the start it would have all its memory from the start.
        Self {
            breakers: Mutex::new(LruCache::unbounded()),
        }
    }
}

impl TenantBreakers {
    /// The breaker of a tenant, made when there is none.
    pub(super) fn of(&self, tenant_id: &Arc<str>, now: Instant) -> Arc<TenantBreaker> {
        let mut breakers = self.breakers.lock();
        if let Some(known) = breakers.get(tenant_id) {
            return Arc::clone(known);
        }
        if breakers.len() >= MOST {
            breakers.pop_lru();
        }
        let used = Mutex::new(Used {
            breaker: Breaker::default(),
            at: now,
            waits: Waits::default(),
        });
        let breaker = Arc::new(TenantBreaker {
            tenant_id: Arc::clone(tenant_id),
            used,
        });
        breakers.put(Arc::clone(tenant_id), Arc::clone(&breaker));
        breaker
    }

    pub(super) fn kept_back(&self, tenant_id: &str, mode: Mode, now: Instant) -> KeptBack {
        let known = self.breakers.lock().peek(tenant_id).cloned();
        let Some(known) = known else {
            return KeptBack::default();
        };
        let used = known.used.lock();
        KeptBack {
            held_back: used.breaker.held_back(Tenant::NOBODY, mode, now),
            asked_to_wait: used.waits.left(Tenant::NOBODY, now),
        }
    }

    pub(super) fn is_alive(&self, now: Instant) {
        self.all()
            .iter()
            .for_each(|tenant| tenant.used.lock().breaker.is_alive(now));
    }

    /// True when any of them was not closed.
    pub(super) fn reset(&self, now: Instant) -> bool {
        let reset = |tenant: &Arc<TenantBreaker>| {
            let mut used = tenant.used.lock();
            used.waits = Waits::default();
            used.breaker.reset(now)
        };
        self.all().iter().filter(|tenant| reset(tenant)).count() > 0
    }

    pub(super) fn are_closed(&self, now: Instant) -> bool {
        self.all()
            .iter()
            .all(|tenant| tenant.used.lock().breaker.state(now) == State::Closed)
    }

    pub(super) fn readings(&self, now: Instant) -> Vec<(Arc<str>, BreakerReading)> {
        let reading = |tenant: Arc<TenantBreaker>| {
            (
                Arc::clone(&tenant.tenant_id),
                tenant.used.lock().breaker.reading(now),
            )
        };
        self.all().into_iter().map(reading).collect()
    }

    /// Forgets tenants that have not called for so long and whose breakers are closed.
    pub(super) fn forget_idle(&self, after: Duration, now: Instant) {
        let mut breakers = self.breakers.lock();
        let is_idle = |tenant: &TenantBreaker| {
            let used = tenant.used.lock();
            now.saturating_duration_since(used.at) >= after
                && used.breaker.state(now) == State::Closed
        };
        let oldest = breakers.iter().rev().take(LOOKED_AT);
        let idle: Vec<Arc<str>> = oldest
            .filter(|(_, tenant)| is_idle(tenant))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for tenant_id in idle {
            breakers.pop(&tenant_id);
        }
    }

    /// Callers wait for the lock no longer than it takes to copy pointers.
    fn all(&self) -> Vec<Arc<TenantBreaker>> {
        self.breakers
            .lock()
            .iter()
            .map(|(_, tenant)| Arc::clone(tenant))
            .collect()
    }
}

impl TenantBreaker {
    pub(super) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    pub(super) fn check(
        &self,
        mode: Mode,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) -> Result<Permit, Withheld> {
        let mut used = self.used.lock();
        used.at = now;
        match used.waits.left(Tenant::NOBODY, now) {
            Some(wait) => Err(Withheld::AskedToWait(wait)),
            None => used
                .breaker
                .check(Tenant::NOBODY, mode, settings, now, roll)
                .map_err(Withheld::CircuitOpen),
        }
    }

    pub(super) fn told_to_wait(&self, wait: Duration, now: Instant) {
        self.used.lock().waits.ask(Tenant::NOBODY, wait, now);
    }

    /// The state before an outcome, and what there is after it.
    pub(super) fn record(
        &self,
        permit: Permit,
        end: CallEnd,
        settings: &Settings,
        now: Instant,
    ) -> (State, BreakerReading) {
        let mut used = self.used.lock();
        let before = used.breaker.state(now);
        used.breaker
            .record(permit, end, settings, now, fastrand::f64());
        (before, used.breaker.reading(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::TargetState;
    use beamline_contract::record::{BreakerOverrides, Isolation, Kind};
    use beamline_domain::target::breaker::Outcome;

    fn settings() -> Settings {
        let written: BreakerOverrides = serde_json::from_str(r#"{"isolation": "tenant"}"#).unwrap();
        Settings::new(Kind::Pre, Duration::from_secs(1), &written)
    }

    fn target() -> Arc<TargetState> {
        TargetState::new(&"clean".into(), &"p.a".into(), &Arc::default())
    }

    fn call(target: &Arc<TargetState>, tenant: &str, outcome: Outcome) -> bool {
        let permit = target.permit_for(&tenant.into(), Mode::Normal, &settings());
        permit.is_ok_and(|permit| {
            permit.finish(outcome, Duration::ZERO);
            true
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenants_failures_are_nobody_elses() {
        let target = target();
        while call(&target, "acme", Outcome::Failure) {}
        assert!((0..20).all(|_| call(&target, "globex", Outcome::Success)));
        let held_back = |tenant| {
            target
                .endpoint_state_for(tenant, Mode::Normal, true)
                .held_back
        };
        assert!(
            held_back("acme").is_some()
                && held_back("globex").is_none()
                && held_back("new").is_none()
        );
        assert!(
            target.endpoint_state(Mode::Normal).held_back.is_none(),
            "without a tenant there is nothing to say"
        );
        assert_eq!(
            (target.breaker().state, target.figures().requests),
            (State::Closed, 0)
        );
        target.publish();
        assert_eq!(target.figures().requests, 25, "the figures are of all");
        let mut open: Vec<_> = target
            .tenants()
            .into_iter()
            .filter(|(_, reading)| reading.state != State::Closed)
            .collect();
        assert_eq!((open.len(), &*open.remove(0).0), (1, "acme"));
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!((0..3).all(|_| call(&target, "acme", Outcome::Success)));
        assert!(
            target
                .tenants()
                .iter()
                .all(|(_, reading)| reading.state == State::Closed)
        );
        while call(&target, "acme", Outcome::Failure) {}
        target.reset();
        assert!(
            call(&target, "acme", Outcome::Success),
            "an operator closes those of tenants, too"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_breaker_names_whom_it_keeps_back_alone() {
        let target = target();
        let shared = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        let call = |tenant: &str, outcome| {
            let permit = target.permit_for(&tenant.into(), Mode::Normal, &shared);
            permit.is_ok_and(|permit| {
                permit.finish(outcome, Duration::ZERO);
                true
            })
        };
        let kept_back = || {
            let tenants = target.tenants().into_iter();
            let open = tenants.filter(|(_, reading)| reading.state != State::Closed);
            open.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert!(call("globex", Outcome::Success));
        while call("acme", Outcome::Failure) {}
        assert!(call("globex", Outcome::Success) && call("new", Outcome::Success));
        assert_eq!(kept_back(), ["acme"]);
        assert_eq!(target.breaker().state, State::Closed);
        assert!(!target.is_closed(), "so it is not forgotten");
        let held_back = |tenant| {
            let state = target.endpoint_state_for(tenant, Mode::Normal, false);
            state.held_back.is_some()
        };
        assert_eq!((held_back("acme"), held_back("globex")), (true, false));
        while call("globex", Outcome::Failure) {}
        assert_eq!(target.breaker().state.as_str(), "open", "a second one");
        assert!(kept_back().is_empty() && held_back("new"));
        target.reset();
        assert!(call("acme", Outcome::Success) && target.is_closed());

        tokio::time::sleep(Duration::from_secs(60)).await;
        while call("acme", Outcome::Failure) {}
        assert_eq!(kept_back(), ["acme"], "whose failures opened it");
        assert!((0..3).all(|_| call("globex", Outcome::Success)), "a trial");
        assert_eq!(
            (target.breaker().state, kept_back()),
            (State::Closed, vec!["acme".to_owned()])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_to_wait_is_one_tenant() {
        let target = target();
        let wait = Duration::from_secs(3);
        target.told_to_wait(&"acme".into(), Isolation::Tenant, wait);
        let refused = |tenant: &str| {
            target
                .permit_for(&tenant.into(), Mode::Normal, &settings())
                .err()
        };
        assert_eq!(
            (refused("acme"), refused("globex")),
            (Some(Withheld::AskedToWait(wait)), None)
        );
        let asked_to_wait = |tenant| {
            target
                .endpoint_state_for(tenant, Mode::Normal, true)
                .asked_to_wait
        };
        assert_eq!(
            (asked_to_wait("acme"), asked_to_wait("globex")),
            (Some(wait), None)
        );
        target.told_to_wait(&"acme".into(), Isolation::Tenant, Duration::from_secs(1));
        assert_eq!(asked_to_wait("acme"), Some(wait), "the longest counts");
        tokio::time::sleep(wait).await;
        assert_eq!((refused("acme"), asked_to_wait("acme")), (None, None));
        target.told_to_wait(&"acme".into(), Isolation::Tenant, wait);
        target.reset();
        assert_eq!(
            asked_to_wait("acme"),
            None,
            "an operator wants it to be called"
        );
        let told = |tenant: &str, wait| {
            target.told_to_wait(&tenant.into(), Isolation::Shared, wait);
        };
        told("acme", Duration::MAX);
        let asked = |seconds| Some(Withheld::AskedToWait(Duration::from_secs(seconds)));
        assert_eq!((refused("acme"), refused("globex")), (asked(60), None));
        told("acme", wait);
        assert_eq!(refused("globex"), None, "another prompt of the same tenant");
        told("globex", wait);
        let all = ["acme", "globex", "new"].map(refused);
        assert_eq!(all, [asked(60), asked(3), asked(3)], "two were told");
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_are_bounded_and_idle_ones_forgotten() {
        let target = target();
        while call(&target, "bad", Outcome::Failure) {}
        for n in 0..MOST - 1 {
            call(&target, &format!("t{n}"), Outcome::Success);
        }
        let known = |id: &str| target.tenants().iter().any(|(tenant, _)| **tenant == *id);
        assert_eq!((target.tenants().len(), known("bad")), (MOST, true));
        let late = target
            .permit_for(&"t0".into(), Mode::Normal, &settings())
            .unwrap();
        for n in 0..MOST - 1 {
            call(&target, &format!("u{n}"), Outcome::Success);
        }
        assert_eq!(
            (
                target.tenants().len(),
                known("bad"),
                known("t0"),
                known("t1")
            ),
            (MOST, false, true, false)
        );
        call(&target, "last", Outcome::Success);
        assert!(!known("t0"));
        late.finish(Outcome::Failure, Duration::ZERO);
        assert!(!known("t0"), "an outcome of a forgotten one makes no other");

        tokio::time::sleep(Duration::from_secs(600)).await;
        call(&target, "last", Outcome::Success);
        target.forget_idle_tenants(Duration::from_secs(600));
        assert_eq!(
            (target.tenants().len(), known("last")),
            (MOST - LOOKED_AT, true),
            "some at a time"
        );
    }
}
