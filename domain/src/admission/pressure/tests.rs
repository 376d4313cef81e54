use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn memory(share: f64) -> Reading {
    Reading {
        memory: Some(share),
        lag: Duration::ZERO,
    }
}

fn lag(milliseconds: u64) -> Reading {
    Reading {
        memory: None,
        lag: ms(milliseconds),
    }
}

#[test]
fn memory_has_three_levels_and_each_is_left_below_where_it_was_entered() {
    let mut gauge = PressureGauge::default();
    let now = Instant::now();
    let story = [
        (0.84, Pressure::None),
        (0.85, Pressure::High),
        (0.83, Pressure::High),
        (0.92, Pressure::Severe),
        (0.95, Pressure::Critical),
        (0.93, Pressure::Critical),
        (0.919, Pressure::Severe),
        (0.88, Pressure::High),
        (0.81, Pressure::None),
        (0.84, Pressure::None),
        (1.2, Pressure::Critical),
    ];
    for (share, level) in story {
        assert_eq!(gauge.observe(memory(share), now), level, "{share}");
    }
    assert_eq!(
        gauge.observe(Reading::default(), now),
        Pressure::None,
        "nobody says"
    );
}

#[test]
fn threads_that_are_late_for_a_second_are_severe_until_they_were_in_time_for_one() {
    let mut gauge = PressureGauge::default();
    let begin = Instant::now();
    // Blocked for 100 ms at a time, with moments in between.
    for at in (0..1_000).step_by(100) {
        assert_eq!(
            gauge.observe(lag(90), begin + ms(at)),
            Pressure::None,
            "{at}"
        );
        assert_eq!(
            gauge.observe(lag(0), begin + ms(at + 10)),
            Pressure::None,
            "{at}"
        );
    }
    assert_eq!(gauge.observe(lag(51), begin + ms(1_000)), Pressure::Severe);
    assert!(gauge.was_late(begin + ms(1_999)) && !gauge.was_late(begin + ms(2_000)));
    assert_eq!(gauge.observe(lag(50), begin + ms(1_990)), Pressure::Severe);
    assert_eq!(gauge.observe(lag(0), begin + ms(2_000)), Pressure::None);
}

#[test]
fn a_stall_now_and_then_is_no_pressure() {
    let mut gauge = PressureGauge::default();
    let begin = Instant::now();
    for second in 0..20 {
        assert_eq!(
            gauge.observe(lag(400), begin + ms(second * 300)),
            Pressure::None
        );
        assert_eq!(
            gauge.observe(lag(0), begin + ms(second * 300 + 10)),
            Pressure::None
        );
    }
}

#[test]
fn each_level_refuses_what_the_one_before_it_does() {
    let both = [Priority::Batch, Priority::Interactive];
    let shed = |level: Pressure| both.map(|priority| level.sheds(priority));
    assert_eq!(shed(Pressure::None), [false, false]);
    assert_eq!(shed(Pressure::High), [true, false]);
    assert_eq!(shed(Pressure::Severe), [true, false]);
    assert_eq!(shed(Pressure::Critical), [true, true]);
    assert_eq!(
        [Pressure::None, Pressure::High, Pressure::Severe].map(|level| level.limit(101)),
        [101, 101, 51]
    );
    assert_eq!(
        [1, 8, 12].map(|limit| Pressure::Severe.limit(limit)),
        [1, 8, 8],
        "somebody must be served"
    );
}

proptest! {
    /// The level is that of the share now, or the one that it was at and has not clearly left.
    #[test]
    fn a_level_is_never_lower_than_its_threshold_says(shares in prop::collection::vec(0.7..1.1_f64, 1..50)) {
        let mut gauge = PressureGauge::default();
        let now = Instant::now();
        for share in shares {
            let level = gauge.observe(memory(share), now);
            let at = |share: f64| LEVELS.iter().find(|(_, entered)| share >= *entered).map_or(Pressure::None, |(level, _)| *level);
            prop_assert!(level >= at(share) && level <= at(share + MARGIN + 1e-9));
        }
    }
}
