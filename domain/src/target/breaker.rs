//! The circuit breaker of one target: opens when calls fail or are slow, and closes when some
//! probes have succeeded.
//!
//! It never sees a request. It is asked whether a call may go, and told how the call ended. All
//! policies and tenants that call the target share it; each outcome is judged by the settings of
//! the call that brings it. What only one tenant meets, while others call as well, keeps only that
//! tenant back.

use std::time::{Duration, Instant};

mod evidence;
mod machine;
mod mode;
mod outcome;
mod overrides;
mod reading;
mod scope;
mod settings;
mod tenants;
mod window;

pub use mode::Mode;
pub use outcome::{CallEnd, Outcome};
pub use overrides::{read_policy, read_record};
pub use reading::{BreakerReading, OpenReason, Opening, State};
pub use settings::Settings;
pub use window::Counts;

use super::tenant::{Seen, Tenant};
use evidence::{Ended, is_slow};
use machine::{Machine, Phase};
use scope::Scope;
use tenants::{Guests, Own};

/// The right to make one call. Its outcome must be recorded; the generations tell a late one from a
/// timely one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
    /// Of the tenant's own machine, if it had one.
    own: Option<u64>,
    tenant: Tenant,
    began: Instant,
    standing: Standing,
}

impl Permit {
    pub fn tenant(&self) -> Tenant {
        self.tenant
    }
}

/// Whether the breaker itself let the call through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Granted,
    /// It is open because of another tenant: the call finds out whether it is for this one, too.
    Guest,
    /// It is switched off: the outcome is counted and changes no state.
    Counted,
    /// It would have refused: the outcome is nothing that it could have seen.
    Unseen,
}

#[derive(Debug, Clone, Default)]
pub struct Breaker {
    everybody: Machine,
    /// The only tenant whose calls had failed when it opened.
    opened_by: Option<Tenant>,
    guests: Guests,
    own: Own,
    /// Those who called, or wanted to.
    callers: Seen,
    /// Those whose calls failed since the last success; of probes, since it is half open.
    failing: Seen,
    /// Those whose calls failed or were slow.
    troubled: Seen,
    /// When it was asked for a sign of life and gave none.
    silent_at: Option<Instant>,
}

impl Breaker {
    /// One that opened in an earlier life of the process, and still is.
    pub fn still_open(until: Instant, level: u32, last: Opening) -> Self {
        Self {
            everybody: Machine::still_open(until, level, last),
            ..Self::default()
        }
    }

    /// May a call of this tenant go? If not, how long until the next try makes sense. `roll` is
    /// uniform in `0.0..1.0`.
    pub fn check(
        &mut self,
        tenant: Tenant,
        mode: Mode,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) -> Result<Permit, Duration> {
        let standing = match mode {
            Mode::Disabled => Standing::Counted,
            Mode::ForcedOpen(wait) => return Err(wait),
            Mode::Normal => match self.admit(tenant, settings, now, roll) {
                Ok(standing) => standing,
                Err(wait) => {
                    self.callers.saw(tenant, now);
                    return Err(wait);
                }
            },
            Mode::MetricsOnly => self
                .admit(tenant, settings, now, roll)
                .unwrap_or(Standing::Unseen),
        };
        if standing != Standing::Unseen {
            self.callers.saw(tenant, now);
        }
        Ok(Permit {
            generation: self.everybody.generation,
            own: self.own.find(tenant).map(|own| own.generation),
            tenant,
            began: now,
            standing,
        })
    }

    fn admit(
        &mut self,
        tenant: Tenant,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) -> Result<Standing, Duration> {
        let before = self.everybody.generation;
        if let Some(wait) = self.held_back_alone(tenant, now)
            && self.everybody.held_back(now).is_none()
        {
            // Nor may it take a probe from the others.
            self.everybody.settle(now);
            return Err(wait);
        }
        let admitted = self.everybody.admit(settings, now, roll);
        if self.everybody.generation != before {
            self.guests.begin(settings.half_open_permits);
            self.failing = Seen::default();
        }
        if let Err(wait) = admitted {
            if !self.may_be_guest(tenant, now) {
                return Err(wait);
            }
            self.guests.enter(tenant);
            return Ok(Standing::Guest);
        }
        if let Some(own) = self.own.find_mut(tenant)
            && let Err(wait) = own.admit(settings, now, roll)
        {
            self.everybody.probe_is_back();
            return Err(wait);
        }
        Ok(Standing::Granted)
    }

    fn held_back_alone(&self, tenant: Tenant, now: Instant) -> Option<Duration> {
        self.own.find(tenant)?.held_back(now)
    }

    /// Nothing is held against this tenant, which has not called in the time that is looked back
    /// on: else what another one met would not have opened it for everybody.
    fn may_be_guest(&self, tenant: Tenant, now: Instant) -> bool {
        let is_open = matches!(self.everybody.phase_at(now), Phase::Open { .. });
        let by_another = self.opened_by.is_some_and(|other| other != tenant);
        let is_free = self.held_back_alone(tenant, now).is_none();
        is_open && by_another && is_free && self.guests.has_room(tenant)
    }

    /// Takes the end of a call. One from before the last change of state
    /// changes nothing.
    pub fn record(
        &mut self,
        permit: Permit,
        end: CallEnd,
        settings: &Settings,
        now: Instant,
        roll: f64,
    ) {
        self.everybody.settle(now);
        if permit.generation != self.everybody.generation {
            return;
        }
        let call = Ended {
            outcome: end.outcome,
            class: end.class,
            took: end.took,
            began: permit.began,
            now,
        };
        match permit.standing {
            Standing::Unseen => {}
            Standing::Counted => self.everybody.evidence.add(&call, settings),
            Standing::Guest => self.guest_ended(permit.tenant, end.outcome, settings),
            Standing::Granted => self.ended(permit, &call, settings, roll),
        }
    }

    fn ended(&mut self, permit: Permit, call: &Ended, settings: &Settings, roll: f64) {
        let tenant = permit.tenant;
        let counts_slow = settings.slow_call_rate < 100 && call.outcome != Outcome::Ignored;
        let was_slow = counts_slow && is_slow(call, settings);
        self.saw(tenant, call, was_slow);
        let within = Duration::from_secs(settings.window.into());
        let silent = self.silent_at;
        let scope = Scope {
            alone: !self.callers.several(within, call.now),
            is_of_all: call.outcome == Outcome::NoResponders
                || silent.is_some_and(|at| call.now.saturating_duration_since(at) < within),
            two_in_a_row: self.failing.two() || self.own.is_another_kept_back(tenant),
            two_in_trouble: self.troubled.several(within, call.now),
        };
        if !self.everybody.is_closed() {
            return self.probe_ended(permit, call, scope, settings, roll);
        }
        if self.own.is_late(tenant, permit.own) {
            // Its own breaker has opened meanwhile, and said all there is to say.
            return;
        }
        let before = self.everybody.generation;
        let own = &self.own;
        let counts = |reason, all| scope.counts(reason, all, own, settings, call.now);
        self.everybody.record(call, counts, settings, roll);
        if self.everybody.generation != before {
            // It has opened for all, and what was held against some goes with that.
            self.opens(Some(tenant).filter(|_| scope.is_one_tenants()), settings);
            return;
        }
        let is_bad = call.outcome.is_failure() || was_slow;
        self.own
            .record(tenant, permit.own, call, is_bad, settings, roll);
    }

    fn saw(&mut self, tenant: Tenant, call: &Ended, was_slow: bool) {
        if call.outcome != Outcome::Ignored {
            self.callers.saw(tenant, call.now);
        }
        if call.outcome == Outcome::Success {
            self.failing = Seen::default();
        } else if call.outcome.is_failure() {
            self.failing.saw(tenant, call.now);
        }
        if was_slow || call.outcome.is_failure() {
            self.troubled.saw(tenant, call.now);
        }
    }

    /// A probe that fails is evidence against its tenant first, as any other call is: else one that
    /// sends what always fails would keep the breaker open for everybody.
    fn probe_ended(
        &mut self,
        permit: Permit,
        call: &Ended,
        scope: Scope,
        settings: &Settings,
        roll: f64,
    ) {
        let tenant = permit.tenant;
        let everybody = &mut self.everybody;
        let concerns_all = scope.alone || scope.is_of_all || scope.two_in_a_row;
        if call.outcome.is_failure() && !concerns_all {
            everybody.probe_is_back();
            let openings = everybody.openings;
            self.own
                .probe_failed(tenant, permit.own, call, openings, settings, roll);
            return;
        }
        let before = everybody.generation;
        everybody.record(call, |_, _| true, settings, roll);
        if everybody.generation == before {
            self.own
                .record(tenant, permit.own, call, false, settings, roll);
        } else if everybody.is_closed() {
            self.own.keep_open_ones();
            self.opened_by = None;
        } else {
            let is_own = self.opened_by.is_none_or(|known| known == tenant);
            let by = Some(tenant).filter(|_| is_own && scope.is_one_tenants());
            self.opens(by, settings);
        }
    }

    /// It has opened, because of one tenant alone or of more.
    fn opens(&mut self, because_of: Option<Tenant>, settings: &Settings) {
        self.own.clear();
        self.guests.begin(settings.half_open_permits);
        self.opened_by = because_of;
    }

    fn guest_ended(&mut self, tenant: Tenant, outcome: Outcome, settings: &Settings) {
        self.guests.leave(tenant);
        let Some(other) = self.opened_by else {
            return;
        };
        if outcome.is_failure() {
            // So it was not the other one's alone.
            self.opened_by = None;
        } else if outcome == Outcome::Success
            && self.guests.succeeded() >= settings.half_open_successes
        {
            let cleared = self.everybody.cleared();
            let others = std::mem::replace(&mut self.everybody, cleared);
            self.own.put(other, others);
            self.opened_by = None;
        }
    }

    /// A sign of life beside the traffic. It brings the next probe forward, but only calls close a
    /// breaker: what answers pings may still fail at its work. What the extension itself asked for
    /// is left alone.
    pub fn is_alive(&mut self, now: Instant) {
        self.silent_at = None;
        self.everybody.is_alive(now);
        self.own.each().for_each(|own| own.is_alive(now));
    }

    /// It usually gives a sign of life, and now it gave none. That opens nothing, but failures are
    /// no single tenant's then.
    pub fn is_silent(&mut self, now: Instant) {
        self.silent_at = Some(now);
        self.opened_by = None;
    }

    /// Another replica's breaker for this target is open until then. It opens nothing here, but
    /// fewer failures are enough while it lasts.
    pub fn suspect(&mut self, until: Instant) {
        self.everybody.suspect(until);
    }

    /// Somebody knows better: closed, as if nothing had ever happened, but for why it opened last.
    /// What calls that are on their way bring changes nothing. True when it was open or half open.
    pub fn reset(&mut self, now: Instant) -> bool {
        let own_were_open = self.own.clear();
        self.opened_by = None;
        (self.callers, self.troubled) = (Seen::default(), Seen::default());
        self.failing = Seen::default();
        self.silent_at = None;
        self.everybody.reset(now) || own_were_open
    }

    /// How long calls of this tenant are kept back, if they are. Asking changes nothing.
    pub fn held_back(&self, tenant: Tenant, mode: Mode, now: Instant) -> Option<Duration> {
        match mode {
            Mode::Disabled | Mode::MetricsOnly => None,
            Mode::ForcedOpen(wait) => Some(wait),
            Mode::Normal => {
                let for_all = self.everybody.held_back(now);
                for_all
                    .filter(|_| !self.may_be_guest(tenant, now))
                    .or_else(|| self.held_back_alone(tenant, now))
            }
        }
    }

    /// The state as of `now`: an open time that is over shows as half open, though no call has come
    /// yet.
    pub fn state(&self, now: Instant) -> State {
        self.everybody.state(now)
    }

    /// The state as of the last transition that somebody has made.
    pub fn stored_state(&self) -> State {
        self.everybody.stored_state()
    }

    /// What is shown of it.
    pub fn reading(&self, now: Instant) -> BreakerReading {
        self.everybody.reading(now)
    }

    /// What is shown of each tenant with a trouble of its own, and of the one that opened it.
    pub fn tenants(&self, now: Instant) -> Vec<(Tenant, BreakerReading)> {
        let mut tenants = self.own.readings(now);
        tenants.extend(self.opened_by.map(|tenant| (tenant, self.reading(now))));
        tenants
    }

    /// What is shown of one of them.
    pub fn reading_of(&self, tenant: Tenant, now: Instant) -> Option<BreakerReading> {
        self.own.find(tenant).map(|own| own.reading(now))
    }

    /// The only tenant whose calls had failed when it opened, while it is open.
    pub fn opened_by(&self) -> Option<Tenant> {
        self.opened_by
    }

    /// The state of what keeps back this tenant alone.
    pub fn state_of(&self, tenant: Tenant, now: Instant) -> State {
        let own = self.own.find(tenant);
        own.map_or(State::Closed, |own| own.state(now))
    }

    /// Whether it knows of a trouble of this tenant.
    pub fn concerns(&self, tenant: Tenant) -> bool {
        self.opened_by == Some(tenant) || self.own.find(tenant).is_some()
    }

    /// Closed for every tenant.
    pub fn is_closed(&self, now: Instant) -> bool {
        self.state(now) == State::Closed && self.own.are_closed(now)
    }

    /// Open times in a row, the present one included.
    pub fn level(&self) -> u32 {
        self.everybody.openings
    }

    /// Changes with every transition that concerns everybody.
    pub fn generation(&self) -> u64 {
        self.everybody.generation
    }

    /// The calls of the last seconds.
    pub fn counts(&self, settings: &Settings, now: Instant) -> Counts {
        self.everybody.evidence.window.counts(settings.window, now)
    }

    /// Probes that are out.
    pub fn in_flight(&self) -> u32 {
        let guests = self.opened_by.map_or(0, |_| self.guests.calls());
        self.everybody.in_flight() + guests
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
