//! Waits that a target asked its callers for: it has too much to do, or somebody has used up what
//! it grants.
//!
//! A wait is that of the tenant who was told it: the target may have meant what that tenant sends,
//! or the key that is used for it. While the waits of two tenants run, it has said so to two, and
//! means everybody.

use std::time::{Duration, Instant};

use super::tenant::Tenant;

/// The waits of one target.
///
/// The two longest tell everything: everybody waits for as long as the second of them runs, so no
/// third one is longer than what its tenant waits anyway.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    longest: Option<(Tenant, Instant)>,
    second: Option<(Tenant, Instant)>,
}

/// Nobody is left alone for longer than this, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(60);

impl Waits {
    /// A tenant was told to wait. The longest of several of its own counts.
    pub fn ask(&mut self, tenant: Tenant, wait: Duration, now: Instant) {
        let mut asked = (tenant, now + wait.min(LONGEST));
        if let Some(longest) = &mut self.longest {
            if longest.0 == tenant {
                longest.1 = longest.1.max(asked.1);
                return;
            }
            if longest.1 < asked.1 {
                std::mem::swap(longest, &mut asked);
            }
        } else {
            self.longest = Some(asked);
            return;
        }
        // Of the tenant that is the longest by now, nothing else is kept.
        let second = self.second.filter(|second| !self.is_longest(second.0));
        self.second = match second {
            Some(second) if second.1 > asked.1 => Some(second),
            Some(_) | None => Some(asked),
        };
    }

    /// How long a call of this tenant has to wait still, if it has to.
    pub fn left(&self, tenant: Tenant, now: Instant) -> Option<Duration> {
        let own = self.longest.filter(|longest| longest.0 == tenant);
        let until = own.or(self.second).map(|waits| waits.1)?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    fn is_longest(&self, tenant: Tenant) -> bool {
        self.longest.is_some_and(|longest| longest.0 == tenant)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tenant(name: &str) -> Tenant {
        Tenant::of(name)
    }

    #[test]
    fn one_prompt_that_is_told_to_wait_keeps_its_tenant_back_alone() {
        let mut waits = Waits::default();
        let now = Instant::now();
        let left = |waits: &Waits, name, after| {
            let left = waits.left(tenant(name), now + SECOND * after);
            left.map(|left| left.as_secs())
        };
        waits.ask(tenant("acme"), SECOND * 60, now);
        waits.ask(tenant("acme"), SECOND * 30, now);
        (0..44).for_each(|after| assert_eq!(left(&waits, "globex", after), None));
        assert_eq!(left(&waits, "acme", 0), Some(60), "the longest of its own");

        waits.ask(tenant("globex"), SECOND * 3, now);
        assert_eq!(left(&waits, "globex", 0), Some(3));
        assert_eq!(left(&waits, "new", 0), Some(3), "what both were told");
        assert_eq!(left(&waits, "acme", 1), Some(59));
        assert_eq!(left(&waits, "new", 3), None);
        waits.ask(tenant("third"), Duration::MAX, now + SECOND);
        assert_eq!(left(&waits, "new", 1), Some(59), "no more than a minute");
        assert_eq!(Waits::default().left(tenant("acme"), now), None);
    }

    proptest! {
        /// Two are as good as all of them.
        #[test]
        fn everybody_waits_while_two_do(
            asked in prop::collection::vec((0u8..6, 0u64..20_000, 0u64..3_000), 0..60),
        ) {
            let mut now = Instant::now();
            let mut waits = Waits::default();
            let mut all: HashMap<u8, Instant> = HashMap::new();
            for (tenant, wait, pause) in asked {
                now += Duration::from_millis(pause);
                let wait = Duration::from_millis(wait);
                waits.ask(Tenant::of(&tenant.to_string()), wait, now);
                let until = all.entry(tenant).or_insert(now);
                *until = (*until).max(now + wait);
                let mut sorted: Vec<Instant> = all.values().copied().collect();
                sorted.sort_unstable_by(|one, other| other.cmp(one));
                for tenant in 0..7u8 {
                    let until = all.get(&tenant).copied().max(sorted.get(1).copied());
                    let left = until.map(|until| until.saturating_duration_since(now));
                    let left = left.filter(|left| !left.is_zero());
                    prop_assert_eq!(waits.left(Tenant::of(&tenant.to_string()), now), left);
                }
            }
        }
    }
}
