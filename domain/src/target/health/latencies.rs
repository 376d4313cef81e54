//! Latencies in buckets whose width grows with what they hold, as in an HDR histogram: 32 for each
//! doubling, so that a percentile is off by 1.6 % at most from a quarter of a millisecond on, and
//! never outside of what was measured. Small enough for every target to have six.

use std::time::Duration;

/// Buckets of one doubling; below the first doubling they are as wide as those in it.
const STEPS: u32 = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;
/// The first doubling begins at 2^8 µs, so that the first buckets have 8 µs.
const FIRST: u32 = 8;
/// The last one ends at 2^27 µs, more than two minutes. What takes longer counts as that.
const DOUBLINGS: u32 = 19;
const BUCKETS: usize = (STEPS * (DOUBLINGS + 1)) as usize;

/// How many calls took how long.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies {
    /// Empty before the first one.
    counts: Vec<u32>,
    total: u32,
    /// Shortest and longest.
    range: Option<(Duration, Duration)>,
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        if let Some(count) = self.counts.get_mut(bucket(latency)) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
            self.range = around(self.range, Some((latency, latency)));
        }
    }

    pub(super) fn clear(&mut self) {
        if self.total > 0 {
            self.counts.fill(0);
            (self.total, self.range) = (0, None);
        }
    }

    /// The percentiles of all of them together; `None` of nothing.
    pub(super) fn percentiles<'a, const N: usize>(
        all: impl Iterator<Item = &'a Self>,
        percents: [u64; N],
    ) -> [Option<Duration>; N] {
        let mut sums = [0_u64; BUCKETS];
        let mut total = 0;
        let mut range = None;
        for latencies in all.filter(|latencies| latencies.total > 0) {
            sums.iter_mut()
                .zip(&latencies.counts)
                .for_each(|(sum, count)| *sum += u64::from(*count));
            total += u64::from(latencies.total);
            range = around(range, latencies.range);
        }
        percents.map(|percent| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let at = sums.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            let (shortest, longest) = range?;
            at.map(|bucket| middle(bucket).clamp(shortest, longest))
        })
    }
}

fn around(
    one: Option<(Duration, Duration)>,
    other: Option<(Duration, Duration)>,
) -> Option<(Duration, Duration)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros())
        .unwrap_or(u64::MAX)
        .clamp(0, (1 << (FIRST + DOUBLINGS)) - 1);
    // Number of the doubling, 0 below the first.
    let doubling = (micros >> FIRST).checked_ilog2().map_or(0, |n| n + 1);
    let shift = (FIRST - STEP_BITS) + doubling.saturating_sub(1);
    let step = (micros >> shift) - if doubling > 0 { u64::from(STEPS) } else { 0 };
    usize::try_from(u64::from(doubling * STEPS) + step).unwrap_or(BUCKETS - 1)
}

/// What stands for all latencies of a bucket.
fn middle(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let doubling = bucket >> STEP_BITS;
    let step = bucket & u64::from(STEPS - 1);
    let width = 1 << (u64::from(FIRST - STEP_BITS) + doubling.saturating_sub(1));
    let start = if doubling > 0 {
        (step + u64::from(STEPS)) * width
    } else {
        step * width
    };
    Duration::from_micros(start + width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_latency_is_near_it() {
        for micros in (0..2000).chain((0..130_000_000).step_by(7919)) {
            let exact = Duration::from_micros(micros);
            let shown = middle(bucket(exact));
            let allowed = (exact / 64).max(Duration::from_micros(4)) + Duration::from_nanos(1);
            assert!(shown.abs_diff(exact) <= allowed, "{shown:?} for {exact:?}");
        }
        assert_eq!(bucket(Duration::from_micros((1 << 27) - 1)), BUCKETS - 1);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_of_all_slots_together() {
        let mut fast = Latencies::default();
        let mut slow = Latencies::default();
        (0..94).for_each(|_| fast.add(Duration::from_millis(1)));
        (0..6).for_each(|_| slow.add(Duration::from_secs(1)));
        let near = |found: Option<Duration>, exact: f64| {
            (found.unwrap().as_secs_f64() / exact - 1.0).abs() < 0.02
        };
        let [p50, p94, p95] = Latencies::percentiles(
            [&fast, &slow, &Latencies::default()].into_iter(),
            [50, 94, 95],
        );
        assert!(
            near(p50, 0.001) && near(p94, 0.001) && near(p95, 1.0),
            "{p50:?} {p94:?} {p95:?}"
        );
        let mut same = Latencies::default();
        (0..3).for_each(|_| same.add(Duration::from_millis(400)));
        assert_eq!(
            Latencies::percentiles([&same].into_iter(), [1, 99]),
            [Some(Duration::from_millis(400)); 2]
        );
        slow.clear();
        assert_eq!(Latencies::percentiles([&slow].into_iter(), [99]), [None]);
    }

    #[test]
    fn a_target_takes_less_than_sixteen_kibibytes() {
        assert!(6 * BUCKETS * size_of::<u32>() + size_of::<super::super::Health>() < 16 * 1024);
    }
}
