//! The scenes that are played, and what must come of them.

use super::*;

const SEED: u64 = 22;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Timeouts of a guardrail, of a service and of a model.
const TIMEOUTS: [u64; 3] = [100, 2_000, 20_000];
const IN_FLIGHT: [u32; 4] = [1, 10, 50, 200];

fn stalls() -> impl Iterator<Item = Scene> {
    let all = [100, 20_000].into_iter().flat_map(|timeout| {
        IN_FLIGHT.into_iter().flat_map(move |in_flight| {
            [0.1, 0.3, 0.6].into_iter().flat_map(move |part| {
                [1.0, 1.5, 2.0, 3.0].into_iter().flat_map(move |stall| {
                    [0.0, 0.3].into_iter().flat_map(move |backlog| {
                        [false, true].into_iter().flat_map(move |open_loop| {
                            [0, 20].into_iter().map(move |before| {
                                (timeout, in_flight, part, stall, backlog, open_loop, before)
                            })
                        })
                    })
                })
            })
        })
    });
    all.map(
        |(timeout, in_flight, part, stall, backlog, open_loop, before)| {
            let timeout = ms(timeout);
            let latency = timeout.mul_f64(part);
            let rate = f64::from(in_flight) / latency.as_secs_f64();
            Scene {
                kind: Kind::Pre,
                timeout,
                limit: timeout,
                latency,
                load: if open_loop {
                    Load::PerSecond(rate)
                } else {
                    Load::InFlight(in_flight)
                },
                fault: Fault::Stall { backlog },
                begins: latency * before,
                lasts: timeout.mul_f64(stall),
                tenants: 1,
            }
        },
    )
}

#[test]
fn a_pause_of_up_to_three_timeouts_opens_nothing() {
    let mut by_length = std::collections::BTreeMap::<_, (u32, u32, u32)>::new();
    let mut opened = Vec::new();
    for scene in stalls() {
        let seen = scene.play(SEED);
        let timeouts = scene.lasts.as_secs_f64() / scene.timeout.as_secs_f64();
        let row = by_length.entry(format!("{timeouts:.1}")).or_default();
        row.0 += 1;
        row.1 += u32::from(seen.each_by_itself.is_some());
        if seen.opened_after.is_some() {
            row.2 += 1;
            opened.push((scene, seen));
        }
    }
    println!("| pause, in timeouts | scenes | opened, each failure by itself | opened |");
    for (timeouts, (scenes, each, now)) in by_length {
        println!("| {timeouts} | {scenes} | {each} | {now} |");
    }
    assert!(
        opened.is_empty(),
        "{} of them, {:#?}",
        opened.len(),
        opened.first()
    );
}

#[test]
fn callers_in_a_hurry_make_no_more_of_a_pause() {
    for scene in stalls().filter(|scene| scene.latency < scene.timeout / 4) {
        for part in [0.2, 0.5, 0.9] {
            let limit = scene.timeout.mul_f64(part);
            // What is expired is dropped: nobody waits for it.
            let fault = Fault::Stall { backlog: 0.0 };
            let seen = Scene {
                limit,
                fault,
                ..scene
            }
            .play(SEED);
            assert_eq!(seen.opened_after, None, "{scene:?} with {limit:?}");
        }
    }
}

const RATES: [f64; 7] = [0.2, 0.5, 1.0, 10.0, 50.0, 200.0, 1_000.0];

fn dead(timeout: u64, rate: f64, fault: Fault) -> Scene {
    Scene {
        kind: Kind::Pre,
        timeout: ms(timeout),
        limit: ms(timeout),
        latency: ms(timeout / 20),
        load: Load::PerSecond(rate),
        fault,
        begins: Duration::from_secs_f64(3.0 / rate).max(ms(timeout)),
        lasts: Duration::from_secs(3_600),
        tenants: 1,
    }
}

#[test]
fn what_answers_nothing_is_noticed_within_five_timeouts_or_five_calls() {
    println!("| timeout | calls/s | opened after | calls that failed | each by itself |");
    for timeout in TIMEOUTS {
        for rate in RATES {
            let seen = dead(timeout, rate, Fault::Silent).play(SEED);
            let after = seen.opened_after.expect("noticed");
            let each = seen.each_by_itself.expect("noticed");
            println!(
                "| {timeout} ms | {rate} | {:.2} s | {} | {:.2} s |",
                after.as_secs_f64(),
                seen.failed,
                each.as_secs_f64()
            );
            let gap = Duration::from_secs_f64(1.0 / rate);
            let most = (ms(timeout) + gap) * 5;
            assert!(after <= most, "{after:?} at {rate}/s, {most:?} at most");
        }
    }
}

#[test]
fn what_fails_at_once_is_noticed_after_five_calls() {
    println!("| calls/s | opened after | calls that failed |");
    for rate in RATES {
        let seen = dead(100, rate, Fault::Failing).play(SEED);
        let after = seen.opened_after.expect("noticed");
        println!(
            "| {rate} | {:.3} s | {} |",
            after.as_secs_f64(),
            seen.failed
        );
        assert!(seen.failed <= 10, "{} calls at {rate}/s", seen.failed);
        assert!(after <= Duration::from_secs_f64(5.0 / rate) + ms(20));
    }
}

#[test]
fn partial_failures_open_it_by_their_rate() {
    println!("| fails | how | calls/s | timeout | opened | after | calls that failed |");
    for percent in [10, 30, 45, 60, 80, 95] {
        for silent in [false, true] {
            for (timeout, rate) in [(100, 200.0), (2_000, 20.0), (20_000, 5.0)] {
                let mut opened = 0;
                let mut after = Duration::ZERO;
                let mut failed = 0;
                for seed in 0..10 {
                    let mut scene = dead(timeout, rate, Fault::Partly { percent, silent });
                    scene.lasts = Duration::from_secs(100);
                    scene.kind = Kind::Provider;
                    scene.latency = scene.timeout.mul_f64(0.3);
                    let seen = scene.play(seed);
                    opened += u32::from(seen.opened_after.is_some());
                    after = after.max(seen.opened_after.unwrap_or_default());
                    failed = failed.max(seen.failed);
                }
                let how = if silent { "silence" } else { "errors" };
                println!(
                    "| {percent} % | {how} | {rate} | {timeout} ms | {opened} of 10 | {:.1} s | {failed} |",
                    after.as_secs_f64()
                );
                if percent >= 60 {
                    assert_eq!(opened, 10, "{percent} % {how} at {rate}/s");
                }
                // Five in a row by chance, where one call goes at a time.
                if percent <= 30 {
                    assert!(opened <= 1, "{percent} % {how} at {rate}/s");
                }
            }
        }
    }
}

#[test]
fn what_one_tenant_meets_keeps_back_nobody_else() {
    println!(
        "| tenants | calls/s | opened for the one after | calls that failed | refused of others |"
    );
    for tenants in [2, 10, 100] {
        for rate in [2.0, 50.0, 1_000.0] {
            let mut scene = dead(100, rate, Fault::OneTenant);
            // Each has called in the time that is looked back on.
            scene.begins = Duration::from_secs(20);
            scene.lasts = Duration::from_secs(20);
            scene.tenants = tenants;
            let seen = scene.play(SEED);
            let after = seen.opened_after.map_or("-".to_owned(), |after| {
                format!("{:.2} s", after.as_secs_f64())
            });
            let Seen {
                failed,
                refused_others,
                ..
            } = seen;
            println!("| {tenants} | {rate} | {after} | {failed} | {refused_others} |");
            assert_eq!(refused_others, 0, "{tenants} tenants at {rate}/s");
            assert!(failed <= 10, "{failed} of {tenants} at {rate}/s");
        }
    }
}

#[test]
fn many_tenants_notice_what_is_dead_as_soon_as_one() {
    for fault in [Fault::Silent, Fault::Failing] {
        for rate in RATES {
            let one = dead(100, rate, fault).play(SEED);
            let mut scene = dead(100, rate, fault);
            scene.tenants = 50;
            let many = scene.play(SEED);
            assert_eq!(
                (one.opened_after, one.failed),
                (many.opened_after, many.failed),
                "{fault:?} at {rate}/s"
            );
        }
    }
}
