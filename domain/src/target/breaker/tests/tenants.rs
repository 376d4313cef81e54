//! Whose failures count for whom.

use super::*;

pub(super) fn tenant(name: &str) -> Tenant {
    Tenant::of(name)
}

impl Bench {
    /// Calls of one tenant that are let through, of so many.
    fn calls_of(&mut self, name: &str, times: u32, outcome: Outcome) -> u32 {
        let mut gone = 0;
        for _ in 0..times {
            if let Ok(permit) = self.permit_of(tenant(name)) {
                gone += 1;
                self.record(permit, outcome);
            }
        }
        gone
    }

    fn is_kept_back(&self, name: &str) -> bool {
        self.breaker
            .held_back(tenant(name), Mode::Normal, self.now)
            .is_some()
    }
}

#[test]
fn failures_count_for_the_tenant_that_met_them() {
    let mut bench = Bench::new();
    bench.calls_of("fine", 1, Outcome::Success);
    assert_eq!(bench.calls_of("bad", 9, Outcome::Failure), 5);
    assert_eq!(
        (bench.is_kept_back("bad"), bench.is_kept_back("fine")),
        (true, false)
    );
    assert_eq!(bench.state(), "closed");
    assert_eq!(bench.calls_of("fine", 30, Outcome::Success), 30);
    assert_eq!(bench.calls_of("new", 30, Outcome::Success), 30);
    let tenants = bench.breaker.tenants(bench.now);
    assert_eq!(
        (tenants.len(), tenants[0].0, tenants[0].1.state.as_str()),
        (1, tenant("bad"), "open")
    );
    assert!(!bench.breaker.is_closed(bench.now));

    bench.wait(5);
    assert_eq!(bench.calls_of("bad", 3, Outcome::Success), 3);
    assert!(bench.breaker.is_closed(bench.now));
    bench.wait(120);
    bench.calls_of("fine", 1, Outcome::Success);
    bench.calls_of("other", 1, Outcome::Failure);
    let tenants = bench.breaker.tenants(bench.now);
    assert_eq!(
        (tenants.len(), tenants[0].0),
        (1, tenant("other")),
        "and is forgotten when there is another"
    );
}

#[test]
fn a_tenants_own_breaker_goes_through_its_states() {
    let mut bench = Bench::new();
    bench.calls_of("fine", 1, Outcome::Success);
    bench.calls_of("bad", 5, Outcome::Failure);
    for longer in [10, 20] {
        bench.wait(20);
        bench.calls_of("fine", 1, Outcome::Success);
        assert_eq!(bench.calls_of("bad", 2, Outcome::Failure), 1, "one probe");
        let wait = bench
            .breaker
            .held_back(tenant("bad"), Mode::Normal, bench.now);
        assert_eq!(wait, Some(SECOND * longer));
    }
    assert!(bench.breaker.reset(bench.now), "an operator closes it");
    assert_eq!(bench.calls_of("bad", 1, Outcome::Success), 1);
}

#[test]
fn of_a_second_tenant_one_failure_is_enough_for_everybody() {
    let mut bench = Bench::new();
    for name in ["one", "other", "third"] {
        bench.calls_of(name, 1, Outcome::Success);
    }
    assert_eq!(bench.calls_of("one", 9, Outcome::Failure), 5);
    assert_eq!(bench.state(), "closed");
    assert_eq!(bench.calls_of("other", 9, Outcome::Failure), 1);
    assert_eq!(bench.state(), "open");
    let kept_back = ["one", "other", "third", "new"].map(|name| bench.is_kept_back(name));
    assert_eq!(kept_back, [true; 4]);
}

#[test]
fn a_failure_of_long_ago_is_nobodys_second() {
    let mut bench = Bench::new();
    bench.calls_of("other", 1, Outcome::Failure);
    bench.wait(30);
    bench.calls_of("other", 1, Outcome::Success);
    bench.calls_of("one", 5, Outcome::Failure);
    assert_eq!((bench.state(), bench.is_kept_back("one")), ("closed", true));
}

#[test]
fn where_nobody_listens_it_is_for_everybody_at_once() {
    let mut bench = Bench::new();
    bench.calls_of("fine", 1, Outcome::Success);
    bench.calls_of("one", 5, Outcome::NoResponders);
    assert_eq!((bench.state(), bench.is_kept_back("fine")), ("open", true));
    assert!(bench.is_kept_back("new"), "nor is there a trial");
}

#[test]
fn what_gives_no_sign_of_life_fails_for_everybody() {
    let mut bench = Bench::new();
    bench.calls_of("fine", 1, Outcome::Success);
    bench.breaker.is_silent(bench.now);
    bench.calls_of("one", 5, Outcome::Failure);
    assert_eq!((bench.state(), bench.is_kept_back("fine")), ("open", true));

    let mut bench = Bench::new();
    bench.calls_of("bad", 5, Outcome::Failure);
    assert!(!bench.is_kept_back("new"));
    bench.breaker.is_silent(bench.now);
    assert!(
        bench.is_kept_back("new"),
        "it was not the other one's alone"
    );
    bench.breaker.is_alive(bench.now);
    assert_eq!(bench.calls_of("new", 3, Outcome::Success), 3);
    assert_eq!(bench.state(), "closed");
    bench.calls_of("bad", 5, Outcome::Failure);
    assert_eq!(bench.state(), "closed", "it lives, and others call");
}

#[test]
fn who_has_not_called_gets_a_trial_beside_anothers_open_breaker() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored] {
        let mut bench = Bench::new();
        bench.calls_of("bad", 5, Outcome::Failure);
        assert_eq!((bench.state(), bench.is_kept_back("bad")), ("open", true));
        let trial: Vec<Permit> = (0..3)
            .map(|_| bench.permit_of(tenant("new")).unwrap())
            .collect();
        assert_eq!(bench.permit_of(tenant("new")), Err(SECOND * 5), "three");
        assert_eq!(bench.permit_of(tenant("bad")), Err(SECOND * 5));
        assert!(bench.permit_of(tenant("newer")).is_ok(), "three of each");
        trial
            .into_iter()
            .for_each(|permit| bench.record(permit, outcome));
        let kept_back = ["bad", "new", "newer", "newest"].map(|name| bench.is_kept_back(name));
        let want = if outcome == Outcome::Failure {
            [true; 4]
        } else {
            [true, false, false, false]
        };
        assert_eq!(kept_back, want, "{outcome:?}");
        let state = if outcome == Outcome::Success {
            "closed"
        } else {
            "open"
        };
        assert_eq!(bench.state(), state, "{outcome:?}");
    }
}

#[test]
fn the_breaker_that_was_found_to_be_one_tenants_goes_on_as_its_own() {
    let mut bench = Bench::new();
    bench.calls_of("bad", 5, Outcome::Failure);
    bench.wait(2);
    assert_eq!(bench.calls_of("new", 100, Outcome::Success), 100);
    assert_eq!(bench.permit_of(tenant("bad")), Err(SECOND * 3));
    bench.wait(3);
    assert_eq!(bench.calls_of("bad", 2, Outcome::Failure), 1);
    assert_eq!(bench.permit_of(tenant("bad")), Err(SECOND * 10));
    assert_eq!(bench.calls_of("new", 100, Outcome::Success), 100);
}

#[test]
fn a_late_outcome_of_a_tenant_says_nothing_of_its_own_breaker() {
    let mut bench = Bench::new();
    bench.calls_of("fine", 1, Outcome::Success);
    let late = bench.permit_of(tenant("bad")).unwrap();
    bench.calls_of("bad", 5, Outcome::Failure);
    bench.wait(5);
    let probe = bench.permit_of(tenant("bad")).unwrap();
    bench.record(late, Outcome::Failure);
    assert!(bench.permit_of(tenant("bad")).is_ok(), "still half open");
    bench.record(probe, Outcome::Failure);
    assert!(bench.is_kept_back("bad"));
}

#[test]
fn tenants_with_a_trouble_of_their_own_are_bounded() {
    let mut bench = Bench::with(Kind::Provider, &[(BreakerSetting::FailureRate, 100)]);
    for n in 0..1_000 {
        bench.calls_of("fine", 1, Outcome::Success);
        bench.calls_of(&format!("bad{n}"), 3, Outcome::Failure);
    }
    assert_eq!(bench.breaker.tenants(bench.now).len(), 16);
}
