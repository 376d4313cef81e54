use beamline_contract::failure::FailureKind;

use super::*;
use beamline_contract::record::{BreakerOverrides, BreakerSetting, Kind};

mod neighbours;
mod tenants;

const TIMEOUT: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A breaker with its clock and without jitter.
struct Bench {
    breaker: Breaker,
    settings: Settings,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(Kind::Pre, &[])
    }

    fn with(kind: Kind, written: &[(BreakerSetting, u32)]) -> Self {
        let mut overrides = BreakerOverrides::default();
        written
            .iter()
            .for_each(|(setting, number)| overrides.set(*setting, *number));
        overrides.set(BreakerSetting::Jitter, 0);
        let settings = Settings::new(kind, TIMEOUT, &overrides);
        Self {
            breaker: Breaker::default(),
            settings,
            now: Instant::now(),
        }
    }

    fn permit(&mut self) -> Result<Permit, Duration> {
        self.permit_of(Tenant::NOBODY)
    }

    fn permit_of(&mut self, tenant: Tenant) -> Result<Permit, Duration> {
        self.breaker
            .check(tenant, Mode::Normal, &self.settings, self.now, 0.5)
    }

    fn record(&mut self, permit: Permit, outcome: Outcome) {
        self.took(permit, outcome, QUICK);
    }

    fn took(&mut self, permit: Permit, outcome: Outcome, took: Duration) {
        self.breaker.record(
            permit,
            CallEnd::new(outcome, took),
            &self.settings,
            self.now,
            0.5,
        );
    }

    fn calls(&mut self, times: u32, outcome: Outcome) {
        for _ in 0..times {
            let permit = self.permit().unwrap();
            self.record(permit, outcome);
        }
    }

    fn one_after_the_other(&mut self, times: u32, outcome: Outcome, took: Duration) {
        for _ in 0..times {
            let permit = self.permit().unwrap();
            self.now += took;
            self.took(permit, outcome, took);
        }
    }

    fn state(&self) -> &'static str {
        self.breaker.state(self.now).as_str()
    }

    fn reason(&self) -> Option<OpenReason> {
        self.breaker.reading(self.now).last.map(|last| last.reason)
    }

    fn wait(&mut self, seconds: u32) {
        self.now += SECOND * seconds;
    }
}

#[test]
fn opens_after_five_failures_in_a_row_and_closes_after_three_probes() {
    let mut bench = Bench::new();
    bench.calls(4, Outcome::Failure);
    bench.calls(1, Outcome::Success);
    bench.calls(5, Outcome::Failure);
    assert_eq!(
        (bench.state(), bench.reason()),
        ("open", Some(OpenReason::FailuresInARow { failures: 5 }))
    );
    bench.wait(4);
    assert_eq!(bench.permit(), Err(SECOND));

    bench.wait(1);
    assert_eq!(
        (
            bench.state(),
            bench
                .breaker
                .held_back(Tenant::NOBODY, Mode::Normal, bench.now)
        ),
        ("half_open", None)
    );
    let probes: Vec<Permit> = (0..3).map(|_| bench.permit().unwrap()).collect();
    assert_eq!(bench.permit(), Err(SECOND), "three probes at a time");
    assert!(
        bench
            .breaker
            .held_back(Tenant::NOBODY, Mode::Normal, bench.now)
            .is_some(),
        "nobody is sent after them"
    );
    bench.record(probes[0], Outcome::Success);
    bench.record(probes[1], Outcome::Success);
    assert_eq!(bench.state(), "half_open", "two lucky ones do not close it");
    bench.record(probes[2], Outcome::Success);
    assert_eq!(
        (bench.state(), bench.breaker.reading(bench.now).failures),
        ("closed", 0)
    );
    assert_eq!(
        bench.reason(),
        Some(OpenReason::FailuresInARow { failures: 5 }),
        "why it opened is still known"
    );
    assert_eq!(
        bench.breaker.counts(&bench.settings, bench.now),
        Counts::default(),
        "and the window is empty"
    );
}

#[test]
fn one_failed_probe_opens_it_again_for_longer() {
    let mut bench = Bench::new();
    bench.calls(5, Outcome::Failure);
    for longer in [10, 20, 40, 60, 60] {
        bench.wait(60);
        bench.calls(2, Outcome::Success);
        bench.calls(1, Outcome::Failure);
        assert_eq!(bench.permit(), Err(SECOND * longer));
    }
    bench.wait(60);
    bench.calls(3, Outcome::Success);
    bench.wait(59);
    bench.calls(5, Outcome::Failure);
    assert_eq!(
        bench.permit(),
        Err(SECOND * 60),
        "it was closed for less than a minute"
    );
    bench.wait(60);
    bench.calls(3, Outcome::Success);
    bench.wait(60);
    bench.calls(5, Outcome::Failure);
    assert_eq!(
        bench.permit(),
        Err(SECOND * 5),
        "a quiet minute is forgiven"
    );
}

#[test]
fn too_many_failures_among_enough_calls_open_it() {
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.calls(1, Outcome::Failure);
        bench.calls(1, Outcome::Success);
    }
    bench.calls(1, Outcome::Failure);
    assert_eq!(
        bench.state(),
        "closed",
        "ten of nineteen, but nineteen are few"
    );
    bench.calls(1, Outcome::Success);
    assert_eq!(
        (bench.state(), bench.reason()),
        (
            "open",
            Some(OpenReason::FailureRate {
                percent: 50,
                calls: 20
            })
        )
    );
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.calls(1, Outcome::Failure);
        bench.calls(1, Outcome::Success);
    }
    bench.wait(30);
    bench.calls(1, Outcome::Failure);
    bench.calls(5, Outcome::Success);
    assert_eq!(
        bench.breaker.counts(&bench.settings, bench.now),
        Counts {
            calls: 6,
            failures: 1,
            slow: 0
        }
    );
    assert_eq!(bench.state(), "closed");
}

#[test]
fn slow_calls_open_it_but_not_a_models() {
    for (kind, state) in [(Kind::Validator, "open"), (Kind::Provider, "closed")] {
        let mut bench = Bench::with(kind, &[]);
        for call in 0..20 {
            // 800 ms of 1 s are slow; sixteen of twenty are too many.
            let took = Duration::from_millis(if call < 4 { 799 } else { 800 });
            bench.one_after_the_other(1, Outcome::Success, took);
        }
        assert_eq!(bench.state(), state, "{kind:?}");
    }
    let mut bench = Bench::with(
        Kind::Pre,
        &[
            (BreakerSetting::ConsecutiveFailures, 1_000),
            (BreakerSetting::FailureRate, 100),
        ],
    );
    bench.calls(4, Outcome::Success);
    bench.one_after_the_other(16, Outcome::Timeout, TIMEOUT);
    assert_eq!(
        bench.reason(),
        Some(OpenReason::SlowCalls {
            percent: 80,
            calls: 20
        }),
        "a timeout is slow"
    );
}

#[test]
fn an_extension_that_asks_twice_to_wait_is_obeyed() {
    let asked = |seconds| Outcome::AskedToWait(SECOND * seconds);
    let mut bench = Bench::new();
    bench.calls(1, asked(30));
    bench.calls(1, Outcome::Success);
    bench.calls(1, asked(30));
    assert_eq!(bench.state(), "closed");
    bench.calls(1, asked(17));
    assert_eq!(bench.permit(), Err(SECOND * 17));
    bench.breaker.is_alive(bench.now);
    assert_eq!(
        bench.permit(),
        Err(SECOND * 17),
        "it answers pings, and still wants to be left alone"
    );
    bench.wait(17);
    bench.calls(1, asked(600));
    assert_eq!(bench.permit(), Err(SECOND * 60), "at most a minute");
}

#[test]
fn a_sign_of_life_brings_the_probe_forward_and_closes_nothing() {
    let mut bench = Bench::new();
    bench.breaker.is_alive(bench.now);
    assert_eq!(bench.state(), "closed");
    bench.calls(5, Outcome::Failure);
    bench.breaker.is_alive(bench.now);
    assert_eq!(bench.state(), "half_open");
    bench.calls(1, Outcome::Failure);
    assert_eq!(bench.permit(), Err(SECOND * 10));
}

#[test]
fn without_a_verdict_it_opens_again_for_the_same_time() {
    let mut bench = Bench::new();
    bench.calls(5, Outcome::Failure);
    bench.wait(5);
    let probe = bench.permit().unwrap();
    bench.wait(9);
    assert_eq!(bench.state(), "half_open");
    bench.wait(1);
    assert_eq!((bench.state(), bench.permit()), ("open", Err(SECOND * 5)));
    assert_eq!(bench.reason(), Some(OpenReason::NoVerdict));
    bench.wait(5);
    bench.record(probe, Outcome::Failure);
    assert_eq!(bench.state(), "half_open", "its answer comes too late");
    bench.calls(3, Outcome::Success);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn where_calls_are_rare_it_closes_all_the_same() {
    let mut bench = Bench::new();
    bench.calls(5, Outcome::Failure);
    bench.wait(5);
    for _ in 0..2 {
        bench.calls(1, Outcome::Success);
        bench.wait(60);
        assert_eq!(
            bench.state(),
            "half_open",
            "one success at a time is a verdict in the making"
        );
    }
    let silent = bench.permit().unwrap();
    bench.wait(10);
    assert_eq!(
        (bench.state(), bench.permit()),
        ("open", Err(SECOND * 5)),
        "a probe without an answer is not"
    );
    bench.record(silent, Outcome::Success);
    bench.wait(5);
    bench.calls(3, Outcome::Success);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn a_sign_of_life_ends_an_open_time_that_nobody_has_seen_begin() {
    let mut bench = Bench::new();
    bench.calls(5, Outcome::Failure);
    bench.wait(5);
    let _silent = bench.permit().unwrap();
    bench.wait(10);
    bench.breaker.is_alive(bench.now);
    assert_eq!((bench.state(), bench.permit().is_ok()), ("half_open", true));
}

#[test]
fn a_wait_that_is_asked_for_is_obeyed_up_to_a_minute_whatever_the_open_times() {
    let wait = |seconds| Outcome::AskedToWait(SECOND * seconds);
    for (cap_ms, asked, held) in [(1_000, 40, 40), (600_000, 300, 60)] {
        let mut bench = Bench::with(Kind::Pre, &[(BreakerSetting::OpenCap, cap_ms)]);
        bench.calls(2, wait(asked));
        assert_eq!(bench.permit(), Err(SECOND * held), "a cap of {cap_ms} ms");
        bench.wait(held);
        bench.calls(1, wait(asked));
        bench.breaker.is_alive(bench.now);
        assert!(
            bench.permit().is_err(),
            "a probe was told to wait: a ping changes nothing"
        );
    }
}

#[test]
fn late_and_ignored_outcomes_change_nothing() {
    let mut bench = Bench::new();
    let late = [bench.permit().unwrap(), bench.permit().unwrap()];
    bench.calls(5, Outcome::Failure);
    bench.record(late[0], Outcome::Success);
    assert_eq!(bench.state(), "open");

    bench.wait(5);
    for _ in 0..50 {
        bench.calls(1, Outcome::Ignored);
    }
    assert_eq!(
        (bench.state(), bench.breaker.in_flight()),
        ("half_open", 0),
        "a probe that told nothing gives way"
    );
    bench.record(late[1], Outcome::Failure);
    assert_eq!(
        bench.state(),
        "half_open",
        "a failure of before says nothing of now"
    );
    bench.calls(3, Outcome::Success);
    bench.calls(50, Outcome::Ignored);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn an_outcome_is_judged_by_the_settings_of_its_own_call() {
    let patient = Bench::with(Kind::Provider, &[(BreakerSetting::ConsecutiveFailures, 8)]).settings;
    let mut bench = Bench::with(Kind::Provider, &[(BreakerSetting::ConsecutiveFailures, 2)]);
    let impatient = std::mem::replace(&mut bench.settings, patient);
    bench.calls(7, Outcome::Failure);
    assert_eq!(
        bench.state(),
        "closed",
        "seven failures are few for a patient policy"
    );
    bench.settings = impatient;
    bench.calls(1, Outcome::Failure);
    assert_eq!(
        bench.state(),
        "open",
        "and many for another, which shares the breaker"
    );
}

#[test]
fn an_operator_has_the_last_word() {
    let mut bench = Bench::new();
    let ask = |bench: &mut Bench, mode| {
        bench
            .breaker
            .check(Tenant::NOBODY, mode, &bench.settings, bench.now, 0.5)
    };
    assert_eq!(ask(&mut bench, Mode::ForcedOpen(SECOND)), Err(SECOND));
    assert_eq!(
        bench
            .breaker
            .held_back(Tenant::NOBODY, Mode::ForcedOpen(SECOND), bench.now),
        Some(SECOND)
    );

    for _ in 0..20 {
        let permit = ask(&mut bench, Mode::Disabled).unwrap();
        bench.record(permit, Outcome::Failure);
    }
    assert_eq!(
        (
            bench.state(),
            bench.breaker.counts(&bench.settings, bench.now).failures
        ),
        ("closed", 20)
    );
    bench.calls(1, Outcome::Failure);
    assert_eq!(
        bench.state(),
        "open",
        "what was counted counts when it is switched on again"
    );

    assert!(ask(&mut bench, Mode::Normal).is_err());
    let unseen = ask(&mut bench, Mode::MetricsOnly).unwrap();
    bench.record(unseen, Outcome::Success);
    assert_eq!(
        (
            bench.state(),
            bench
                .breaker
                .held_back(Tenant::NOBODY, Mode::MetricsOnly, bench.now)
        ),
        ("open", None)
    );
    bench.wait(5);
    for _ in 0..3 {
        let probe = ask(&mut bench, Mode::MetricsOnly).unwrap();
        bench.record(probe, Outcome::Success);
    }
    assert_eq!(
        bench.state(),
        "closed",
        "it goes through its states as if it were in force"
    );
}

#[test]
fn while_another_replicas_is_open_two_failures_are_enough() {
    let mut bench = Bench::new();
    bench.breaker.suspect(bench.now + SECOND * 5);
    bench.breaker.suspect(bench.now + SECOND);
    bench.calls(1, Outcome::Failure);
    assert_eq!(bench.state(), "closed");
    bench.wait(4);
    bench.calls(1, Outcome::Failure);
    assert_eq!(
        bench.reason(),
        Some(OpenReason::FailuresInARow { failures: 2 }),
        "the longer hint holds"
    );

    let mut bench = Bench::new();
    bench.breaker.suspect(bench.now + SECOND * 5);
    for outcome in [
        Outcome::Failure,
        Outcome::Success,
        Outcome::Failure,
        Outcome::Success,
    ] {
        bench.calls(1, outcome);
    }
    assert_eq!(bench.state(), "closed");
    bench.calls(1, Outcome::Failure);
    assert_eq!(
        bench.reason(),
        Some(OpenReason::FailureRate {
            percent: 60,
            calls: 5
        })
    );

    let mut bench = Bench::new();
    bench.breaker.suspect(bench.now + SECOND * 5);
    bench.wait(5);
    bench.calls(4, Outcome::Failure);
    assert_eq!(bench.state(), "closed", "it is over");

    let mut bench = Bench::with(Kind::Pre, &[(BreakerSetting::ConsecutiveFailures, 1)]);
    bench.breaker.suspect(bench.now + SECOND * 5);
    bench.calls(1, Outcome::Failure);
    assert_eq!(
        bench.state(),
        "open",
        "settings of its own that need less hold"
    );
}

#[test]
fn an_operator_closes_what_is_open_or_half_open() {
    for (seconds, state) in [(0, "open"), (5, "half_open")] {
        let mut bench = Bench::new();
        let late = bench.permit().unwrap();
        bench.calls(5, Outcome::Failure);
        bench.wait(seconds);
        assert_eq!(bench.state(), state);
        let before = bench.breaker.generation();
        assert!(bench.breaker.reset(bench.now));
        assert_eq!(
            (
                bench.state(),
                bench.breaker.counts(&bench.settings, bench.now)
            ),
            ("closed", Counts::default())
        );
        assert!(bench.breaker.generation() > before);
        bench.record(late, Outcome::Failure);
        bench.calls(4, Outcome::Failure);
        assert_eq!(
            bench.state(),
            "closed",
            "it needs five failures again, and the late one is none"
        );
        bench.calls(1, Outcome::Failure);
        assert_eq!(
            bench.permit(),
            Err(SECOND * 5),
            "and begins with the first open time"
        );
    }
    assert!(
        !Bench::new().breaker.reset(Instant::now()),
        "there was nothing to close"
    );
}

#[test]
fn several_breakers_are_as_good_as_the_best_of_them() {
    let start = Instant::now();
    let opening = |at| Opening {
        at,
        reason: OpenReason::FailuresInARow { failures: 5 },
        class: None,
    };
    let reading = |state, failures, opened_at: Option<Instant>| BreakerReading {
        state,
        failures,
        opened_at,
        last: opened_at.map(opening),
        suspect_until: None,
    };
    let open = |second| {
        let at = start + SECOND * second;
        reading(
            State::Open {
                until: at + SECOND * 5,
            },
            5,
            Some(at),
        )
    };
    let half_open = reading(State::HalfOpen, 6, Some(start));
    let closed = reading(State::Closed, 2, None);
    assert_eq!(BreakerReading::over([]), reading(State::Closed, 0, None));
    assert_eq!(BreakerReading::over([open(3)]), open(3));
    let all = BreakerReading::over([open(3), open(1), open(2)]);
    assert_eq!(
        (all.state, all.opened_at),
        (open(1).state, open(1).opened_at),
        "the one that is tried first"
    );
    assert_eq!(all.last, open(3).last, "the reason is the newest");
    assert_eq!(
        BreakerReading::over([open(3), half_open]).state,
        State::HalfOpen
    );
    let all = BreakerReading::over([half_open, closed, open(1)]);
    assert_eq!(
        (all.state, all.failures, all.opened_at),
        (State::Closed, 6, None)
    );
}

#[test]
fn an_opening_keeps_the_class_of_what_opened_it() {
    let end = |class| CallEnd {
        class: Some(class),
        ..CallEnd::new(Outcome::Failure, QUICK)
    };
    let mut bench = Bench::new();
    let fail = |bench: &mut Bench, class| {
        let permit = bench.permit().unwrap();
        bench
            .breaker
            .record(permit, end(class), &bench.settings, bench.now, 0.5);
    };
    let class = |bench: &Bench| bench.breaker.reading(bench.now).last?.class;
    (0..4).for_each(|_| fail(&mut bench, FailureKind::ServerError));
    fail(&mut bench, FailureKind::Quota);
    assert_eq!(class(&bench), Some(FailureKind::Quota));
    bench.wait(5);
    fail(&mut bench, FailureKind::Auth);
    assert_eq!(class(&bench), Some(FailureKind::Auth), "a probe's");
    bench.wait(10);
    let _silent = bench.permit().unwrap();
    bench.wait(10);
    assert!(bench.permit().is_err());
    assert_eq!(
        class(&bench),
        Some(FailureKind::Auth),
        "no verdict is no other reason"
    );

    let mut bench = Bench::new();
    bench.one_after_the_other(20, Outcome::Success, TIMEOUT);
    assert_eq!((bench.state(), class(&bench)), ("open", None), "it is slow");
}

#[test]
fn a_breaker_is_small() {
    assert!(
        std::mem::size_of::<Breaker>() <= 1_024,
        "{} bytes",
        std::mem::size_of::<Breaker>()
    );
}
