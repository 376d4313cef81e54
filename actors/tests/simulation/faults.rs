//! What breaks in a run, and when it is whole again.

use beamline_domain::record;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::policies;
use crate::world::{Policy, TENANTS, TROUBLE, chance, ids, moment, pick, text};

#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Calls of these subjects end like this.
    Calls {
        subjects: Vec<String>,
        end: End,
    },
    BusAway,
    StoreAway,
    Sessions(Sessions),
    /// The record is another one for some time. The router hears of it by a hint or by its next
    /// poll.
    Record {
        changed: Value,
        original: Value,
        told: bool,
    },
    /// The tenant gets another policy, for good.
    Policy {
        policy: Policy,
        told: bool,
    },
    Crash(Part),
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    Silent,
    Slow(Duration),
    Error {
        code: &'static str,
        retryable: bool,
    },
    AsksToWait {
        code: &'static str,
    },
    NoResponders,
    Malformed,
    Reject,
    /// The task that makes the call panics, mostly not.
    Panic,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Sessions {
    Away,
    Hang,
    CutOff,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Registry,
    Invokers,
    Door,
    Invoker(String),
}

impl Part {
    /// The root gives up after too many of these.
    fn counts_at_the_root(&self) -> bool {
        !matches!(self, Self::Invoker(_))
    }
}

/// The root bears so many within 30 s.
const CRASHES: usize = 3;

pub(crate) fn generated(rng: &mut Rng, records: &[Value]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut crashes = 0;
    for _ in 0..rng.usize(0..10) {
        let what = what(rng, records);
        if matches!(&what, What::Crash(part) if part.counts_at_the_root()) {
            crashes += 1;
            if crashes > CRASHES {
                continue;
            }
        }
        let from = moment(rng, TROUBLE);
        let until = (from + moment(rng, Duration::from_secs(15))).min(TROUBLE);
        faults.push(Fault { from, until, what });
    }
    faults
}

fn what(rng: &mut Rng, records: &[Value]) -> What {
    let used: Vec<&Value> = records.iter().skip(1).collect();
    let record = pick(rng, &used);
    match rng.u32(0..22) {
        0 | 1 => What::BusAway,
        2 => What::StoreAway,
        3 | 20 | 21 => What::Sessions(pick(
            rng,
            &[Sessions::Away, Sessions::Hang, Sessions::CutOff],
        )),
        4 => What::Record {
            changed: changed(rng, record),
            original: record.clone(),
            told: chance(rng, 50),
        },
        5 => {
            let tenant = pick(rng, &TENANTS);
            What::Policy {
                policy: policies::generated(rng, records, tenant),
                told: chance(rng, 50),
            }
        }
        6 | 7 => {
            let invoker = Part::Invoker(text(record, "id").to_owned());
            What::Crash(pick(
                rng,
                &[Part::Registry, Part::Invokers, Part::Door, invoker],
            ))
        }
        _ => calls(rng, records),
    }
}

/// Providers break more often than others, so that there is something to fall back from.
fn calls(rng: &mut Rng, records: &[Value]) -> What {
    let used: Vec<String> = records
        .iter()
        .skip(1)
        .map(|record| text(record, "id").to_owned())
        .collect();
    let id = if chance(rng, 40) {
        pick(rng, &ids(records, "provider"))
    } else {
        pick(rng, &used)
    };
    let record = records.iter().find(|record| record["id"] == *id).unwrap();
    let extension = record::parse(&record.to_string(), "beamline").unwrap();
    let mut subjects = extension.subjects("beamline");
    if chance(rng, 30) {
        subjects = vec![pick(rng, &subjects)];
    }
    let timeout = Duration::from_millis(extension.timeout_ms);
    let end = match rng.u32(0..10) {
        0 | 1 => End::Silent,
        2 => End::Slow(timeout.mul_f64(0.5 + rng.f64())),
        3 | 4 => End::Error {
            code: pick(rng, &["500", "503", "429", "400", "boom"]),
            retryable: chance(rng, 50),
        },
        5 => End::AsksToWait {
            code: pick(rng, &["503", "429"]),
        },
        6 => End::NoResponders,
        7 => End::Malformed,
        8 => End::Reject,
        _ => End::Panic,
    };
    What::Calls { subjects, end }
}

fn changed(rng: &mut Rng, record: &Value) -> Value {
    let mut changed = record.clone();
    if chance(rng, 50) {
        changed["enabled"] = json!(false);
    } else {
        changed["timeout_ms"] = json!(pick(rng, &[60, 500, 3_000]));
        changed["retry"] = json!(rng.u32(0..=2));
    }
    changed
}
