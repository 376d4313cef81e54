//! The parts of all sessions that versions take side by side: those whose other conditions are
//! equal share one range and stand in it in their order (contract section 3).

use super::rules::{Rollout, RoutingRules};

/// Percentages are written with decimals, and their sum may miss 100 by the last bit.
const ROUNDING: f64 = 1e-6;

/// Where the part of one version stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slice {
    /// Which of the versions has the first part of the range. Its name tells this range from
    /// others, so that a version keeps its sessions when another comes after it.
    pub(super) first: usize,
    pub(super) from: f64,
    /// What it asks for; the end of the range may cut it.
    pub(super) percent: f64,
}

impl Slice {
    pub(super) fn is_beyond_the_end(&self) -> bool {
        self.from + self.percent > 100.0 + ROUNDING
    }
}

/// The slice of each version, by its rules in the order of the versions; `None` of one that has no
/// percentage.
pub(super) fn slices(rules: &[&RoutingRules]) -> Vec<Option<Slice>> {
    let mut slices: Vec<Option<Slice>> = Vec::with_capacity(rules.len());
    for (at, one) in rules.iter().enumerate() {
        let slice = one.rollout.as_ref().map(|rollout| {
            let before = rules.iter().zip(&slices).enumerate().rev();
            let mut same = before.filter(|(_, (other, _))| share_a_range(one, other));
            match same.next() {
                Some((_, (_, Some(last)))) => Slice {
                    first: last.first,
                    from: last.from + last.percent,
                    percent: rollout.percent,
                },
                Some((_, (_, None))) | None => Slice {
                    first: at,
                    from: 0.0,
                    percent: rollout.percent,
                },
            }
        });
        slices.push(slice);
    }
    slices
}

/// Puts the rollout of one version where its slice is.
pub(super) fn place(rollout: &mut Rollout, slice: Slice) {
    rollout.from = slice.from.min(100.0);
    rollout.percent = rollout.percent.min(100.0 - rollout.from);
}

/// Parts by different keys cannot stand side by side: each value would be in one of either.
fn share_a_range(one: &RoutingRules, other: &RoutingRules) -> bool {
    let key = |rules: &RoutingRules| rules.rollout.as_ref().map(|rollout| rollout.by.clone());
    key(one).is_some() && key(one) == key(other) && one.conditions.mean_the_same(&other.conditions)
}
