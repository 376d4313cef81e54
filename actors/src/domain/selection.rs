//! Chooses a provider by weight. The roll of the dice is an argument.

/// The position chosen among `weights`, in proportion to their sum; `None` when nothing has weight. `roll` is uniform in
/// `0.0..1.0`.
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

#[cfg(test)]
mod tests {
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
}
