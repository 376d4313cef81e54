use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A look at so many hops that waited so long each.
fn seen(wait: Duration, inside: usize, outside: usize, bound: bool) -> Observed {
    Observed {
        work: WorkDone {
            waited: wait * 100,
            hops: 100,
            ..WorkDone::default()
        },
        inside,
        outside,
        bound,
    }
}

/// Looks the same many times in a row.
fn look(limit: &mut AdaptiveLimit, seen: Observed, times: u32, now: &mut Instant) {
    for _ in 0..times {
        *now += LOOK_EVERY;
        limit.observe(&seen, *now);
    }
}

#[test]
fn it_is_open_until_work_is_late_and_then_holds_what_the_threads_do_in_time() {
    let mut limit = AdaptiveLimit::new(1_000);
    let mut now = Instant::now();
    look(&mut limit, seen(ms(1) / 2, 500, 300, true), 50, &mut now);
    assert_eq!(limit.limit(), 1_000, "full is not late");
    look(&mut limit, seen(ms(10), 900, 100, true), 10, &mut now);
    assert_eq!(limit.limit(), 1_000, "that may be a burst");
    look(&mut limit, seen(ms(10), 900, 100, true), 1, &mut now);
    assert_eq!(
        limit.limit(),
        190,
        "those outside, and a tenth of those at work"
    );
}

#[test]
fn a_slow_provider_holds_nobody_back() {
    let mut limit = AdaptiveLimit::new(1_000);
    let mut now = Instant::now();
    look(
        &mut limit,
        seen(ms(30), LEAST as usize, 900, true),
        100,
        &mut now,
    );
    assert_eq!(limit.limit(), 1_000, "so few at work are no queue");
    look(&mut limit, seen(ms(30), 100, 500, true), 100, &mut now);
    assert_eq!(
        limit.limit(),
        500 + LEAST as usize,
        "they may all wait, and some may be at work"
    );
}

#[test]
fn it_grows_while_it_is_wanted_and_not_else() {
    let mut limit = AdaptiveLimit::new(200);
    let mut now = Instant::now();
    look(&mut limit, seen(ms(10), 100, 0, true), 20, &mut now);
    assert_eq!(limit.limit(), LEAST as usize);
    look(&mut limit, seen(ms(0), 4, 0, false), 50, &mut now);
    assert_eq!(limit.limit(), LEAST as usize, "nobody wanted more");
    look(&mut limit, seen(ms(1) * 2 / 3, 8, 0, true), 50, &mut now);
    assert_eq!(
        limit.limit(),
        LEAST as usize,
        "just in time is not enough to grow"
    );
    let mut before = limit.limit();
    while limit.limit() < 200 {
        look(&mut limit, seen(ms(0), before, 0, true), 5, &mut now);
        assert!(limit.limit() > before);
        before = limit.limit();
    }
}

#[test]
fn what_was_learnt_is_forgotten_when_nobody_wants_for_a_place_any_more() {
    let mut limit = AdaptiveLimit::new(1_000);
    let mut now = Instant::now();
    look(&mut limit, seen(ms(10), 500, 0, true), 20, &mut now);
    assert!(limit.limit() < 100);
    limit.observe(&seen(ms(0), 1, 0, false), now + CALM - ms(1));
    assert!(limit.limit() < 100);
    limit.observe(&seen(ms(0), 1, 0, false), now + CALM);
    assert_eq!(
        limit.limit(),
        1_000,
        "the next burst of slow completions finds its places"
    );
}

#[test]
fn it_looks_when_there_is_something_to_see() {
    let mut limit = AdaptiveLimit::new(10);
    let now = Instant::now();
    assert!(limit.is_due(0, now));
    limit.observe(&Observed::default(), now);
    assert!(
        !limit.is_due(1_000, now + LOOK_EVERY - ms(1))
            && limit.is_due(LEAST_HOPS, now + LOOK_EVERY)
    );
    assert!(!limit.is_due(LEAST_HOPS - 1, now + LOOK_EVERY) && limit.is_due(0, now + LONGEST_LOOK));
}

#[test]
fn who_waits_to_be_read_is_at_work_and_who_waits_for_a_provider_is_not() {
    let mut limit = AdaptiveLimit::new(1_000);
    let mut now = Instant::now();
    // Fifty thousand trips a second, each 4 ms longer than usual: two hundred of those outside.
    let work = WorkDone {
        hops: 500,
        trips: 500,
        trip_excess: ms(4),
        ..WorkDone::default()
    };
    look(
        &mut limit,
        Observed {
            work,
            inside: 10,
            outside: 500,
            bound: true,
        },
        11,
        &mut now,
    );
    assert_eq!(
        limit.limit(),
        405,
        "three hundred with their providers, and half of the others: they are twice too late"
    );
}

proptest! {
    /// Whatever is seen: never above the ceiling, and what is outside and a few more may always be
    /// in flight.
    #[test]
    fn it_stays_within_its_bounds(
        ceiling in 1..2_000_usize,
        looks in prop::collection::vec((0..50_000_u64, 0..2_000_usize, 0..2_000_usize, any::<bool>(), 1..500_u64), 1..200),
    ) {
        let mut limit = AdaptiveLimit::new(ceiling);
        let mut now = Instant::now();
        for (wait_us, inside, outside, bound, pass) in looks {
            now += ms(pass);
            limit.observe(&seen(Duration::from_micros(wait_us), inside, outside, bound), now);
            prop_assert!(limit.limit() <= ceiling);
            prop_assert!(limit.limit() >= ceiling.min(LEAST as usize));
        }
    }

    /// Without work that is late it never holds anybody back, however slow everybody else is.
    #[test]
    fn in_time_it_is_always_open(looks in prop::collection::vec((0..1_000_u64, 0..2_000_usize, 0..2_000_usize, any::<bool>()), 1..200)) {
        let mut limit = AdaptiveLimit::new(700);
        let mut now = Instant::now();
        for (wait_us, inside, outside, bound) in looks {
            now += LOOK_EVERY;
            limit.observe(&seen(Duration::from_micros(wait_us), inside, outside, bound), now);
            prop_assert_eq!(limit.limit(), 700);
        }
    }
}

/// A router in virtual time: requests need two threads for a while, wait for a provider, and need a
/// thread again.
struct World {
    limit: AdaptiveLimit,
    now: Instant,
    threads: [Instant; 2],
    hop: Duration,
    provider: Duration,
    in_flight: usize,
    outside: usize,
    seen: Observed,
    served: u32,
    refused: u32,
    waited_longest: Duration,
    events: BinaryHeap<Reverse<(Instant, u32)>>,
}

/// What happens next to a request: its hops before and after the provider.
const AWAY: u32 = 5;
const DONE: u32 = 10;

impl World {
    fn new(hop: Duration, provider: Duration) -> Self {
        let now = Instant::now();
        Self {
            limit: AdaptiveLimit::new(1_024),
            now,
            threads: [now; 2],
            hop,
            provider,
            in_flight: 0,
            outside: 0,
            seen: Observed::default(),
            served: 0,
            refused: 0,
            waited_longest: Duration::ZERO,
            events: BinaryHeap::new(),
        }
    }

    /// Requests come at a rate for a time; returns those served and refused in it.
    fn run(&mut self, per_second: u32, time: Duration) -> (u32, u32) {
        (self.served, self.refused, self.waited_longest) = (0, 0, Duration::ZERO);
        let end = self.now + time;
        let every = Duration::from_secs(1) / per_second;
        let mut arrival = self.now;
        while arrival < end {
            while let Some((at, stage)) = self.next_until(arrival) {
                self.step(at, stage);
            }
            self.now = arrival;
            self.arrive();
            arrival += every;
        }
        (self.served, self.refused)
    }

    fn next_until(&mut self, time: Instant) -> Option<(Instant, u32)> {
        let Reverse((at, stage)) = *self.events.peek()?;
        (at <= time).then(|| self.events.pop()).map(|_| (at, stage))
    }

    fn arrive(&mut self) {
        if self.limit.is_due(self.seen.work.hops, self.now) {
            let inside = self.in_flight - self.outside;
            let seen = Observed {
                inside,
                outside: self.outside,
                ..std::mem::take(&mut self.seen)
            };
            self.limit.observe(&seen, self.now);
        }
        if self.in_flight < self.limit.limit() {
            self.in_flight += 1;
            self.events.push(Reverse((self.now, 0)));
        } else {
            self.seen.bound = true;
            self.refused += 1;
        }
    }

    fn step(&mut self, at: Instant, stage: u32) {
        if stage == DONE {
            self.in_flight -= 1;
            self.served += 1;
            return;
        }
        if stage == AWAY + 1 {
            self.outside -= 1;
        }
        let thread = usize::from(self.threads[1] < self.threads[0]);
        let begun = self.threads[thread].max(at);
        let done = begun + self.hop;
        self.threads[thread] = done;
        let waited = begun - at;
        self.seen.work.waited += waited;
        self.seen.work.hops += 1;
        self.waited_longest = self.waited_longest.max(waited);
        let next = if stage == AWAY {
            self.outside += 1;
            done + self.provider
        } else {
            done
        };
        self.events.push(Reverse((next, stage + 1)));
    }
}

const HOP: Duration = Duration::from_micros(20);
/// Two threads, ten hops each.
const CAPACITY: u32 = 10_000;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn ten_times_what_the_processor_does_is_served_at_its_capacity_and_in_time() {
    let mut world = World::new(HOP, Duration::ZERO);
    world.run(CAPACITY * 10, SECOND);
    let (served, refused) = world.run(CAPACITY * 10, 4 * SECOND);
    assert!(served > CAPACITY * 4 * 95 / 100, "{served}");
    assert!(
        refused > 0 && world.waited_longest < ms(10),
        "{:?}",
        world.waited_longest
    );
    assert!(
        (8..200).contains(&world.limit.limit()),
        "{}",
        world.limit.limit()
    );
}

#[test]
fn after_the_overload_everything_is_served_again_within_a_second() {
    let mut world = World::new(HOP, Duration::ZERO);
    world.run(CAPACITY * 10, 2 * SECOND);
    world.run(CAPACITY / 2, SECOND);
    let (_, refused) = world.run(CAPACITY / 2, 2 * SECOND);
    assert_eq!((refused, world.limit.limit()), (0, 1_024));
}

#[test]
fn whoever_waits_for_slow_providers_gets_every_place_from_the_first_moment() {
    for (provider, per_second) in [(ms(40), 5_000), (2 * SECOND, 500), (5 * SECOND, 200)] {
        let mut world = World::new(HOP, provider);
        let (_, refused) = world.run(per_second, 10 * SECOND);
        assert_eq!(refused, 0, "{provider:?}");
    }
    let mut world = World::new(HOP, 5 * SECOND);
    let (_, refused) = world.run(1_000_000, Duration::from_micros(500));
    assert_eq!((refused, world.in_flight), (0, 500), "five hundred at once");
}

#[test]
fn heavy_requests_with_a_slow_provider_are_held_to_what_the_threads_do() {
    // A tenth of a second of work for each: twenty a second, each two seconds with its provider.
    let mut world = World::new(ms(10), 2 * SECOND);
    world.run(100, 10 * SECOND);
    let (served, _) = world.run(100, 20 * SECOND);
    assert!(served >= 20 * 20 * 9 / 10, "{served}");
    assert!(world.limit.limit() < 200, "{}", world.limit.limit());
}
