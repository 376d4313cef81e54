//! Whose trouble it is. What one tenant meets may lie in what that tenant sends, or in the key that
//! is used for it; what two of them meet lies in the target.

use std::time::Instant;

use super::evidence::Ended;
use super::machine::Machine;
use super::reading::{BreakerReading, State};
use super::settings::Settings;
use super::window::Counts;
use crate::target::tenant::Tenant;

/// The machines of tenants whose calls failed lately while others called, too.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    machines: Vec<(Tenant, Box<Machine>)>,
    made: u32,
}

/// More tenants with a trouble of their own are not told apart.
const MOST: usize = 16;

impl Own {
    pub(super) fn find(&self, tenant: Tenant) -> Option<&Machine> {
        let found = self.machines.iter().find(|(known, _)| *known == tenant);
        found.map(|(_, machine)| &**machine)
    }

    pub(super) fn find_mut(&mut self, tenant: Tenant) -> Option<&mut Machine> {
        let found = self.machines.iter_mut().find(|(known, _)| *known == tenant);
        found.map(|(_, machine)| &mut **machine)
    }

    /// A call of the tenant has ended, which was let through at this generation of its machine, or
    /// when it had none. A bad end makes one.
    pub(super) fn record(
        &mut self,
        tenant: Tenant,
        granted_at: Option<u64>,
        call: &Ended,
        is_bad: bool,
        settings: &Settings,
        roll: f64,
    ) {
        if self.machines.is_empty() && !is_bad {
            return;
        }
        if is_bad {
            self.forget_blank(settings, call.now);
        }
        if self.find(tenant).is_none() {
            if !is_bad || granted_at.is_some() || tenant == Tenant::NOBODY {
                return;
            }
            self.put(tenant, Machine::default());
        }
        let Some(machine) = self.find_mut(tenant) else {
            return;
        };
        machine.settle(call.now);
        if machine.was_let_through_by(granted_at) {
            machine.record(call, |_, _| is_bad, settings, roll);
        }
    }

    pub(super) fn is_another_kept_back(&self, tenant: Tenant) -> bool {
        let mut machines = self.machines.iter();
        machines.any(|(known, own)| *known != tenant && !own.is_closed())
    }

    /// Whether a call that was let through at this generation is of before the last change of what
    /// its tenant has of its own.
    pub(super) fn is_late(&self, tenant: Tenant, granted_at: Option<u64>) -> bool {
        let own = self.find(tenant);
        own.is_some_and(|own| !own.was_let_through_by(granted_at))
    }

    /// A probe of everybody's breaker failed, and that is held against its tenant alone.
    pub(super) fn probe_failed(
        &mut self,
        tenant: Tenant,
        granted_at: Option<u64>,
        call: &Ended,
        openings: u32,
        settings: &Settings,
        roll: f64,
    ) {
        if self.find(tenant).is_none() {
            self.put(tenant, Machine::default());
        }
        let Some(machine) = self.find_mut(tenant) else {
            return;
        };
        machine.settle(call.now);
        if machine.is_closed() {
            machine.failed_as_probe(call, openings, settings, roll);
        } else if granted_at == Some(machine.generation) {
            machine.record(call, |_, _| true, settings, roll);
        }
    }

    /// The calls of the tenant that fared worst: the most of them failed, or else were slow.
    pub(super) fn worst(&self, slow: bool, seconds: u32, now: Instant) -> Counts {
        let counts = |(_, own): &(Tenant, Box<Machine>)| own.evidence.window.counts(seconds, now);
        let bad = |counts: &Counts| if slow { counts.slow } else { counts.failures };
        let machines = self.machines.iter().map(counts);
        machines.max_by_key(bad).unwrap_or_default()
    }

    /// Adds one, and forgets another when there are too many: a closed one, or the oldest.
    pub(super) fn put(&mut self, tenant: Tenant, machine: Machine) {
        if self.machines.len() >= MOST {
            let closed = self.machines.iter().position(|(_, own)| own.is_closed());
            self.machines.remove(closed.unwrap_or_default());
        }
        self.made = self.made.wrapping_add(1);
        let machine = machine.taken_over(u64::from(self.made) << 32);
        self.machines.push((tenant, Box::new(machine)));
    }

    fn forget_blank(&mut self, settings: &Settings, now: Instant) {
        self.machines
            .retain(|(_, own)| !own.is_blank(settings, now));
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Machine> {
        self.machines.iter_mut().map(|(_, machine)| &mut **machine)
    }

    /// Everybody's breaker has closed: what it was probed with is over, but for those who failed.
    pub(super) fn keep_open_ones(&mut self) {
        self.machines.retain(|(_, own)| !own.is_closed());
    }

    /// True when any of them was not closed.
    pub(super) fn clear(&mut self) -> bool {
        let was_open = self.machines.iter().any(|(_, own)| !own.is_closed());
        self.machines.clear();
        was_open
    }

    pub(super) fn are_closed(&self, now: Instant) -> bool {
        let is_closed = |own: &Machine| own.state(now) == State::Closed;
        self.machines.iter().all(|(_, own)| is_closed(own))
    }

    pub(super) fn readings(&self, now: Instant) -> Vec<(Tenant, BreakerReading)> {
        let machines = self.machines.iter();
        machines
            .map(|(tenant, own)| (*tenant, own.reading(now)))
            .collect()
    }
}

impl Machine {
    /// Whether it is as it was when it let a call through, or when there was none for its tenant.
    fn was_let_through_by(&self, granted_at: Option<u64>) -> bool {
        let first = self.generation >> 32 << 32;
        granted_at.unwrap_or(first) == self.generation
    }
}

/// Calls that go past a breaker which one other tenant has opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Guests {
    in_flight: Vec<(Tenant, u32)>,
    /// Calls of one tenant in flight.
    permits: u32,
    successes: u32,
}

/// Tenants that try at a time.
const GUESTS: usize = 4;

impl Guests {
    pub(super) fn has_room(&self, tenant: Tenant) -> bool {
        let known = self.in_flight.iter().find(|(known, _)| *known == tenant);
        known.map_or(self.in_flight.len() < GUESTS, |(_, calls)| {
            *calls < self.permits
        })
    }

    pub(super) fn enter(&mut self, tenant: Tenant) {
        let known = self
            .in_flight
            .iter_mut()
            .find(|(known, _)| *known == tenant);
        match known {
            Some((_, calls)) => *calls += 1,
            None => self.in_flight.push((tenant, 1)),
        }
    }

    pub(super) fn leave(&mut self, tenant: Tenant) {
        for (known, calls) in &mut self.in_flight {
            if *known == tenant {
                *calls = calls.saturating_sub(1);
            }
        }
        self.in_flight.retain(|(_, calls)| *calls > 0);
    }

    /// One more of their calls went well; how many did.
    pub(super) fn succeeded(&mut self) -> u32 {
        self.successes = self.successes.saturating_add(1);
        self.successes
    }

    /// From now on there are none, and so many calls of each are let in.
    pub(super) fn begin(&mut self, permits: u32) {
        self.in_flight.clear();
        (self.permits, self.successes) = (permits, 0);
    }

    pub(super) fn calls(&self) -> u32 {
        self.in_flight.iter().map(|(_, calls)| calls).sum()
    }
}
