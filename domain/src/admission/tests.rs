use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::request::{RequestHeaders, RequestLimits};

fn admission(max_in_flight: usize) -> Admission<u32> {
    Admission::new(AdmissionSettings {
        max_in_flight,
        adaptive: false,
        max_bytes: 1_000,
        tenant_rate: None,
        tenant_in_flight: None,
    })
}

fn claim(tenant: &str) -> Claim {
    Claim {
        tenant: tenant.into(),
        priority: Priority::Interactive,
        bytes: 1,
        left: Duration::from_secs(30),
    }
}

fn batch(tenant: &str) -> Claim {
    Claim {
        priority: Priority::Batch,
        ..claim(tenant)
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The place of one that must start at once.
fn start(admission: &mut Admission<u32>, tenant: &str, now: Instant) -> AdmissionPlace {
    let Arrived::Started(place, _) = admission.arrive(claim(tenant), 0, now) else {
        panic!("it must start")
    };
    place
}

/// Queues one and says whom it displaced.
fn queue(admission: &mut Admission<u32>, tenant: &str, item: u32, now: Instant) -> Option<u32> {
    let Arrived::Queued { displaced, .. } = admission.arrive(claim(tenant), item, now) else {
        panic!("it must wait")
    };
    displaced.map(|shed| shed.item)
}

/// Everything to do now: who starts, and who is turned away.
fn settle(admission: &mut Admission<u32>, now: Instant) -> (Vec<(u32, AdmissionPlace)>, Vec<u32>) {
    let mut started = Vec::new();
    let mut shed = Vec::new();
    loop {
        match admission.poll(now) {
            Polled::Start(place, item) => started.push((item, place)),
            Polled::Shed(Shed { item, reason, .. }) => {
                assert_eq!(reason, ShedReason::Waited);
                shed.push(item);
            }
            Polled::Wait(_) => return (started, shed),
        }
    }
}

/// Who gets the place.
fn next(
    admission: &mut Admission<u32>,
    place: AdmissionPlace,
    now: Instant,
) -> (u32, AdmissionPlace) {
    assert!(admission.leave(place));
    settle(admission, now).0.pop().expect("somebody starts")
}

#[test]
fn beyond_the_limit_as_many_wait_and_no_more() {
    let mut door = admission(2);
    let now = Instant::now();
    let _held = [start(&mut door, "a", now), start(&mut door, "a", now)];
    assert_eq!(
        [queue(&mut door, "a", 1, now), queue(&mut door, "a", 2, now)],
        [None, None]
    );
    let refused = door.arrive(claim("a"), 3, now);
    let expected = Shed {
        item: 3,
        reason: ShedReason::QueueFull,
        priority: Priority::Interactive,
    };
    assert_eq!(refused, Arrived::Shed(expected));
    assert_eq!(
        door.usage(),
        Usage {
            limit: 2,
            ceiling: 2,
            in_flight: 2,
            queued: 2,
            bytes: 4
        }
    );
    assert_eq!(
        queue(&mut door, "a", 4, now + ms(6)),
        Some(1),
        "who has waited gives way to who has just come"
    );
}

#[test]
fn nobody_waits_longer_than_a_tenth_of_a_second_or_of_its_time() {
    let mut door = admission(2);
    let now = Instant::now();
    let _held = [start(&mut door, "a", now), start(&mut door, "a", now)];
    queue(&mut door, "a", 1, now);
    let hurried = Claim {
        left: ms(200),
        ..claim("a")
    };
    assert!(
        matches!(
            door.arrive(hurried, 2, now),
            Arrived::Queued { wake: true, .. }
        ),
        "it is due before the other"
    );
    assert_eq!(door.poll(now), Polled::Wait(Some(now + ms(20))));
    assert_eq!(settle(&mut door, now + ms(20)).1, [2]);
    assert_eq!(door.poll(now + ms(99)), Polled::Wait(Some(now + ms(100))));
    assert_eq!(settle(&mut door, now + ms(100)).1, [1]);
    assert_eq!((door.usage().queued, door.usage().bytes), (0, 2));
    assert!(matches!(
        door.arrive(claim("a"), 3, now + ms(200)),
        Arrived::Queued { wake: true, .. }
    ));
}

#[test]
fn a_short_burst_is_served_in_its_order() {
    let mut door = admission(3);
    let now = Instant::now();
    let mut place = start(&mut door, "a", now);
    let _others = [start(&mut door, "a", now), start(&mut door, "a", now)];
    (1..=3).for_each(|item| assert_eq!(queue(&mut door, "a", item, now), None));
    for expected in 1..=3 {
        let (item, next_place) = next(&mut door, place, now + ms(u64::from(expected) * 20));
        assert_eq!(item, expected);
        place = next_place;
    }
}

#[test]
fn a_queue_that_stands_is_served_from_its_new_end_and_lets_its_old_end_go() {
    let mut door = admission(4);
    let begin = Instant::now();
    let mut places: Vec<AdmissionPlace> = (0..4).map(|_| start(&mut door, "a", begin)).collect();
    let mut now = begin;
    let mut last = (0, 0);
    // One comes every 2 ms and a place comes free every 10 ms, for longer than an interval.
    for item in 1..=80_u32 {
        now += ms(2);
        door.arrive(claim("a"), item, now);
        if item.is_multiple_of(5) {
            assert!(door.leave(places.remove(0)));
            let (mut started, _) = settle(&mut door, now);
            let (started, place) = started.pop().expect("somebody starts");
            last = (started, item);
            places.push(place);
        }
    }
    assert_eq!(last, (80, 80), "the newest starts");
    assert_eq!(settle(&mut door, now + ms(12)).0, []);
    assert_eq!(door.usage().queued, 0, "those before it were let go");
}

#[test]
fn tenants_take_turns() {
    let mut door = admission(4);
    let now = Instant::now();
    let mut place = start(&mut door, "x", now);
    let _others = [
        start(&mut door, "x", now),
        start(&mut door, "y", now),
        start(&mut door, "y", now),
    ];
    for (tenant, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 10)] {
        queue(&mut door, tenant, item, now);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let (item, next_place) = next(&mut door, place, now);
        order.push(item);
        place = next_place;
    }
    assert_eq!(order, [1, 10, 2]);
}

#[test]
fn one_tenant_holds_at_most_half_while_others_wait() {
    let mut door = admission(4);
    let now = Instant::now();
    let mut held: Vec<AdmissionPlace> = (0..4).map(|_| start(&mut door, "flood", now)).collect();
    queue(&mut door, "flood", 1, now);
    queue(&mut door, "flood", 2, now);
    queue(&mut door, "small", 10, now);
    queue(&mut door, "small", 11, now);
    let mut order = Vec::new();
    let mut others = Vec::new();
    for _ in 0..2 {
        let (item, place) = next(&mut door, held.pop().expect("a place"), now);
        order.push(item);
        others.push(place);
    }
    assert_eq!(
        order,
        [10, 11],
        "it had all of them, so it waits until it has half"
    );
    let (item, _) = next(&mut door, held.pop().expect("a place"), now);
    assert_eq!(item, 1, "alone again, it may have what is free");
}

#[test]
fn places_are_kept_for_another_tenant_that_calls() {
    let mut door = admission(50);
    let now = Instant::now();
    let place = start(&mut door, "small", now);
    door.leave(place);
    // 60 slow requests: half of the places, the others wait for a tenth of a second.
    let mut held: Vec<AdmissionPlace> = (0..25).map(|_| start(&mut door, "flood", now)).collect();
    (25..60).for_each(|item| assert_eq!(queue(&mut door, "flood", item, now), None));
    assert_eq!(settle(&mut door, now).0, []);
    for tenant in ["small", "third"] {
        let place = start(&mut door, tenant, now + ms(50));
        assert!(door.leave(place), "past those who wait");
        assert_eq!(settle(&mut door, now + ms(50)).0, []);
    }
    let (item, place) = next(&mut door, held.remove(0), now + ms(60));
    assert_eq!(item, 25, "one of its own went");
    held.push(place);
    let (started, shed) = settle(&mut door, now + ms(101));
    assert_eq!((started, shed.len()), (vec![], 34));
    let later = now + Duration::from_secs(62);
    held.extend((0..25).map(|_| start(&mut door, "flood", later)));
    assert_eq!(held.len(), 50, "a minute later it is alone and has all");
    assert_eq!(queue(&mut door, "flood", 1, later), None);
    assert_eq!(queue(&mut door, "small", 2, later), None);
    let (item, _) = next(&mut door, held.remove(0), later);
    assert_eq!(item, 2, "it gives way as its requests end");
}

#[test]
fn who_has_no_name_makes_nobody_one_of_several() {
    let mut door = admission(10);
    let now = Instant::now();
    let nameless: Vec<_> = (0..5).map(|_| start(&mut door, "", now)).collect();
    assert_eq!(queue(&mut door, "", 1, now), None, "it has half");
    nameless.into_iter().for_each(|place| {
        door.leave(place);
    });
    assert_eq!(settle(&mut door, now).0.len(), 1);
    let all: Vec<_> = (0..9).map(|_| start(&mut door, "alone", now)).collect();
    assert_eq!(all.len(), 9);
}

#[test]
fn a_newcomer_takes_the_queue_place_of_who_has_most() {
    let mut door = admission(3);
    let now = Instant::now();
    let _held: Vec<AdmissionPlace> = (0..3).map(|_| start(&mut door, "flood", now)).collect();
    (1..=3).for_each(|item| assert_eq!(queue(&mut door, "flood", item, now), None));
    assert_eq!(
        queue(&mut door, "small", 10, now),
        Some(1),
        "the oldest of the flood"
    );
    assert!(
        matches!(door.arrive(claim("flood"), 4, now), Arrived::Shed(_)),
        "the flood displaces nobody"
    );
}

#[test]
fn batch_work_leaves_the_last_places_free() {
    let mut door = admission(10);
    let now = Instant::now();
    let places: Vec<_> = (0..8)
        .map(|item| door.arrive(batch("a"), item, now))
        .collect();
    assert_eq!(
        places
            .iter()
            .filter(|arrived| matches!(arrived, Arrived::Started(..)))
            .count(),
        7
    );
    let refused = Shed {
        item: 7,
        reason: ShedReason::Batch,
        priority: Priority::Batch,
    };
    assert_eq!(places.last(), Some(&Arrived::Shed(refused)));
    start(&mut door, "a", now);
}

#[test]
fn bytes_count_in_flight_and_waiting_and_come_back() {
    let mut door = admission(1);
    let now = Instant::now();
    let sized = |bytes| Claim {
        bytes,
        ..claim("a")
    };
    let Arrived::Started(place, _) = door.arrive(sized(600), 1, now) else {
        panic!("it starts")
    };
    assert!(matches!(
        door.arrive(sized(400), 2, now),
        Arrived::Queued { .. }
    ));
    let refused = Shed {
        item: 3,
        reason: ShedReason::Bytes,
        priority: Priority::Interactive,
    };
    assert_eq!(door.arrive(sized(1), 3, now), Arrived::Shed(refused));
    let (item, place) = next(&mut door, place, now);
    assert_eq!((item, door.usage().bytes), (2, 400));
    assert!(!door.leave(place));
    assert_eq!(door.usage().bytes, 0);
    assert!(
        door.tenants.is_empty(),
        "nothing is kept of a tenant that has nothing here"
    );
}

#[test]
fn a_tenant_sends_at_its_rate_with_a_burst_and_is_told_when_to_come_back() {
    let rate = |n| NonZeroU32::new(n).expect("not zero");
    let rate = Rate {
        per_second: rate(10),
        burst: rate(2),
    };
    let settings = AdmissionSettings {
        max_in_flight: 100,
        adaptive: false,
        max_bytes: 1_000,
        tenant_rate: Some(rate),
        tenant_in_flight: None,
    };
    let mut door = Admission::new(settings);
    let now = Instant::now();
    let mut reason = |tenant: &str, at: Instant| match door.arrive(claim(tenant), 0, at) {
        Arrived::Shed(shed) => Some(shed.reason),
        Arrived::Started(..) | Arrived::Queued { .. } => None,
    };
    assert_eq!([reason("a", now), reason("a", now)], [None, None]);
    assert_eq!(reason("a", now + ms(40)), Some(ShedReason::Rate(ms(60))));
    assert_eq!(
        reason("b", now + ms(40)),
        None,
        "the other tenant has its own"
    );
    assert_eq!(reason("a", now + ms(100)), None);
    assert_eq!(reason("a", now + ms(100)), Some(ShedReason::Rate(ms(100))));
}

#[test]
fn under_pressure_half_of_what_is_in_use_is_enough() {
    let settings = AdmissionSettings {
        adaptive: true,
        ..AdmissionSettings::limited_to(1_000)
    };
    let mut door = Admission::new(settings);
    let now = Instant::now();
    let _held: Vec<AdmissionPlace> = (0..40).map(|_| start(&mut door, "a", now)).collect();
    assert!(!door.press(Pressure::Severe, 10, now));
    // Ten wait for somebody else, fifteen of the others are half of them; then the whole is halved.
    assert_eq!((door.usage().limit, door.usage().ceiling), (13, 1_000));
    assert!(matches!(
        door.arrive(batch("a"), 1, now),
        Arrived::Shed(Shed {
            reason: ShedReason::Pressure,
            ..
        })
    ));
    (0..13).for_each(|item| assert_eq!(queue(&mut door, "a", item, now), None));
    assert!(matches!(
        door.arrive(claim("a"), 1, now),
        Arrived::Shed(Shed {
            reason: ShedReason::QueueFull,
            ..
        })
    ));
    door.press(Pressure::Critical, 10, now);
    assert!(matches!(
        door.arrive(claim("a"), 1, now),
        Arrived::Shed(Shed {
            reason: ShedReason::Pressure,
            ..
        })
    ));
    assert!(
        !door.press(Pressure::None, 10, now),
        "none may start: the limit is learnt anew"
    );
    assert_eq!(door.usage().limit, 25);
}

#[test]
fn a_drained_queue_has_nothing_left() {
    let mut door = admission(2);
    let now = Instant::now();
    let held = [start(&mut door, "a", now), start(&mut door, "b", now)];
    queue(&mut door, "a", 1, now);
    queue(&mut door, "b", 2, now);
    assert_eq!(door.drain(), [1, 2]);
    held.into_iter()
        .for_each(|place| assert!(!door.leave(place)));
    assert_eq!(
        door.usage(),
        Usage {
            limit: 2,
            ceiling: 2,
            in_flight: 0,
            queued: 0,
            bytes: 0
        }
    );
}

#[test]
fn a_claim_is_read_from_the_headers_first_and_else_from_the_body() {
    let limits = RequestLimits {
        default_timeout: ms(30_000),
        max_timeout: ms(60_000),
        allowed_tenants: None,
    };
    let read = |headers: &RequestHeaders, body: &str| {
        let claim = Claim::read(headers, body.as_bytes(), &limits);
        (claim.tenant.to_string(), claim.priority, claim.left)
    };
    let body = r#"{"tenant_id": "b\u0061", "timeout_ms": 90000, "message": {"payload": [1]}, "context": {"priority": "batch"}}"#;
    let none = RequestHeaders::default();
    assert_eq!(
        read(&none, body),
        ("ba".to_owned(), Priority::Batch, ms(60_000))
    );
    let some = |text: &str| Some(text.to_owned());
    let headers = RequestHeaders {
        tenant_id: some("h"),
        priority: some("interactive"),
        timeout_ms: some("5"),
        ..RequestHeaders::default()
    };
    assert_eq!(
        read(&headers, body),
        ("h".to_owned(), Priority::Interactive, ms(5))
    );
    let nothing = (String::new(), Priority::Interactive, ms(30_000));
    for odd in [
        "",
        "no JSON",
        "[]",
        r#"{"tenant_id": 5, "timeout_ms": "x", "context": [1]}"#,
    ] {
        assert_eq!(read(&none, odd), nothing, "{odd}");
    }
    let odd_priority = r#"{"tenant_id": "b", "context": {"priority": 3}}"#;
    assert_eq!(read(&none, odd_priority).0, "b");
}

#[derive(Debug, Clone)]
enum Event {
    Arrive {
        tenant: u8,
        batch: bool,
        bytes: usize,
        left_ms: u64,
    },
    Leave(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3_u8, any::<bool>(), 0..200_usize, 1..2_000_u64)
            .prop_map(|(tenant, batch, bytes, left_ms)| Event::Arrive { tenant, batch, bytes, left_ms }),
        2 => any::<usize>().prop_map(Event::Leave),
        2 => (0..60_u64).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever comes in whatever order: everybody is started or turned away once, limits hold,
    /// nobody waits for long, no place stays empty while somebody waits, and at the end nothing is
    /// in use.
    #[test]
    fn everybody_gets_in_or_is_turned_away_once(limit in 1..6_usize, events in prop::collection::vec(event(), 1..200)) {
        let mut door = Admission::new(AdmissionSettings { max_in_flight: limit, adaptive: false, max_bytes: 1_000, tenant_rate: None, tenant_in_flight: None });
        let mut now = Instant::now();
        let mut held = Vec::new();
        let mut arrived = 0_u32;
        let mut started = 0_u32;
        let mut shed = 0_u32;
        let mut waiting: std::collections::HashMap<u32, Instant> = std::collections::HashMap::new();
        let finish = events.len();
        let closing = std::iter::repeat_n(Event::Pass(100), 2).chain(std::iter::repeat_n(Event::Leave(0), finish));
        for event in events.into_iter().chain(closing) {
            match event {
                Event::Arrive { tenant, batch, bytes, left_ms } => {
                    arrived += 1;
                    let priority = if batch { Priority::Batch } else { Priority::Interactive };
                    let claim = Claim { tenant: format!("t{tenant}").as_str().into(), priority, bytes, left: ms(left_ms) };
                    let longest = longest_wait(claim.left);
                    match door.arrive(claim, arrived, now) {
                        Arrived::Started(place, _) => { started += 1; held.push(place) }
                        Arrived::Queued { displaced, .. } => {
                            waiting.insert(arrived, now + longest);
                            if let Some(displaced) = displaced {
                                prop_assert!(waiting.remove(&displaced.item).is_some());
                                shed += 1;
                            }
                        }
                        Arrived::Shed(_) => shed += 1,
                    }
                }
                Event::Leave(which) if !held.is_empty() => {
                    let place = held.swap_remove(which % held.len());
                    door.leave(place);
                }
                Event::Leave(_) => {}
                Event::Pass(milliseconds) => now += ms(milliseconds),
            }
            let (starts, sheds) = settle(&mut door, now);
            for (item, place) in starts {
                prop_assert!(waiting.remove(&item).is_some());
                started += 1;
                held.push(place);
            }
            for item in sheds {
                prop_assert!(waiting.remove(&item).is_some());
                shed += 1;
            }
            let usage = door.usage();
            prop_assert!(usage.in_flight == held.len() && usage.in_flight <= limit);
            prop_assert!(usage.queued == waiting.len() && usage.queued <= limit && usage.bytes <= 1_000);
            // Whoever waits beside a free place holds half of them.
            let has_half = |tenant: &Tenant<u32>| tenant.held >= limit.div_ceil(2);
            let mut waits = door.turns.iter().filter_map(|tenant| door.tenants.get(tenant));
            prop_assert!(usage.in_flight == limit || waits.all(has_half));
            prop_assert!(waiting.values().all(|until| now < *until + SWEEP_EVERY));
        }
        prop_assert_eq!(started + shed, arrived);
        prop_assert_eq!(door.usage(), Usage { limit, ceiling: limit, in_flight: 0, queued: 0, bytes: 0 });
        prop_assert!(door.tenants.is_empty() && door.turns.is_empty());
    }
}

#[test]
fn a_tenant_has_no_more_in_flight_and_waiting_than_its_quota() {
    let now = Instant::now();
    let mut door: Admission<u32> = Admission::new(AdmissionSettings {
        tenant_in_flight: Some(3),
        ..AdmissionSettings::limited_to(2)
    });
    let reason = |arrived| match arrived {
        Arrived::Shed(shed) => Some(shed.reason),
        Arrived::Started(..) | Arrived::Queued { .. } => None,
    };
    let arrive = |door: &mut Admission<u32>, tenant| reason(door.arrive(claim(tenant), 0, now));
    let flood: Vec<_> = (0..5).map(|_| arrive(&mut door, "flood")).collect();
    let full = Some(ShedReason::TenantFull);
    assert_eq!(flood, [None, None, None, full, full]);
    assert_eq!(arrive(&mut door, "other"), None);
}

#[test]
fn what_stages_make_of_a_message_is_counted_until_it_leaves() {
    let now = Instant::now();
    let mut door: Admission<u32> = Admission::new(AdmissionSettings {
        max_bytes: 1_000,
        ..AdmissionSettings::limited_to(9)
    });
    let small = |bytes| Claim {
        bytes,
        ..claim("a")
    };
    let Arrived::Started(mut place, _) = door.arrive(small(100), 0, now) else {
        panic!("there is room")
    };
    door.holds(&mut place, 950);
    assert!(matches!(
        door.arrive(small(100), 0, now),
        Arrived::Shed(shed) if shed.reason == ShedReason::Bytes
    ));
    door.holds(&mut place, 200);
    assert_eq!(door.usage().bytes, 200);
    door.leave(place);
    assert_eq!(door.usage().bytes, 0);
}
