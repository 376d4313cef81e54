use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> Tenant {
    Tenant::of(name)
}

/// Places that a tenant gets at once, of so many calls.
fn granted(places: &mut Places, name: &str, calls: u32, now: Instant) -> u32 {
    let asked = (0..calls).map(|_| places.ask(tenant(name), false, now));
    asked.map(|asked| u32::from(asked == Asked::Granted)).sum()
}

#[test]
fn sixty_slow_prompts_at_twenty_places_leave_half_of_them() {
    let now = Instant::now();
    let mut places = Places::new(20, now);
    assert_eq!(granted(&mut places, "other", 1, now), 1);
    places.leave(tenant("other"), Load::Carried, now, now);
    assert_eq!(granted(&mut places, "attacker", 60, now), 10);
    assert_eq!(granted(&mut places, "other", 10, now), 10);
    assert_eq!(granted(&mut places, "other", 1, now), 0, "all are in use");
}

#[test]
fn alone_a_tenant_may_hold_all_of_them_and_gives_way_when_another_comes() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut places = Places::new(20, now);
    assert_eq!(granted(&mut places, "one", 60, now), 20);
    let asked = places.ask(tenant("other"), true, at(1));
    let Asked::Waits(other) = asked else {
        panic!("{asked:?}")
    };
    let own = places.ask(tenant("one"), true, at(1));
    assert!(matches!(own, Asked::Waits(_)), "{own:?}");
    places.leave(tenant("one"), Load::Carried, now, at(2));
    assert_eq!(
        (places.next(at(2)), places.next(at(2))),
        (Some(other), None)
    );
    for _ in 0..10 {
        places.leave(tenant("one"), Load::Carried, now, at(2));
    }
    assert!(places.next(at(2)).is_some(), "nine are fewer than half");
    assert_eq!(granted(&mut places, "one", 60, at(3)), 0);
    places.leave(tenant("other"), Load::Carried, at(2), at(4));
    assert_eq!(
        granted(&mut places, "one", 60, at(61)),
        10,
        "a minute later it is alone"
    );
}

#[test]
fn who_waits_beyond_its_half_keeps_nobody_else_waiting() {
    let now = Instant::now();
    let mut places = Places::new(4, now);
    granted(&mut places, "other", 1, now);
    places.leave(tenant("other"), Load::Carried, now, now);
    assert_eq!(granted(&mut places, "attacker", 4, now), 2);
    let waits = |places: &mut Places| {
        let asked = places.ask(tenant("attacker"), true, now);
        matches!(asked, Asked::Waits(_))
    };
    assert_eq!(
        [(); 4].map(|()| waits(&mut places)),
        [true, true, false, false]
    );
    assert_eq!(
        granted(&mut places, "other", 2, now),
        2,
        "past those who wait"
    );
    let Asked::Waits(other) = places.ask(tenant("other"), true, now) else {
        panic!("there is room to wait")
    };
    places.leave(tenant("other"), Load::Carried, now, now);
    assert_eq!(
        places.next(now),
        Some(other),
        "those before it hold their half"
    );
    assert!(!places.give_up(other) && places.waiting() == 2);
}

#[test]
fn what_one_tenant_is_refused_shrinks_the_limit_of_no_other() {
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    for load in [Load::Refused, Load::Overloaded] {
        let mut places = Places::new(40, now);
        let call = |places: &mut Places, name, load, ms| {
            assert_eq!(places.ask(tenant(name), false, at(ms)), Asked::Granted);
            places.leave(tenant(name), load, at(ms), at(ms + 10));
        };
        for ms in 0..30 {
            call(&mut places, "attacker", load, ms * 200);
        }
        assert!(places.limit().get() < 20, "alone, it may be the extension");
        call(&mut places, "other", Load::Carried, 7_000);
        assert_eq!(places.limit().get(), 40);
        for ms in 0..30 {
            call(&mut places, "attacker", load, 8_000 + ms * 200);
        }
        assert_eq!(places.limit().get(), 40);
        call(&mut places, "other", load, 15_000);
        assert_eq!(places.limit().get(), 36, "another one says so, too");
        call(&mut places, "attacker", load, 16_000);
        assert_eq!(places.limit().get(), 32);
    }
}

#[test]
fn two_that_fill_everything_leave_a_third_its_turn() {
    let now = Instant::now();
    let mut places = Places::new(20, now);
    // Each has 30 calls under way, from the first moment on.
    let mut turns = Vec::new();
    for call in 0..60 {
        let name = ["a", "b"][call % 2];
        turns.push(places.ask(tenant(name), true, now));
    }
    let count = |kind: fn(&Asked) -> bool| turns.iter().filter(|asked| kind(asked)).count();
    assert_eq!(count(|asked| *asked == Asked::Granted), 20);
    assert_eq!(count(|asked| matches!(asked, Asked::Waits(_))), 20);
    let newest = turns.iter().filter_map(|asked| match asked {
        Asked::Waits(ticket) => Some(*ticket),
        Asked::Granted | Asked::WaitsInsteadOf(..) | Asked::QueueFull => None,
    });
    let newest: Vec<Ticket> = newest.collect();
    let mut own = Vec::new();
    for displaced in newest.iter().rev().take(7) {
        let asked = places.ask(tenant("c"), true, now);
        let Asked::WaitsInsteadOf(ticket, gone) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!(gone, *displaced, "the newest of who waits with most");
        own.push(ticket);
    }
    assert_eq!((places.waiting(), places.in_use()), (20, 20));
    assert_eq!(
        places.ask(tenant("c"), true, now),
        Asked::QueueFull,
        "with one more it would wait with as many as they"
    );
    for (expected, name) in own.into_iter().zip(["a", "b", "a", "b", "a", "b"]) {
        places.leave(tenant(name), Load::Carried, now, now);
        assert_eq!(places.next(now), Some(expected), "it holds fewest");
        places.ask(tenant(name), true, now);
    }
}

#[test]
fn who_is_displaced_displaces_nobody_in_turn() {
    let now = Instant::now();
    let mut places = Places::new(2, now);
    let asked = ["a", "b", "a", "b"].map(|name| places.ask(tenant(name), true, now));
    assert_eq!([asked[0], asked[1]], [Asked::Granted; 2]);
    let third = places.ask(tenant("c"), true, now);
    assert!(matches!(third, Asked::WaitsInsteadOf(..)), "{third:?}");
    let again = ["a", "b", "c"].map(|name| places.ask(tenant(name), true, now));
    assert_eq!(again, [Asked::QueueFull; 3]);
}

#[test]
fn of_three_places_two_tenants_use_all() {
    let now = Instant::now();
    let mut places = Places::new(3, now);
    let both = ["a", "b", "a", "b"].map(|name| granted(&mut places, name, 1, now));
    assert_eq!(both, [1, 1, 1, 0]);
}

#[test]
fn nobodys_calls_take_nothing_from_who_is_alone() {
    let now = Instant::now();
    let mut places = Places::new(20, now);
    places.ask(Tenant::NOBODY, false, now);
    assert_eq!(granted(&mut places, "one", 60, now), 19);
    places.leave(Tenant::NOBODY, Load::Unknown, now, now);
    assert_eq!(granted(&mut places, "one", 1, now), 1);
    let mut places = Places::new(20, now);
    let asked = (0..20).map(|_| places.ask(Tenant::NOBODY, false, now));
    let granted = asked.filter(|asked| *asked == Asked::Granted).count();
    assert_eq!(granted, 10);
}

proptest! {
    /// Whatever comes in whatever order: no more run than may, nobody holds more than half where
    /// another one calls, and who may run does not wait.
    #[test]
    fn nobody_holds_more_than_half_beside_another(
        ceiling in 1u32..12, steps in prop::collection::vec((0u8..3, 0u8..4, 0u64..30_000), 1..200),
    ) {
        let mut now = Instant::now();
        let mut places = Places::new(ceiling, now);
        let mut run: Vec<(Tenant, Instant)> = Vec::new();
        let mut wait: Vec<(Ticket, Tenant)> = Vec::new();
        let mut last: HashMap<Tenant, Instant> = HashMap::new();
        for (name, step, pause) in steps {
            now += Duration::from_millis(pause / 10);
            let tenant = Tenant::of(&name.to_string());
            match step {
                0 if !run.is_empty() => {
                    let (tenant, began) = run.remove(usize::from(name) % run.len());
                    places.leave(tenant, Load::Carried, began, now);
                }
                1 if !wait.is_empty() => {
                    let (ticket, _) = wait.remove(usize::from(name) % wait.len());
                    prop_assert!(places.give_up(ticket));
                }
                _ => {
                    last.insert(tenant, now);
                    match places.ask(tenant, true, now) {
                        Asked::Granted => run.push((tenant, now)),
                        Asked::Waits(ticket) => wait.push((ticket, tenant)),
                        Asked::WaitsInsteadOf(ticket, displaced) => {
                            let at = wait.iter().position(|(known, _)| *known == displaced);
                            wait.remove(at.unwrap());
                            wait.push((ticket, tenant));
                        }
                        Asked::QueueFull => {}
                    }
                }
            }
            let several = last.values().filter(|at| now.duration_since(**at) < LATELY).count() > 1;
            let held = |run: &[(Tenant, Instant)], tenant| {
                run.iter().filter(|(known, _)| *known == tenant).count() as u32
            };
            while let Some(ticket) = places.next(now) {
                let at = wait.iter().position(|(known, _)| *known == ticket).unwrap();
                let (_, tenant) = wait.remove(at);
                let most = if several { ceiling.div_ceil(2) } else { ceiling };
                prop_assert!(held(&run, tenant) < most);
                run.push((tenant, now));
            }
            prop_assert_eq!(places.in_use() as usize, run.len());
            prop_assert!(run.len() <= ceiling as usize && wait.len() <= ceiling as usize);
            let most = if several { ceiling.div_ceil(2) } else { ceiling };
            for (_, tenant) in &wait {
                prop_assert!(run.len() == ceiling as usize || held(&run, *tenant) >= most);
            }
        }
    }
}
