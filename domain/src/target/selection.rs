//! Chooses among providers and among instances. The roll of the dice is an argument.

use std::time::Duration;

use beamline_contract::failure::FailureKind;

/// What is known of a place at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointState {
    /// Its breaker keeps calls back for this long.
    pub held_back: Option<Duration>,
    /// What the failures were about that its breaker opened for.
    pub opened_by: Option<FailureKind>,
    /// It asked to be left alone for this long (429 with a time to wait). That is no failure.
    pub asked_to_wait: Option<Duration>,
    /// It fails too often to be sent work while there are others.
    pub unhealthy: bool,
    /// It answered less than half of its calls of the last seconds.
    pub failing: bool,
    /// How long its answers usually take (median).
    pub latency: Option<Duration>,
    /// What 95 % of them take at most.
    pub p95: Option<Duration>,
    /// There were calls lately. What is known from before is no reason to leave a place out: nobody
    /// would find out that it has become faster.
    pub fresh: bool,
}

/// What choices are made from, besides what was asked: the state of the places, and chance.
pub struct ChoiceContext<'a> {
    /// By extension id and subject.
    pub endpoint_state: &'a dyn Fn(&str, &str) -> EndpointState,
    /// Uniform in `0.0..1.0`.
    pub roll: &'a mut dyn FnMut() -> f64,
    /// What is left of the request's time.
    pub left: Duration,
}

impl std::fmt::Debug for ChoiceContext<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ChoiceContext")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// The position chosen among `weights`, in proportion to their sum; `None` when nothing has weight.
/// `roll` is uniform in `0.0..1.0`.
pub fn weighted(weights: &[f64], roll: f64) -> Option<usize> {
    let total: f64 = weights.iter().sum();
    if total <= 0.0 || !total.is_finite() {
        return None;
    }
    let mut left = roll * total;
    for (index, weight) in weights.iter().enumerate() {
        if *weight > 0.0 && left < *weight {
            return Some(index);
        }
        left -= weight;
    }
    // Rounding may leave a crumb: it belongs to the last that has weight.
    weights.iter().rposition(|weight| *weight > 0.0)
}

/// Instances in the order in which a call tries them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns {
    /// Positions; the first takes the call, the others its retries, the avoided ones last.
    pub order: Vec<usize>,
    /// How many of them, at the end, were avoided because they are unhealthy.
    pub avoided: usize,
}

/// Chooses an instance by weight. Unhealthy ones are avoided as long as they are no more than half
/// of all: with fewer left, the healthy ones could not carry the load of the others and would fall,
/// too (Envoy calls this the panic threshold).
pub fn instances(weights: &[u32], unhealthy: &[bool], roll: f64) -> Turns {
    let sick = |index: usize| unhealthy.get(index).copied().unwrap_or_default();
    let used =
        || (0..weights.len()).filter(|index| weights.get(*index).is_some_and(|weight| *weight > 0));
    let count = used().filter(|index| sick(*index)).count();
    let avoid = count * 2 <= used().count();
    let weigh = |(index, weight): (usize, &u32)| {
        if avoid && sick(index) {
            0.0
        } else {
            f64::from(*weight)
        }
    };
    let weights_now: Vec<f64> = weights.iter().enumerate().map(weigh).collect();
    let Some(first) = weighted(&weights_now, roll) else {
        return Turns::default();
    };
    let rest = |wanted: bool| {
        used().filter(move |index| *index != first && (avoid && sick(*index)) == wanted)
    };
    let order: Vec<usize> = std::iter::once(first)
        .chain(rest(false))
        .chain(rest(true))
        .collect();
    Turns {
        order,
        avoided: if avoid { count } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_each_in_proportion_to_its_weight() {
        let mut counts = [0; 3];
        for step in 0..1000 {
            counts[weighted(&[70.0, 0.0, 30.0], f64::from(step) / 1000.0).unwrap()] += 1;
        }
        assert_eq!(counts, [700, 0, 300]);
    }

    #[test]
    fn nothing_with_weight_is_nothing_chosen() {
        assert_eq!(weighted(&[], 0.5), None);
        assert_eq!(weighted(&[0.0, 0.0], 0.5), None);
        assert_eq!(weighted(&[0.1, 0.2], 0.999_999_999_999_999_9), Some(1));
    }

    #[test]
    fn unhealthy_instances_are_avoided_up_to_half_of_them() {
        let turns = |unhealthy: &[bool]| instances(&vec![50; unhealthy.len()], unhealthy, 0.0);
        assert_eq!(
            turns(&[true, false]),
            Turns {
                order: vec![1, 0],
                avoided: 1
            }
        );
        assert_eq!(
            turns(&[true, false, true, false]),
            Turns {
                order: vec![1, 3, 0, 2],
                avoided: 2
            }
        );
        assert_eq!(
            turns(&[true, false, true]),
            Turns {
                order: vec![0, 1, 2],
                avoided: 0
            }
        );
        assert_eq!(
            turns(&[true]),
            Turns {
                order: vec![0],
                avoided: 0
            }
        );
        assert_eq!(instances(&[0, 0], &[false, false], 0.5), Turns::default());
        assert_eq!(
            instances(&[0, 7], &[false, true], 0.5),
            Turns {
                order: vec![1],
                avoided: 0
            }
        );
    }

    proptest! {
        /// Every weight gets its share of evenly spread rolls, to within the width of the two steps
        /// at its ends.
        #[test]
        fn weights_converge_to_their_shares(weights in prop::collection::vec(0.0f64..100.0, 1..12)) {
            const ROLLS: u32 = 10_000;
            let total: f64 = weights.iter().sum();
            prop_assume!(total > 1.0);
            let mut counts = vec![0u32; weights.len()];
            for step in 0..ROLLS {
                counts[weighted(&weights, f64::from(step) / f64::from(ROLLS)).unwrap()] += 1;
            }
            for (weight, count) in weights.iter().zip(counts) {
                let share = f64::from(count) / f64::from(ROLLS);
                let want = weight / total;
                prop_assert!((share - want).abs() <= 2.0 / f64::from(ROLLS), "{share} instead of {want}");
            }
        }

        #[test]
        fn never_more_than_half_are_avoided_and_all_used_ones_have_a_turn(
            places in prop::collection::vec((0u32..=100, any::<bool>()), 0..12), roll in 0.0f64..1.0,
        ) {
            let (weights, unhealthy): (Vec<u32>, Vec<bool>) = places.into_iter().unzip();
            let used = weights.iter().filter(|weight| **weight > 0).count();
            let turns = instances(&weights, &unhealthy, roll);
            prop_assert!(turns.avoided * 2 <= used);
            let mut all = turns.order.clone();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), used);
            prop_assert!(turns.order.iter().all(|index| weights[*index] > 0));
            if turns.avoided > 0 {
                prop_assert!(!unhealthy[turns.order[0]]);
            }
        }
    }
}
