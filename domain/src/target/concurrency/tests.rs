use proptest::prelude::*;

use super::*;

const CEILING: u32 = 500;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// One that has shrunk at `now` until no more goes.
fn shrunk_to_one(ceiling: u32, now: &mut Instant) -> ConcurrencyLimit {
    let mut limit = ConcurrencyLimit::new(ceiling, *now);
    while limit.get() > 1 {
        *now += SHRINK_AT_MOST_EVERY;
        limit.ended(Load::Overloaded, *now, *now);
    }
    limit
}

#[test]
fn nothing_is_known_at_first_and_everything_is_allowed() {
    assert_eq!(
        ConcurrencyLimit::new(CEILING, Instant::now()).get(),
        CEILING
    );
    assert_eq!(
        ConcurrencyLimit::new(0, Instant::now()).get(),
        1,
        "a call must be possible"
    );
}

#[test]
fn a_burst_of_timeouts_is_one_step() {
    let start = Instant::now();
    let mut limit = ConcurrencyLimit::new(CEILING, start);
    let timeout = seconds(2);
    for late in 0..100 {
        let began = start + Duration::from_millis(late * 10);
        limit.ended(Load::Overloaded, began, began + timeout);
    }
    assert_eq!(limit.get(), 450);
    let after = start + seconds(4);
    limit.ended(Load::Overloaded, after, after + timeout);
    assert_eq!(limit.get(), 405, "that one was sent under the new limit");
}

#[test]
fn what_was_called_before_a_reset_shrinks_nothing() {
    let mut now = Instant::now();
    let mut limit = shrunk_to_one(CEILING, &mut now);
    limit.reset(now);
    limit.ended(
        Load::Overloaded,
        now - Duration::from_millis(1),
        now + seconds(1),
    );
    assert_eq!(limit.get(), CEILING);
    limit.ended(Load::Overloaded, now + seconds(1), now + seconds(2));
    assert_eq!(limit.get(), CEILING * 9 / 10);
}

#[test]
fn refusals_that_come_back_at_once_shrink_it_ten_times_a_second() {
    let start = Instant::now();
    let mut limit = ConcurrencyLimit::new(CEILING, start);
    (0..950).for_each(|ms| {
        let now = start + Duration::from_millis(ms);
        limit.ended(Load::Overloaded, now, now);
    });
    let want = (0..10).fold(CEILING, |limit, _| limit * 9 / 10);
    assert_eq!(limit.get(), want);
}

#[test]
fn one_call_in_a_hundred_is_chance() {
    let start = Instant::now();
    let mut limit = ConcurrencyLimit::new(CEILING, start);
    for call in 1..100_000_u64 {
        let now = start + Duration::from_millis(call);
        let load = if call % 100 == 0 {
            Load::Overloaded
        } else {
            Load::Carried
        };
        limit.ended(load, now, now);
    }
    assert_eq!(limit.get(), CEILING);
}

/// Serves calls of a second, thirty at a time, and refuses every fifth with the load that it says.
fn one_of_five_is_refused(load: Load, for_seconds: u64) -> ConcurrencyLimit {
    let start = start();
    let mut limit = ConcurrencyLimit::new(CEILING, start);
    let work = seconds(1);
    for tick in 0..for_seconds * 30 {
        let now = start + work * u32::try_from(tick).unwrap() / 30;
        limit.wanted(30.min(limit.get()), now);
        let served = if tick % 5 == 0 { load } else { Load::Carried };
        limit.ended(served, now - work, now);
    }
    limit
}

#[test]
fn a_refusal_takes_no_places_of_what_was_served_at_the_same_time() {
    for (for_seconds, least) in [(20, 20), (300, 20)] {
        let limit = one_of_five_is_refused(Load::Refused, for_seconds).get();
        assert!(limit >= least, "{limit} after {for_seconds} s");
    }
    let limit = one_of_five_is_refused(Load::Overloaded, 60).get();
    assert!(limit <= 2, "silence is no quota, {limit}");
}

#[test]
fn what_was_served_long_ago_holds_no_places() {
    let start = start();
    let mut limit = ConcurrencyLimit::new(20, start);
    for call in 0..20 {
        limit.wanted(call, start);
    }
    (0..20).for_each(|_| limit.ended(Load::Carried, start, start + seconds(1)));
    let mut refused = |second| {
        let now = start + seconds(second);
        limit.ended(Load::Refused, now, now);
        limit.get()
    };
    assert_eq!(refused(20), 20);
    assert_eq!(refused(29), 20);
    assert_eq!(refused(30), 18);
}

#[test]
fn a_limit_that_is_half_in_use_grows_by_one_more_each_second() {
    let mut now = Instant::now();
    let mut limit = shrunk_to_one(CEILING, &mut now);
    // The window in which it shrank.
    now += WINDOW;
    limit.wanted(0, now);
    for want in [2, 4, 7, 11, 16, 22] {
        limit.wanted(limit.get().div_ceil(2) - 1, now);
        now += WINDOW;
        limit.wanted(0, now);
        assert_eq!(limit.get(), want);
    }
}

#[test]
fn a_limit_that_nobody_comes_near_to_grows_when_the_evidence_is_old() {
    let mut now = Instant::now();
    let mut limit = shrunk_to_one(CEILING, &mut now);
    (0..8).for_each(|_| {
        limit.wanted(0, now);
        now += WINDOW;
    });
    let tested = limit.get();
    assert!(
        tested > 1 && tested < 10,
        "{tested}: one in use is half of two"
    );
    now += seconds(3);
    limit.wanted(0, now);
    assert!(limit.get() > tested);
    now += seconds(40);
    limit.wanted(0, now);
    assert_eq!(limit.get(), CEILING);
}

#[test]
fn a_year_without_calls_is_no_work() {
    let mut now = Instant::now();
    let mut limit = shrunk_to_one(10_000, &mut now);
    limit.wanted(0, now + seconds(365 * 86_400));
    assert_eq!(limit.get(), 10_000);
}

#[test]
fn another_ceiling_counts_at_once_and_takes_no_evidence_away() {
    let mut now = Instant::now();
    let mut limit = ConcurrencyLimit::new(CEILING, now);
    for ceiling in [800, 20, 500] {
        limit.set_ceiling(ceiling, now);
        assert_eq!((limit.get(), limit.ceiling()), (ceiling, ceiling));
    }
    limit.ended(Load::Overloaded, now, now);
    limit.set_ceiling(1_000, now);
    assert_eq!(limit.get(), 450);
    limit.set_ceiling(300, now);
    assert_eq!(limit.get(), 300);
    now += seconds(1);
    limit.ended(Load::Overloaded, now, now);
    assert_eq!(limit.get(), 270);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Wanted { in_use: u32 },
    Ended { load: Load, took: u64 },
    Ceiling(u32),
}

fn loads() -> impl Strategy<Value = Load> {
    prop_oneof![
        Just(Load::Carried),
        Just(Load::Overloaded),
        Just(Load::Refused),
        Just(Load::Unknown)
    ]
}

/// Milliseconds since the last one, and what happens.
fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        4 => (0..600_u32).prop_map(|in_use| Event::Wanted { in_use }),
        8 => (loads(), 0..5_000_u64).prop_map(|(load, took)| Event::Ended { load, took }),
        1 => (1..1_000_u32).prop_map(Event::Ceiling),
    ];
    prop::collection::vec((0..1_500_u64, event), 0..300)
}

fn apply(limit: &mut ConcurrencyLimit, event: Event, now: Instant) {
    match event {
        Event::Wanted { in_use } => limit.wanted(in_use, now),
        Event::Ended { load, took } => limit.ended(load, now - Duration::from_millis(took), now),
        Event::Ceiling(ceiling) => limit.set_ceiling(ceiling, now),
    }
}

/// Far enough from the beginning of the clock for calls to have begun before.
fn start() -> Instant {
    Instant::now() + seconds(3_600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_always_within_its_bounds_and_comes_back_when_all_is_quiet(events in events()) {
        let mut now = start();
        let mut limit = ConcurrencyLimit::new(CEILING, now);
        for (pause, event) in events {
            now += Duration::from_millis(pause);
            apply(&mut limit, event, now);
            prop_assert!((1..=limit.ceiling()).contains(&limit.get()));
        }
        // Ten quiet seconds, and what 1 + 2 + 3 .. need for a thousand.
        now += QUIET + WINDOW * 47;
        limit.wanted(0, now);
        prop_assert_eq!(limit.get(), limit.ceiling());
    }

    #[test]
    fn without_overload_it_stays_at_its_ceiling(events in events()) {
        let mut now = start();
        let mut limit = ConcurrencyLimit::new(CEILING, now);
        for (pause, event) in events {
            now += Duration::from_millis(pause);
            let calm = match event {
                Event::Ended { load: Load::Overloaded | Load::Refused, took } => Event::Ended { load: Load::Carried, took },
                other @ (Event::Ended { .. } | Event::Wanted { .. } | Event::Ceiling(_)) => other,
            };
            apply(&mut limit, calm, now);
            prop_assert_eq!(limit.get(), limit.ceiling());
        }
    }

    #[test]
    fn what_says_nothing_changes_nothing(events in events()) {
        let mut now = start();
        let mut with = ConcurrencyLimit::new(CEILING, now);
        let mut without = ConcurrencyLimit::new(CEILING, now);
        for (pause, event) in events {
            now += Duration::from_millis(pause);
            apply(&mut with, event, now);
            if !matches!(event, Event::Ended { load: Load::Unknown, .. }) {
                apply(&mut without, event, now);
            }
            with.advance(now);
            without.advance(now);
            prop_assert_eq!(with.get(), without.get());
        }
    }

    #[test]
    fn one_event_takes_a_tenth_at_most_and_none_follows_within_a_tenth_of_a_second(events in events()) {
        let mut now = start();
        let mut limit = ConcurrencyLimit::new(CEILING, now);
        let mut last: Option<Instant> = None;
        for (pause, event) in events {
            now += Duration::from_millis(pause);
            limit.advance(now);
            let before = limit.get();
            apply(&mut limit, event, now);
            if matches!(event, Event::Ceiling(_)) || limit.get() >= before {
                continue;
            }
            let Event::Ended { load: Load::Overloaded | Load::Refused, took } = event else { panic!("{event:?} took places") };
            prop_assert!(limit.get() * 10 + 9 >= before * 9);
            if let Some(last) = last {
                prop_assert!(now - last >= SHRINK_AT_MOST_EVERY);
                prop_assert!(now - Duration::from_millis(took) >= last, "it was sent under the limit of before");
            }
            last = Some(now);
        }
    }
}
