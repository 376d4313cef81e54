//! One tenant's prompts are answered 500 while others call: what those are refused. The figures are
//! those of decision 25; `--nocapture` prints them.

use super::*;

/// The time of the play in milliseconds.
const LASTS: u64 = 180_000;

struct Play {
    kind: Kind,
    /// Prompts of the attacker every two seconds, or one after the other.
    prompts: u64,
    /// Of the others, a second.
    calls: u64,
    /// One in so many of the others' calls fails by chance, and one in so many is slow.
    unlucky: u64,
    slow: u64,
    /// The target answers nobody until then.
    out_of_order_until: u64,
}

/// When a call ends, and how.
type UnderWay = (u64, Permit, Outcome, Duration);

/// Nobody fails by chance.
const NEVER: u64 = u64::MAX;
const ANSWER: u64 = 200;
const OTHERS: u64 = 4;

impl Play {
    /// Refused calls of the others and all of them, once the target is in order.
    fn refused(&self) -> (u64, u64) {
        let mut bench = Bench::with(self.kind, &[]);
        let start = bench.now;
        let mut out: Vec<UnderWay> = Vec::new();
        let mut made = 0_u64;
        let mut calls = 0;
        let mut refused = 0;
        for ms in 0..LASTS {
            bench.now = start + Duration::from_millis(ms);
            for (_, permit, outcome, took) in out.extract_if(.., |call| call.0 <= ms) {
                bench.took(permit, outcome, took);
            }
            let is_out = ms < self.out_of_order_until;
            let attacks = if ms % 2_000 == 0 { self.prompts } else { 0 };
            for _ in 0..attacks {
                if let Ok(permit) = bench.permit_of(tenants::tenant("attacker")) {
                    let took = Duration::from_millis(ANSWER);
                    out.push((ms + ANSWER, permit, Outcome::Failure, took));
                }
            }
            if ms % (1_000 / self.calls) != 7 {
                continue;
            }
            made += 1;
            let name = format!("other{}", made % OTHERS);
            let permit = bench.permit_of(tenants::tenant(&name));
            if !is_out {
                calls += 1;
                refused += u64::from(permit.is_err());
            }
            let Ok(permit) = permit else { continue };
            let failed = is_out || made % self.unlucky == self.unlucky / 2;
            let slow = made % self.slow == self.slow / 2;
            let took = if slow { 900 } else { ANSWER };
            let outcome = if failed {
                Outcome::Failure
            } else {
                Outcome::Success
            };
            out.push((ms + took, permit, outcome, Duration::from_millis(took)));
        }
        (refused, calls)
    }
}

#[test]
fn eight_prompts_that_are_answered_500_cost_others_next_to_nothing() {
    let base = Play {
        kind: Kind::Provider,
        prompts: 8,
        calls: 5,
        unlucky: NEVER,
        slow: NEVER,
        out_of_order_until: 0,
    };
    println!("| the others | refused of them |");
    for (name, play, most) in [
        ("have no failures", Play { ..base }, 0.0),
        (
            "fail once in 100",
            Play {
                unlucky: 100,
                ..base
            },
            0.0,
        ),
        (
            "fail once in 20",
            Play {
                unlucky: 20,
                ..base
            },
            0.0,
        ),
        (
            "once in 20, one call a second",
            Play {
                unlucky: 20,
                calls: 1,
                ..base
            },
            0.0,
        ),
        (
            "are slow once in 20, a guard",
            Play {
                kind: Kind::Validator,
                slow: 20,
                ..base
            },
            0.0,
        ),
        (
            "after 10 s out of order",
            Play {
                out_of_order_until: 10_000,
                ..base
            },
            0.1,
        ),
        (
            "after 10 s, 100 prompts",
            Play {
                out_of_order_until: 10_000,
                prompts: 100,
                ..base
            },
            0.1,
        ),
    ] {
        let (refused, calls) = play.refused();
        println!("| {name} | {refused} of {calls} |");
        assert!(
            refused as f64 <= calls as f64 * most,
            "{name}: {refused} of {calls}"
        );
    }
}
