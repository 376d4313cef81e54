//! One target of an extension: a subject, with the breaker and the figures of the calls that went
//! there. An instance that fails harms only its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::peers::{Peers, Transition};
use super::permit::{Gate, Held, now};
use super::tenants::{KeptBack, TenantBreaker, TenantBreakers};
use super::withheld::Withheld;
use beamline_contract::failure::FailureKind;
use beamline_contract::record::Isolation;
use beamline_domain::target::Tenant;
use beamline_domain::target::breaker::{
    Breaker, BreakerReading, CallEnd, Mode, Opening, Outcome, Permit, Settings, State,
};
use beamline_domain::target::health::{Figures, Health};
use beamline_domain::target::selection::EndpointState;
use beamline_domain::target::waits::Waits;

/// The right to make one attempt at a target.
pub type CallPermit = Held<TargetState>;

/// What all callers of a target share.
#[derive(Debug)]
pub struct TargetState {
    extension_id: Arc<str>,
    pub subject: Arc<str>,
    record: Mutex<TargetRecord>,
    figures: ArcSwap<Figures>,
    /// There are outcomes that the figures do not show yet.
    unpublished: AtomicBool,
    peers: Arc<Peers>,
    /// Made when it is first called with a breaker for each tenant.
    tenants: OnceLock<Box<TenantBreakers>>,
}

#[derive(Debug)]
struct TargetRecord {
    breaker: Breaker,
    /// Of the tenants that the breaker tells apart.
    names: Vec<(Tenant, Arc<str>)>,
    health: Health,
    used_at: Instant,
    waits: Waits,
}

/// Figures of latencies may be this much too high. Else a call with all its time could seem to have
/// had too little, of an extension that usually takes nearly all of it.
const ROUNDED_UP: f64 = 0.02;

/// A breaker that is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenBreaker {
    pub(crate) until: Instant,
    pub(crate) level: u32,
    pub(crate) last: Opening,
}

impl TargetState {
    pub(crate) fn new(
        extension_id: &Arc<str>,
        subject: &Arc<str>,
        peers: &Arc<Peers>,
    ) -> Arc<Self> {
        let mut breaker = Breaker::default();
        if let Some(until) = peers.remembered(subject) {
            breaker.suspect(until);
        }
        Self::with(breaker, extension_id, subject, peers)
    }

    pub(crate) fn with(
        breaker: Breaker,
        extension_id: &Arc<str>,
        subject: &Arc<str>,
        peers: &Arc<Peers>,
    ) -> Arc<Self> {
        let record = TargetRecord {
            breaker,
            names: Vec::new(),
            health: Health::default(),
            used_at: now(),
            waits: Waits::default(),
        };
        Arc::new(Self {
            extension_id: Arc::clone(extension_id),
            subject: Arc::clone(subject),
            record: Mutex::new(record),
            figures: ArcSwap::default(),
            unpublished: AtomicBool::new(false),
            peers: Arc::clone(peers),
            tenants: OnceLock::new(),
        })
    }

    /// Asks the breaker for a call of nobody in particular, unless the target wants to be left
    /// alone; if not, why and how long until the next try. `mode` is what an operator has decided,
    /// `settings` what the caller goes by. The permit must be used or dropped; dropped unused, it
    /// tells the breaker nothing.
    pub fn permit(
        self: &Arc<Self>,
        mode: Mode,
        settings: &Settings,
    ) -> Result<CallPermit, Withheld> {
        self.permit_as(Tenant::NOBODY, CalledBy::Nobody, mode, settings)
    }

    /// The same for a call of one tenant, which has a breaker of its own where the settings say so.
    pub fn permit_for(
        self: &Arc<Self>,
        tenant_id: &Arc<str>,
        mode: Mode,
        settings: &Settings,
    ) -> Result<CallPermit, Withheld> {
        if settings.isolation == Isolation::Shared {
            let caller = CalledBy::Tenant(Arc::clone(tenant_id));
            return self.permit_as(Tenant::of(tenant_id), caller, mode, settings);
        }
        let now = now();
        let mut record = self.record.lock();
        record.used_at = now;
        if let Some(wait) = record.waits.left(Tenant::of(tenant_id), now) {
            return Err(Withheld::AskedToWait(wait));
        }
        drop(record);
        let breaker = self.tenants.get_or_init(Box::default).of(tenant_id, now);
        let permit = breaker.check(mode, settings, now, fastrand::f64())?;
        let caller = CalledBy::Isolated(breaker);
        Ok(Held::new(Arc::clone(self), caller, permit, *settings, now))
    }

    /// Why a call of this tenant would get no permit now. Asking changes nothing.
    pub(crate) fn withheld_from(
        &self,
        tenant_id: &str,
        mode: Mode,
        isolation: Isolation,
    ) -> Option<Withheld> {
        let isolated = isolation == Isolation::Tenant;
        let state = self.endpoint_state_for(tenant_id, mode, isolated);
        let asked_to_wait = state.asked_to_wait.map(Withheld::AskedToWait);
        asked_to_wait.or(state.held_back.map(Withheld::CircuitOpen))
    }

    fn permit_as(
        self: &Arc<Self>,
        tenant: Tenant,
        caller: CalledBy,
        mode: Mode,
        settings: &Settings,
    ) -> Result<CallPermit, Withheld> {
        let now = now();
        let mut record = self.record.lock();
        record.used_at = now;
        if let Some(wait) = record.waits.left(tenant, now) {
            return Err(Withheld::AskedToWait(wait));
        }
        let before = record.breaker.generation();
        let permit = record
            .breaker
            .check(tenant, mode, settings, now, fastrand::f64());
        // Refused or not: who asks may be the first to see that it has been half open for too long.
        let changed = self.changed_since(before, &record.breaker, now);
        let after = changed.is_some().then(|| record.breaker.reading(now));
        drop(record);
        if let Some(after) = after {
            self.log_change(None, State::HalfOpen, after);
        }
        self.tell(changed);
        let permit = permit.map_err(Withheld::CircuitOpen)?;
        Ok(Held::new(Arc::clone(self), caller, permit, *settings, now))
    }

    /// A call of this tenant was told to come back later: its tenant leaves the target alone for
    /// as long. Everybody does when two were told so, unless tenants have breakers of their own.
    pub fn told_to_wait(&self, tenant_id: &Arc<str>, isolation: Isolation, wait: Duration) {
        let now = now();
        match isolation {
            Isolation::Shared => {
                let tenant = Tenant::of(tenant_id);
                self.record.lock().waits.ask(tenant, wait, now);
            }
            Isolation::Tenant => self
                .tenants
                .get_or_init(Box::default)
                .of(tenant_id, now)
                .told_to_wait(wait, now),
        }
    }

    /// It answered something beside its calls: the next probe may go at once.
    pub fn is_alive(&self) {
        let now = now();
        self.record.lock().breaker.is_alive(now);
        if let Some(tenants) = self.tenants.get() {
            tenants.is_alive(now);
        }
    }

    /// It usually answers something beside its calls, and did not.
    pub(crate) fn is_silent(&self) {
        self.record.lock().breaker.is_silent(now());
    }

    /// Another replica's breaker is open until then.
    pub(crate) fn suspect(&self, until: Instant) {
        self.record.lock().breaker.suspect(until);
    }

    /// An operator closes its breaker, and wants it to be called.
    pub(crate) fn reset(&self) {
        let mut record = self.record.lock();
        let before = record.breaker.generation();
        let now = now();
        record.waits = Waits::default();
        let was_open = record.breaker.reset(now);
        let tenants_were = self.tenants.get().is_some_and(|tenants| tenants.reset(now));
        let changed = self
            .changed_since(before, &record.breaker, now)
            .filter(|_| was_open);
        record.health.recovered();
        drop(record);
        self.tell(changed);
        self.unpublished.store(true, Ordering::Relaxed);
        if was_open || tenants_were {
            let extension_id = &*self.extension_id;
            let subject = &*self.subject;
            tracing::info!(
                extension_id,
                subject,
                recovered = true,
                "an operator closed the circuit breaker"
            );
        }
    }

    pub fn breaker(&self) -> BreakerReading {
        self.record.lock().breaker.reading(now())
    }

    /// What the failures were about that its breaker opened for last.
    pub(crate) fn opened_by(&self) -> Option<FailureKind> {
        self.breaker().last.and_then(|opening| opening.class)
    }

    /// What is to outlive the process, if it is open.
    pub(crate) fn open_breaker(&self) -> Option<OpenBreaker> {
        let record = self.record.lock();
        let reading = record.breaker.reading(now());
        let State::Open { until } = reading.state else {
            return None;
        };
        Some(OpenBreaker {
            until,
            level: record.breaker.level(),
            last: reading.last?,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        let now = now();
        self.record.lock().breaker.is_closed(now)
            && self
                .tenants
                .get()
                .is_none_or(|tenants| tenants.are_closed(now))
    }

    /// The breakers of tenants, where they have their own, and of those with a trouble of their
    /// own.
    pub fn tenants(&self) -> Vec<(Arc<str>, BreakerReading)> {
        let now = now();
        let isolated = self.tenants.get().map(|tenants| tenants.readings(now));
        let mut tenants = isolated.unwrap_or_default();
        let record = self.record.lock();
        let named = |(tenant, reading)| Some((record.name_of(tenant)?, reading));
        tenants.extend(record.breaker.tenants(now).into_iter().filter_map(named));
        tenants
    }

    pub(crate) fn forget_idle_tenants(&self, after: Duration) {
        if let Some(tenants) = self.tenants.get() {
            tenants.forget_idle(after, now());
        }
    }

    pub fn figures(&self) -> Arc<Figures> {
        self.figures.load_full()
    }

    /// What a choice between targets goes by. One that is only waiting for its probe is not
    /// unhealthy: if everybody went elsewhere, it would wait for ever.
    pub(crate) fn endpoint_state(&self, mode: Mode) -> EndpointState {
        self.endpoint_state_with(Tenant::NOBODY, mode, |_| KeptBack::default())
    }

    /// The same for a tenant, which may have a breaker of its own.
    pub(crate) fn endpoint_state_for(
        &self,
        tenant_id: &str,
        mode: Mode,
        isolated: bool,
    ) -> EndpointState {
        self.endpoint_state_with(Tenant::of(tenant_id), mode, |now| {
            self.tenants
                .get()
                .filter(|_| isolated)
                .map(|all| all.kept_back(tenant_id, mode, now))
                .unwrap_or_default()
        })
    }

    fn endpoint_state_with(
        &self,
        tenant: Tenant,
        mode: Mode,
        isolated: impl FnOnce(Instant) -> KeptBack,
    ) -> EndpointState {
        let figures = self.figures.load();
        let now = now();
        let of_tenant = isolated(now);
        let record = self.record.lock();
        let held_back = record.breaker.held_back(tenant, mode, now);
        let asked_to_wait = record.waits.left(tenant, now);
        let last = record.breaker.reading(now).last;
        drop(record);
        let held_back = held_back.max(of_tenant.held_back);
        let asked_to_wait = asked_to_wait.max(of_tenant.asked_to_wait);
        let unhealthy = held_back.is_some() || asked_to_wait.is_some() || figures.is_unhealthy(now);
        EndpointState {
            held_back,
            opened_by: last.and_then(|opening| opening.class),
            asked_to_wait,
            unhealthy,
            // The extension's figures say that.
            failing: false,
            latency: figures.p50,
            p95: figures.p95,
            fresh: figures.are_fresh(now),
        }
    }

    /// What 95 % of its recent successes took, if there were any. After a pause it may be less by
    /// now, but hardly more than it was and half of the time that it has.
    pub(crate) fn usual_at_most(&self, own_time: Duration) -> Option<Duration> {
        let figures = self.figures.load();
        let p95 = figures.p95?.mul_f64(1.0 - ROUNDED_UP);
        let is_fresh = figures.are_fresh(now());
        Some(if is_fresh { p95 } else { p95.max(own_time / 2) })
    }

    /// Time since somebody last wanted to call it.
    pub(crate) fn unused_for(&self) -> Duration {
        now().saturating_duration_since(self.record.lock().used_at)
    }

    /// Brings the figures up to date.
    pub(crate) fn publish(&self) {
        if self.unpublished.swap(false, Ordering::Relaxed) {
            let figures = self.record.lock().health.figures();
            self.figures.store(Arc::new(figures));
        }
    }

    fn changed_since(
        &self,
        generation: u64,
        breaker: &Breaker,
        now: Instant,
    ) -> Option<Transition> {
        (breaker.generation() != generation).then(|| Transition {
            extension_id: Arc::clone(&self.extension_id),
            subject: Arc::clone(&self.subject),
            state: breaker.state(now),
            generation: breaker.generation(),
            class: breaker.reading(now).last.and_then(|last| last.class),
        })
    }

    fn tell(&self, changed: Option<Transition>) {
        if let Some(transition) = changed {
            self.peers.tell(transition);
        }
    }

    fn log_change(&self, tenant_id: Option<&str>, before: State, after: BreakerReading) {
        let extension_id = &*self.extension_id;
        let subject = &*self.subject;
        match after.state {
            State::Open { .. } if !matches!(before, State::Open { .. }) => {
                let reason = after.last.map(|last| last.reason.to_string());
                tracing::warn!(
                    extension_id,
                    subject,
                    tenant_id,
                    reason,
                    "the circuit breaker opened"
                );
            }
            State::Closed if before != State::Closed => {
                tracing::info!(
                    extension_id,
                    subject,
                    tenant_id,
                    recovered = true,
                    "the circuit breaker closed"
                );
            }
            State::Open { .. } | State::Closed | State::HalfOpen => {}
        }
    }
}

/// Who makes a call, as far as its breaker tells callers apart.
#[derive(Debug)]
pub enum CalledBy {
    Nobody,
    Tenant(Arc<str>),
    /// One with a breaker of its own, because the record says so.
    Isolated(Arc<TenantBreaker>),
}

impl Gate for TargetState {
    type Breaker = CalledBy;

    fn returned(&self, caller: &CalledBy, permit: Permit, settings: &Settings, end: CallEnd) {
        let now = now();
        let CallEnd { outcome, took, .. } = end;
        let isolated = if let CalledBy::Isolated(tenant) = caller {
            Some((
                tenant.tenant_id(),
                tenant.record(permit, end, settings, now),
            ))
        } else {
            None
        };
        let mut record = self.record.lock();
        let seen = match isolated {
            Some(_) => None,
            None => Some(record.ended(permit, end, settings, now, caller)),
        };
        let changed = seen
            .as_ref()
            .and_then(|seen| self.changed_since(seen.generation, &record.breaker, now));
        if outcome != Outcome::Ignored {
            record.health.record(outcome == Outcome::Success, took, now);
        }
        drop(record);
        self.unpublished.store(true, Ordering::Relaxed);
        self.tell(changed);
        if let Some((tenant_id, (before, after))) = isolated {
            self.log_change(Some(tenant_id), before, after);
        }
        if let Some(seen) = seen {
            self.log_change(None, seen.before, seen.after);
            if let (CalledBy::Tenant(tenant_id), Some((before, after))) = (caller, seen.of_tenant) {
                self.log_change(Some(tenant_id), before, after);
            }
        }
    }
}

/// The breaker before and after the end of a call.
struct Change {
    generation: u64,
    before: State,
    after: BreakerReading,
    /// What keeps back the caller alone.
    of_tenant: Option<(State, BreakerReading)>,
}

impl TargetRecord {
    fn ended(
        &mut self,
        permit: Permit,
        end: CallEnd,
        settings: &Settings,
        now: Instant,
        caller: &CalledBy,
    ) -> Change {
        let tenant = permit.tenant();
        let breaker = &mut self.breaker;
        // As it was stored: of the end of being half open nobody may have heard yet.
        let before = breaker.stored_state();
        let generation = breaker.generation();
        let own_before = breaker.state_of(tenant, now);
        breaker.record(permit, end, settings, now, fastrand::f64());
        let after = breaker.reading(now);
        let own_after = breaker.reading_of(tenant, now);
        if before != State::Closed && after.state == State::Closed {
            self.health.recovered();
        }
        if let CalledBy::Tenant(name) = caller
            && end.outcome.is_failure()
        {
            self.learn(tenant, name);
        }
        Change {
            generation,
            before,
            after,
            of_tenant: own_after.map(|after| (own_before, after)),
        }
    }

    /// Keeps the names of those that the breaker knows a trouble of, and no others.
    fn learn(&mut self, tenant: Tenant, name: &Arc<str>) {
        let breaker = &self.breaker;
        if !breaker.concerns(tenant) || self.names.iter().any(|(known, _)| *known == tenant) {
            return;
        }
        self.names.retain(|(known, _)| breaker.concerns(*known));
        self.names.push((tenant, Arc::clone(name)));
    }

    fn name_of(&self, tenant: Tenant) -> Option<Arc<str>> {
        let found = self.names.iter().find(|(known, _)| *known == tenant);
        found.map(|(_, name)| Arc::clone(name))
    }
}
