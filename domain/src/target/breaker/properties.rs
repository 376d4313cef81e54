//! What holds for every breaker, whatever happens and in whatever order. Time is a number here.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::window::Window;
use super::*;
use beamline_contract::record::{
    BreakerOverrides, BreakerSetting, Kind, OperatorDecision, OperatorState,
};

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A call starts, if it may.
    Start,
    /// One of the calls in flight ends, after so many milliseconds.
    End(usize, Outcome, u64),
    /// Time goes by, in milliseconds.
    Pass(u64),
    Ping,
    /// Another replica says that its own is open for so many milliseconds.
    Hint(u64),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Success),
        3 => Just(Outcome::Failure),
        1 => Just(Outcome::Timeout),
        1 => (1u64..100).prop_map(|seconds| Outcome::AskedToWait(Duration::from_secs(seconds))),
        2 => Just(Outcome::Ignored),
    ]
}

fn event(outcome: impl Strategy<Value = Outcome>) -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Start),
        8 => (any::<usize>(), outcome, 0u64..1_500).prop_map(|(which, how, took)| Event::End(which, how, took)),
        3 => prop_oneof![0u64..100, 0u64..3_000, 0u64..90_000].prop_map(Event::Pass),
        1 => Just(Event::Ping),
        1 => (0u64..90_000).prop_map(Event::Hint),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        1u32..30,
        1u32..=100,
        1u32..=100,
        1u32..8,
        (1u32..6, 1u32..6),
        any::<bool>(),
    )
        .prop_map(
            |(minimum, failure, slow, in_a_row, (permits, successes), quick)| {
                let mut written = BreakerOverrides::default();
                written.set(BreakerSetting::MinimumCalls, minimum);
                written.set(BreakerSetting::FailureRate, failure);
                written.set(BreakerSetting::SlowCallRate, slow);
                written.set(BreakerSetting::ConsecutiveFailures, in_a_row);
                written.set(BreakerSetting::HalfOpenPermits, permits);
                written.set(BreakerSetting::HalfOpenSuccesses, successes);
                let timeout = Duration::from_millis(if quick { 80 } else { 20_000 });
                Settings::new(Kind::Pre, timeout, &written)
            },
        )
}

/// A breaker, its clock, and the calls in flight.
struct World {
    breaker: Breaker,
    settings: Settings,
    now: Instant,
    in_flight: Vec<Permit>,
    roll: f64,
}

impl World {
    fn new(settings: Settings, roll: f64) -> Self {
        Self {
            breaker: Breaker::default(),
            settings,
            now: Instant::now(),
            in_flight: Vec::new(),
            roll,
        }
    }

    fn happens(&mut self, event: Event) -> bool {
        match event {
            Event::Start => return self.start(),
            Event::End(which, outcome, took) if !self.in_flight.is_empty() => {
                let permit = self.in_flight.swap_remove(which % self.in_flight.len());
                self.end(permit, outcome, took);
            }
            Event::End(..) => {}
            Event::Pass(ms) => self.now += Duration::from_millis(ms),
            Event::Ping => self.breaker.is_alive(self.now),
            Event::Hint(ms) => self.breaker.suspect(self.now + Duration::from_millis(ms)),
        }
        false
    }

    fn start(&mut self) -> bool {
        let permit = self.breaker.check(
            Tenant::NOBODY,
            Mode::Normal,
            &self.settings,
            self.now,
            self.roll,
        );
        self.in_flight.extend(permit.ok());
        permit.is_ok()
    }

    fn end(&mut self, permit: Permit, outcome: Outcome, took: u64) {
        let took = Duration::from_millis(took);
        self.breaker.record(
            permit,
            CallEnd::new(outcome, took),
            &self.settings,
            self.now,
            self.roll,
        );
    }

    fn state(&self) -> State {
        self.breaker.state(self.now)
    }

    /// Calls that the breaker let through as probes and that are still out.
    fn probes(&self) -> usize {
        self.in_flight
            .iter()
            .filter(|permit| permit.generation == self.breaker.generation())
            .count()
    }

    fn opened(settings: Settings, roll: f64) -> Self {
        let mut world = Self::new(settings, roll);
        while !matches!(world.state(), State::Open { .. }) {
            world.start();
            let permit = world.in_flight.pop().unwrap();
            world.end(permit, Outcome::Failure, 0);
        }
        world
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p1_never_more_probes_than_permits(
        settings in settings(), roll in 0.0..1.0, events in prop::collection::vec(event(outcome()), 1..300),
    ) {
        let mut world = World::new(settings, roll);
        for event in events {
            world.happens(event);
            if matches!(world.breaker.everybody.phase_at(world.now), Phase::HalfOpen { .. }) {
                prop_assert!(world.probes() <= settings.half_open_permits as usize);
                prop_assert_eq!(world.probes(), world.breaker.in_flight() as usize, "every one of them is known");
            }
        }
    }

    #[test]
    fn p2_all_permits_come_home(
        settings in settings(), roll in 0.0..1.0, events in prop::collection::vec(event(outcome()), 1..300),
        ends in prop::collection::vec(outcome(), 1..10),
    ) {
        let mut world = World::new(settings, roll);
        for event in events {
            world.happens(event);
        }
        for (permit, outcome) in std::mem::take(&mut world.in_flight).into_iter().zip(ends.into_iter().cycle()) {
            world.end(permit, outcome, 0);
        }
        prop_assert_eq!(world.breaker.in_flight(), 0);
        world.now += settings.open_cap * 2 + settings.half_open_max;
        prop_assert!(world.start(), "so that somebody can call again");
    }

    #[test]
    fn p3_ignored_outcomes_never_change_the_state(
        settings in settings(), roll in 0.0..1.0, events in prop::collection::vec(event(Just(Outcome::Ignored)), 1..300),
    ) {
        let mut world = World::new(settings, roll);
        for event in events {
            world.happens(event);
            prop_assert_eq!(world.state(), State::Closed);
        }
        prop_assert_eq!(world.breaker.generation(), 0);
    }

    #[test]
    fn p4_without_failures_and_slow_calls_it_never_opens(
        settings in settings(), roll in 0.0..1.0,
        events in prop::collection::vec(event(prop_oneof![Just(Outcome::Success), Just(Outcome::Ignored)]), 1..300),
    ) {
        let mut world = World::new(Settings { slow_call_rate: 100, ..settings }, roll);
        for event in events {
            world.happens(event);
            prop_assert_eq!(world.state(), State::Closed);
        }
    }

    #[test]
    fn p5_an_open_breaker_lets_nothing_through_before_its_time(
        settings in settings(), roll in 0.0..1.0, steps in prop::collection::vec(0u64..400, 1..60),
    ) {
        let mut world = World::opened(settings, roll);
        let opened = world.now;
        for step in steps {
            world.now += Duration::from_millis(step);
            let passed = world.now - opened;
            let allowed = world.start();
            prop_assert!(!allowed || passed >= settings.open_base.mul_f64(0.75), "after {passed:?}");
            if allowed {
                return Ok(());
            }
        }
    }

    #[test]
    fn p6_when_everything_fails_one_group_of_probes_goes_for_each_open_time(
        settings in settings(), roll in 0.0..1.0, step in 1u64..500,
    ) {
        let mut world = World::opened(settings, roll);
        let began = world.now;
        let mut allowed = 0;
        while world.now < began + Duration::from_secs(300) {
            world.now += Duration::from_millis(step);
            allowed += (0..20).filter(|_| world.start()).count();
            for permit in std::mem::take(&mut world.in_flight) {
                world.end(permit, Outcome::Failure, 0);
            }
        }
        let groups = (1..).scan(Duration::ZERO, |sum, n| { *sum += settings.open_time(n, roll); Some(*sum) });
        let groups = groups.take_while(|sum| *sum <= Duration::from_secs(300)).count();
        prop_assert!(allowed <= groups * settings.half_open_permits as usize, "{allowed} in {groups} open times");
    }

    #[test]
    fn p7_what_recovered_is_closed_after_the_open_time_and_enough_successes(
        settings in settings(), roll in 0.0..1.0, before in prop::collection::vec(event(outcome()), 1..200),
    ) {
        let mut world = World::opened(settings, roll);
        for event in before {
            world.happens(event);
        }
        world.in_flight.clear();
        let began = world.now;
        let mut successes = 0;
        while world.state() != State::Closed {
            if world.start() {
                successes += 1;
                let permit = world.in_flight.pop().unwrap();
                world.end(permit, Outcome::Success, 0);
            } else {
                world.now += Duration::from_millis(50);
            }
            // Calls whose callers vanished may hold all permits, until half open has its end.
            let longest = settings.half_open_max + settings.open_cap.mul_f64(1.25) + Duration::from_secs(1);
            prop_assert!(world.now - began <= longest, "still not closed");
        }
        prop_assert!(successes <= settings.half_open_successes);
    }

    #[test]
    fn p8_only_an_operators_decision_knows_the_wall_clock(
        settings in settings(), events in prop::collection::vec(event(outcome()), 1..200), step in -3_600i64..3_600,
    ) {
        // The breaker takes instants only. A decision ends by the wall, and nothing else depends on
        // it.
        let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let stepped = if step < 0 { wall - Duration::from_secs(step.unsigned_abs()) } else { wall + Duration::from_secs(step.unsigned_abs()) };
        let over = OperatorDecision { state: OperatorState::ForcedOpen, until: wall - Duration::from_secs(3_600), reason: String::new() };
        let mut one = World::new(settings, 0.5);
        let mut other = World::new(settings, 0.5);
        other.now = one.now;
        for event in events {
            one.happens(event);
            prop_assert_eq!(Mode::of(Some(&over), stepped), Mode::Normal);
            other.happens(event);
            prop_assert_eq!(one.state(), other.state());
        }
    }

    #[test]
    fn p9_a_late_outcome_changes_nothing(
        settings in settings(), roll in 0.0..1.0, events in prop::collection::vec(event(outcome()), 1..300),
        late in outcome(), took in 0u64..2_000,
    ) {
        let mut world = World::new(settings, roll);
        for event in events {
            world.happens(event);
            let stale = world.in_flight.iter().find(|permit| permit.generation < world.breaker.generation()).copied();
            if let Some(stale) = stale {
                world.breaker.everybody.settle(world.now);
                let before = format!("{:?}", world.breaker);
                world.end(stale, late, took);
                prop_assert_eq!(before, format!("{:?}", world.breaker));
            }
        }
    }

    #[test]
    fn p10_the_window_counts_what_a_list_would(
        calls in prop::collection::vec((any::<bool>(), any::<bool>(), prop_oneof![0u64..50, 0u64..1_500, 0u64..40_000]), 1..300),
        seconds in 1u32..=30,
    ) {
        let mut window = Window::default();
        let origin = Instant::now();
        let mut list: VecDeque<(u64, bool, bool)> = VecDeque::new();
        let mut at = 0;
        for (failure, slow, pause) in calls {
            let now = origin + Duration::from_millis(at);
            window.add(failure, slow, now);
            list.push_back((at / 1_000, failure, slow));
            let fresh = list.iter().filter(|(second, ..)| second + u64::from(seconds) > at / 1_000);
            let want = fresh.fold(Counts::default(), |sum, (_, failure, slow)| Counts {
                calls: sum.calls + 1,
                failures: sum.failures + u32::from(*failure),
                slow: sum.slow + u32::from(*slow),
            });
            prop_assert_eq!(window.counts(seconds, now), want);
            prop_assert!(!window.is_clean(now) || want.failures + want.slow == 0);
            at += pause;
        }
    }

    #[test]
    fn hints_alone_change_no_state(
        settings in settings(), roll in 0.0..1.0, failures in 0u32..8,
        hints in prop::collection::vec((0u64..90_000, 0u64..90_000), 1..100),
    ) {
        let mut world = World::new(settings, roll);
        for _ in 0..failures.min(settings.consecutive_failures - 1).min(settings.minimum_calls.saturating_sub(1)) {
            world.start();
            let permit = world.in_flight.pop().unwrap();
            world.end(permit, Outcome::Failure, 0);
        }
        let before = (world.state(), world.breaker.generation());
        for (wait, left) in hints {
            world.happens(Event::Hint(left));
            world.happens(Event::Pass(wait));
            prop_assert_eq!((world.state(), world.breaker.generation()), before);
            prop_assert!(world.breaker.held_back(Tenant::NOBODY, Mode::Normal, world.now).is_none());
        }
    }

    #[test]
    fn a_reset_closes_whatever_came_before_and_no_late_outcome_undoes_it(
        settings in settings(), roll in 0.0..1.0, events in prop::collection::vec(event(outcome()), 1..300),
    ) {
        let mut world = World::new(settings, roll);
        for event in events {
            world.happens(event);
        }
        world.breaker.reset(world.now);
        for permit in std::mem::take(&mut world.in_flight) {
            world.end(permit, Outcome::Failure, 0);
        }
        prop_assert_eq!(world.state(), State::Closed);
        prop_assert_eq!(world.breaker.counts(&settings, world.now), Counts::default());
        prop_assert!(world.start());
    }

    #[test]
    fn p11_open_times_grow_and_stay_within_their_jitter(settings in settings(), roll in 0.0..1.0) {
        let mut world = World::opened(settings, roll);
        for base in [5.0, 10.0, 20.0, 40.0, 60.0, 60.0] {
            let wait = world.breaker.check(Tenant::NOBODY, Mode::Normal, &settings, world.now, roll).unwrap_err().as_secs_f64();
            prop_assert!((base * 0.75..=base * 1.25).contains(&wait), "{wait} s instead of {base} s");
            world.now += Duration::from_secs_f64(wait) + Duration::from_millis(1);
            prop_assert!(world.start());
            let permit = world.in_flight.pop().unwrap();
            world.end(permit, Outcome::Failure, 0);
        }
    }

    #[test]
    fn p12_what_is_shown_is_what_the_next_call_meets(
        settings in settings(), roll in 0.0..1.0, events in prop::collection::vec(event(outcome()), 1..300),
    ) {
        let mut world = World::new(settings, roll);
        for event in events {
            world.happens(event);
            let shown = world.breaker.reading(world.now);
            let held_back = world.breaker.held_back(Tenant::NOBODY, Mode::Normal, world.now);
            let met = world.breaker.clone().check(Tenant::NOBODY, Mode::Normal, &settings, world.now, roll);
            prop_assert_eq!(held_back, met.err(), "{:?}", shown.state);
            match shown.state {
                State::Closed => prop_assert!(met.is_ok()),
                State::Open { until } => prop_assert_eq!(met, Err(until - world.now)),
                State::HalfOpen => prop_assert!(met.is_ok() || world.breaker.in_flight() >= settings.half_open_permits),
            }
        }
    }
}

/// As an event, of one of a few tenants.
fn shared() -> impl Strategy<Value = Vec<(u8, Event)>> {
    prop::collection::vec((0u8..3, event(outcome())), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_several_tenants_all_permits_come_home_and_each_meets_what_is_shown(
        settings in settings(), roll in 0.0..1.0, events in shared(), ends in prop::collection::vec(outcome(), 1..10),
    ) {
        let mut world = World::new(settings, roll);
        for (name, event) in events {
            let tenant = Tenant::of(&name.to_string());
            if let Event::Start = event {
                let held_back = world.breaker.held_back(tenant, Mode::Normal, world.now);
                let met = world.breaker.check(tenant, Mode::Normal, &settings, world.now, roll);
                prop_assert_eq!(held_back, met.err());
                world.in_flight.extend(met.ok());
            } else {
                world.happens(event);
            }
            let most = settings.half_open_permits * 5;
            prop_assert!(world.breaker.in_flight() <= most, "four guests at most");
        }
        for (permit, outcome) in std::mem::take(&mut world.in_flight).into_iter().zip(ends.into_iter().cycle()) {
            world.end(permit, outcome, 0);
        }
        prop_assert_eq!(world.breaker.in_flight(), 0);
        world.now += settings.open_cap * 2 + settings.half_open_max;
        for name in 0..3 {
            let tenant = Tenant::of(&name.to_string());
            let permit = world.breaker.check(tenant, Mode::Normal, &settings, world.now, roll);
            prop_assert!(permit.is_ok(), "so that everybody can call again");
            permit.into_iter().for_each(|permit| world.end(permit, Outcome::Ignored, 0));
        }
    }

    #[test]
    fn one_tenant_whose_calls_succeed_is_never_kept_back_by_another(
        settings in settings(), roll in 0.0..1.0, events in shared(),
    ) {
        let settings = Settings { slow_call_rate: 100, ..settings };
        let mut world = World::new(settings, roll);
        let fine = Tenant::of("fine");
        for (_, event) in events {
            // It calls before, between and after.
            let permit = world.breaker.check(fine, Mode::Normal, &settings, world.now, roll);
            prop_assert!(permit.is_ok());
            permit.into_iter().for_each(|permit| world.end(permit, Outcome::Success, 0));
            let until = world.now + Duration::from_secs(29);
            world.happens(event);
            world.now = world.now.min(until);
        }
    }
}
