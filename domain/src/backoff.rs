//! Waits that grow from one attempt to the next, and jitter, which spreads the waits of many that
//! began together.
//!
//! Chance is an argument, `roll`, uniform in `0.0..1.0`. The names of the jitters are those of
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::time::Duration;

/// The wait before each attempt is a multiple of the one before it, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exponential {
    pub first: Duration,
    pub factor: u32,
    pub longest: Duration,
}

impl Exponential {
    pub const fn doubling(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            factor: 2,
            longest,
        }
    }

    /// The wait number `number`, counted from 1.
    pub fn wait(&self, number: u32) -> Duration {
        let growth = self.factor.saturating_pow(number.saturating_sub(1));
        self.first.saturating_mul(growth).min(self.longest)
    }
}

/// Anything from nothing up to `wait`.
pub fn full_jitter(wait: Duration, roll: f64) -> Duration {
    scaled(wait, roll.clamp(0.0, 1.0))
}

/// Half of `wait`, and a random part of the other half.
pub fn equal_jitter(wait: Duration, roll: f64) -> Duration {
    scaled(wait, 0.5 + 0.5 * roll.clamp(0.0, 1.0))
}

/// `wait`, moved by up to `share` of it either way.
pub fn jitter(wait: Duration, share: f64, roll: f64) -> Duration {
    scaled(wait, 1.0 - share + 2.0 * share * roll.clamp(0.0, 1.0))
}

fn scaled(wait: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_grow_up_to_the_longest() {
        let cases = [
            (2, 0, 50),
            (2, 1, 50),
            (2, 2, 100),
            (2, 3, 200),
            (2, 5, 800),
            (2, 6, 1000),
            (2, u32::MAX, 1000),
            (3, 3, 450),
            (1, 9, 50),
        ];
        for (factor, number, expected) in cases {
            let backoff = Exponential {
                first: 50 * MS,
                factor,
                longest: 1000 * MS,
            };
            let wait = backoff.wait(number);
            assert_eq!(wait, expected * MS, "number {number}, times {factor}");
        }
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        type Jitter = fn(Duration, f64) -> Duration;
        let cases: [(Jitter, u32, u32, u32); 4] = [
            (full_jitter, 0, 50, 100),
            (equal_jitter, 50, 75, 100),
            (|wait, roll| jitter(wait, 0.25, roll), 75, 100, 125),
            (|wait, roll| jitter(wait, 0.0, roll), 100, 100, 100),
        ];
        for (jitter, least, middle, most) in cases {
            let wait = 100 * MS;
            let rolls = [0.0, 0.5, 1.0];
            let expected = [least * MS, middle * MS, most * MS];
            assert_eq!(rolls.map(|roll| jitter(wait, roll)), expected);
            assert_eq!(
                [-1.0, 2.0].map(|roll| jitter(wait, roll)),
                [least * MS, most * MS]
            );
        }
    }

    #[test]
    fn no_wait_is_too_long_to_be_spread() {
        let longest = Exponential::doubling(Duration::MAX, Duration::MAX).wait(2);
        assert_eq!(jitter(longest, 0.5, 1.0), Duration::MAX);
    }
}
