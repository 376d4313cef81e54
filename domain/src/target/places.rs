//! The places of one extension: how many calls of it run at a time, whose they are, and who waits
//! for one.
//!
//! While more than one tenant calls, none holds more than half of them, so that slow or large
//! messages of one leave room for the others. A place that comes free goes to whoever holds fewest,
//! and whoever waits with fewest is not turned away for those of one that waits with more. What
//! only one of them meets does not shrink the limit of all.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::concurrency::{ConcurrencyLimit, Load};
use super::tenant::{LATELY, Seen, Tenant};

/// Who waits for a place, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// What becomes of somebody who wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Granted,
    Waits(Ticket),
    /// The second one no longer does.
    WaitsInsteadOf(Ticket, Ticket),
    /// As many wait as may.
    QueueFull,
}

#[derive(Debug, Clone)]
pub struct Places {
    limit: ConcurrencyLimit,
    in_use: u32,
    /// Of tenants that hold one; never more of them than places.
    held: HashMap<Tenant, u32>,
    waiting: VecDeque<(Ticket, Tenant)>,
    tickets: u64,
    callers: Seen,
    /// Those whose calls said that it has too much to do.
    overloaded: Seen,
    /// The only tenant that the limit was shrunk for.
    shrunk_for: Option<Tenant>,
}

impl Places {
    pub fn new(ceiling: u32, now: Instant) -> Self {
        Self {
            limit: ConcurrencyLimit::new(ceiling, now),
            in_use: 0,
            held: HashMap::new(),
            waiting: VecDeque::new(),
            tickets: 0,
            callers: Seen::default(),
            overloaded: Seen::default(),
            shrunk_for: None,
        }
    }

    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.limit
    }

    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn set_ceiling(&mut self, ceiling: u32, now: Instant) {
        self.limit.set_ceiling(ceiling, now);
    }

    /// An operator knows better: back to the ceiling.
    pub fn reset(&mut self, now: Instant) {
        self.limit.reset(now);
        self.shrunk_for = None;
    }

    /// A call of this tenant wants a place; one that is not `patient` waits for none. Nobody's
    /// keeps to what a tenant beside others has, and nobody else has less for it.
    pub fn ask(&mut self, tenant: Tenant, patient: bool, now: Instant) -> Asked {
        if tenant != Tenant::NOBODY {
            self.callers.saw(tenant, now);
            if self.shrunk_for.is_some_and(|known| known != tenant) {
                // Nobody knows whether it has too much to do for this one as well.
                self.reset(now);
            }
        }
        self.limit.wanted(self.in_use, now);
        let several = self.several(now);
        // Nobody who may have one passes those who wait, but for tenants that hold their part.
        if self.has_room(tenant, several) && !self.is_anybody_eligible(several) {
            self.take(tenant);
            return Asked::Granted;
        }
        if !patient || self.waits(tenant) >= self.part(tenant, several) {
            return Asked::QueueFull;
        }
        let displaced = if self.waiting.len() < self.limit.get() as usize {
            None
        } else {
            match self.make_room(tenant) {
                Some(displaced) => Some(displaced),
                None => return Asked::QueueFull,
            }
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push_back((ticket, tenant));
        match displaced {
            Some(displaced) => Asked::WaitsInsteadOf(ticket, displaced),
            None => Asked::Waits(ticket),
        }
    }

    /// The next of those who wait that gets a place now; to be called again until there is none.
    pub fn next(&mut self, now: Instant) -> Option<Ticket> {
        let several = self.several(now);
        let at = self.eligible(several)?;
        let (ticket, tenant) = self.waiting.remove(at)?;
        self.take(tenant);
        Some(ticket)
    }

    /// Somebody waits no longer; false when it has got its place meanwhile.
    pub fn give_up(&mut self, ticket: Ticket) -> bool {
        let at = self.waiting.iter().position(|(known, _)| *known == ticket);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// A call of this tenant that began then gives its place back.
    pub fn leave(&mut self, tenant: Tenant, load: Load, began: Instant, now: Instant) {
        self.in_use = self.in_use.saturating_sub(1);
        if let Some(held) = self.held.get_mut(&tenant) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&tenant);
            }
        }
        let before = self.limit.get();
        let load = self.load(tenant, load, now);
        self.limit.ended(load, began, now);
        if self.limit.get() < before {
            self.shrunk_for = Some(tenant).filter(|_| !self.overloaded.several(LATELY, now));
        } else if self.limit.get() == self.limit.ceiling() {
            self.shrunk_for = None;
        }
    }

    /// What one tenant alone meets, while others call as well, says nothing of what the extension
    /// can carry: it may lie in what that tenant sends.
    fn load(&mut self, tenant: Tenant, load: Load, now: Instant) -> Load {
        match load {
            Load::Carried | Load::Unknown => load,
            Load::Refused | Load::Overloaded => {
                self.overloaded.saw(tenant, now);
                if self.overloaded.several(LATELY, now) || !self.several(now) {
                    load
                } else {
                    Load::Unknown
                }
            }
        }
    }

    fn several(&self, now: Instant) -> bool {
        self.callers.several(LATELY, now)
    }

    /// Takes the newest of the tenant that waits with most off the full queue, the one that holds
    /// more of several, for one that has less of both even with one more waiting. So two of them
    /// never displace each other in turns.
    fn make_room(&mut self, newcomer: Tenant) -> Option<Ticket> {
        let mut waits: HashMap<Tenant, u32> = HashMap::new();
        for (_, tenant) in &self.waiting {
            *waits.entry(*tenant).or_default() += 1;
        }
        let has = |tenant| {
            let waits = waits.get(&tenant).copied().unwrap_or_default();
            (waits, self.holds(tenant))
        };
        let all = self.waiting.iter().enumerate();
        let all = all.map(|(at, (_, tenant))| (has(*tenant), at));
        let (most, newest) = all.max()?;
        let (waits, holds) = has(newcomer);
        if most <= (waits + 1, holds) {
            return None;
        }
        self.waiting.remove(newest).map(|(ticket, _)| ticket)
    }

    fn waits(&self, tenant: Tenant) -> u32 {
        let own = self.waiting.iter().filter(|(_, known)| *known == tenant);
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    }

    fn holds(&self, tenant: Tenant) -> u32 {
        self.held.get(&tenant).copied().unwrap_or_default()
    }

    /// What a tenant may hold, and as many may wait.
    fn part(&self, tenant: Tenant, several: bool) -> u32 {
        let limit = self.limit.get();
        if several || tenant == Tenant::NOBODY {
            limit.div_ceil(2)
        } else {
            limit
        }
    }

    fn has_room(&self, tenant: Tenant, several: bool) -> bool {
        self.in_use < self.limit.get() && self.holds(tenant) < self.part(tenant, several)
    }

    /// Of those who wait and may have a place, the first of the tenant that holds fewest.
    fn eligible(&self, several: bool) -> Option<usize> {
        if self.in_use >= self.limit.get() {
            return None;
        }
        let all = self.waiting.iter().enumerate();
        all.filter(|(_, (_, tenant))| self.has_room(*tenant, several))
            .min_by_key(|(_, (_, tenant))| self.holds(*tenant))
            .map(|(at, _)| at)
    }

    fn is_anybody_eligible(&self, several: bool) -> bool {
        !self.waiting.is_empty() && self.eligible(several).is_some()
    }

    fn take(&mut self, tenant: Tenant) {
        self.in_use += 1;
        *self.held.entry(tenant).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
