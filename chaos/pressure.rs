//! Too much load, too little machine, and a clock that lies (C33 to C38).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use beamline_test_support::Process;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::database::{close_spare, open_spare, put_policy};
use crate::hints::{Hint, Hints};
use crate::load::Sent;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::puppet::Behaviour;
use crate::scenario::{Scenario, scenarios};
use crate::setting::{Setting, TrafficSetting};
use crate::stage::Stage;
use crate::traffic::{BYSTANDER, Class};

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C33" "ten times the load, and clients that try again" overload;
    "C34" "one tenant floods" tenant_floods;
    "C37" "others take the processors" starved;
    "C38" "the wall clock leaps" clock_leaps;
};

const SECOND: Duration = Duration::from_secs(1);
/// What the provider takes, and how many the router takes at once: together they are the capacity.
const WORK: Duration = Duration::from_millis(100);
const PLACES: u32 = 8;

fn capacity() -> f64 {
    f64::from(PLACES) / WORK.as_secs_f64()
}

/// Few places before a slow provider.
async fn small_router(pace: Pace, classes: &'static [Class], rate: f64, retries: u32) -> Stage {
    let setting = Setting::default()
        .configured("router.max_in_flight", PLACES.to_string())
        .traffic(TrafficSetting {
            classes,
            rate: Some(rate),
            retries,
        });
    let stage = Stage::set(pace, setting).await;
    let flood = json!({"tenant_id": "globex", "policy_id": "bystander", "policy": {"providers": [{"name": "steady"}]}});
    let answer = stage.gateway.admin("put_policy", &flood).await;
    assert_eq!(answer["ok"], true, "{answer}");
    stage.cast.steady.does(Behaviour::Slow(WORK, WORK));
    stage
}

/// Answers that say `ok` in a time.
fn served(stage: &Stage, from: Instant, to: Instant) -> f64 {
    let within = |sent: &&Sent| {
        sent.served()
            && sent
                .answers
                .iter()
                .any(|answer| (from..to).contains(&answer.at))
    };
    let count = stage.load.sent().iter().filter(within).count();
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / (to - from).as_secs_f64()
}

/// What p99 of those who are served may become under too much load: they wait for a place no longer
/// than for the work, and the rest is for a machine that others use too. Where that one is slow
/// without load already, it is no measure.
fn twice(unloaded: Duration) -> Duration {
    unloaded.min(WORK * 3 / 2) * 2 + Duration::from_millis(100)
}

async fn overload(pace: Pace) -> Outcome {
    let calm = capacity() / 2.0;
    let mut stage = small_router(pace, &[BYSTANDER], calm, 3).await;
    stage.calm().await;
    let start = Instant::now();
    sleep(SECOND).await;
    // The peak: as much as it takes.
    stage.load.set_rate(capacity() * 1.2);
    let full = Instant::now();
    sleep(SECOND * 2).await;
    let broken = stage.breaks();
    stage.load.set_rate(capacity() * 10.0);
    sleep(if pace.is_quick() {
        pace.fault
    } else {
        SECOND * 60
    })
    .await;
    stage.load.set_rate(calm);
    let healed = stage.heals();
    stage.recovers(SECOND * 5).await;
    let peak = served(&stage, full, broken);
    let goodput = served(&stage, broken, healed);
    // Seconds on a machine that others use too show a collapse, and no more; the figures are for a
    // minute, and for `make load`.
    let (least, most) = if pace.is_quick() {
        (0.6, SECOND)
    } else {
        (0.9, Duration::ZERO)
    };
    stage.check("goodput", goodput >= peak * least, || {
        format!("{goodput:.0}/s of a peak of {peak:.0}/s")
    });
    let before = stage.load.p99(start, full, Sent::served);
    let during = stage.load.p99(broken, healed, Sent::served);
    stage.check("latency", during <= twice(before).max(most), || {
        format!("p99 of the accepted {during:?}, unloaded {before:?}")
    });
    stage.ends().await
}

const FLOOD: Class = Class {
    name: "flood",
    operation: "route",
    tenant: "globex",
    policy: "bystander",
};
/// One request of twenty is the quiet tenant's.
const FLOODED: &[Class] = &[
    BYSTANDER, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD,
    FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD, FLOOD,
];

async fn tenant_floods(pace: Pace) -> Outcome {
    // Well below half, which is what a tenant has beside another.
    let calm = capacity() / 4.0;
    let mut stage = small_router(pace, FLOODED, calm, 0).await;
    let start = Instant::now();
    stage.calm().await;
    let broken = stage.breaks();
    stage.load.set_rate(capacity() * 4.0);
    stage.lasts().await;
    stage.load.set_rate(calm);
    let healed = stage.heals();
    stage.recovers(SECOND).await;
    // The few requests of the quiet tenant alone would be too few to compare with.
    let before = stage.load.p99(start, broken, Sent::served);
    let during = stage.load.p99(broken, healed, |sent| {
        sent.class == &BYSTANDER && sent.served()
    });
    stage.check("latency", during <= twice(before), || {
        format!("p99 of the quiet tenant {during:?}, {before:?} before")
    });
    let (failed, all) = stage.load.since(broken, |sent| {
        let quiet = sent
            .iter()
            .filter(|sent| sent.class == &BYSTANDER && !sent.answers.is_empty());
        (
            quiet.clone().filter(|sent| !sent.served()).count(),
            quiet.count(),
        )
    });
    stage.check("fairness", failed * 1_000 <= all, || {
        format!("{failed} of {all} requests of the quiet tenant failed")
    });
    stage.ends().await
}

/// Two busy loops that go before everybody else.
async fn starved(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let directory = TempDir::new().expect("a directory");
    // `nice` goes on without the right to go before others, and says so.
    let allowed = Command::new("nice")
        .args(["-n", "-10", "true"])
        .output()
        .is_ok_and(|said| said.stderr.is_empty());
    if !allowed {
        println!(
            "     without the right to a higher priority: the busy loops only go beside everybody else"
        );
    }
    let broken = stage.breaks();
    let loops: Vec<Process> = (0..2)
        .map(|number| {
            let mut command = Command::new("nice");
            command.args(["-n", "-10", "sh", "-c", "while :; do :; done"]);
            Process::start(command, directory.path().join(number.to_string()))
        })
        .collect();
    stage.lasts().await;
    drop(loops);
    stage.heals();
    stage.recovers(SECOND * 3).await;
    // Nobody but the machine was slow.
    stage.no_breaker_opened();
    let untouched = stage
        .load
        .since(broken, |sent| sent.iter().any(Sent::served));
    stage.check("service", untouched, || "nothing was served".to_owned());
    stage.ends().await
}

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

const LEAPS: [&str; 3] = ["+1h", "-1h", "+0"];

/// The audit log has the writes in their order, by its number, though its times leap as the clock
/// did.
async fn judge_history(stage: &mut Stage, registry: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(registry)
        .read_only(true);
    let mut reader = options.connect().await.expect("a connection");
    let written = "SELECT after ->> '$.metadata.clock', CAST(strftime('%s', recorded_at) AS INTEGER) \
        FROM extension_audit_log WHERE object_id LIKE '%leaps' ORDER BY id";
    let history: Vec<(String, i64)> = sqlx::query_as(written)
        .fetch_all(&mut reader)
        .await
        .expect("the history");
    let in_order = history.iter().map(|(clock, _)| clock.as_str()).eq(LEAPS);
    stage.check("audit log", in_order, || format!("{history:?}"));
    // An hour ahead, two back, one ahead, and the seconds between them.
    let leaps: Vec<i64> = history
        .windows(2)
        .map(|pair| (pair[1].1 - pair[0].1) / 1_800)
        .collect();
    stage.check("fault", leaps == [-3, 2], || {
        format!("the router's clock did not leap: {history:?}")
    });
}

/// An hour ahead, an hour back, and as it was; the monotonic clock goes on as always.
async fn clock_leaps(pace: Pace) -> Outcome {
    if !Path::new(LIBRARY).exists() {
        return Outcome::skipped("libfaketime is not installed (apt-get install libfaketime)");
    }
    let directory = TempDir::new().expect("a directory");
    let clock = directory.path().join("clock");
    let says = |time: &str| std::fs::write(&clock, time).expect("a clock");
    says("+0");
    let registry = directory.path().join("registry.db");
    let setting = Setting::default()
        .configured("database.url", format!("sqlite://{}", registry.display()))
        .variable("LD_PRELOAD", LIBRARY)
        .variable("FAKETIME_TIMESTAMP_FILE", clock.display().to_string())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .variable("DONT_FAKE_MONOTONIC", "1");
    let mut stage = Stage::set(pace, setting).await;
    stage
        .gateway
        .policy("spare", &json!({"providers": [{"name": "spare"}]}))
        .await;
    let hints = Hints::listen(&stage).await;
    stage.calm().await;
    stage.cast["spare"].kill();
    let broken = stage.breaks();
    open_spare(&mut stage).await;
    for time in LEAPS {
        says(time);
        let written = put_policy(&stage, "leaps", json!({"clock": time}))
            .await
            .unwrap_or_default();
        stage.check("write", written["ok"] == true, || {
            format!("at {time}: {written}")
        });
        if time == LEAPS[0] {
            let state = stage.breakers().await.remove("spare");
            let open = state.as_deref() == Some("open");
            stage.check("breakers", open, || {
                format!("the one that was open when the clock leapt is {state:?}")
            });
        }
        sleep(pace.fault / 3).await;
    }
    stage.heals();
    let moved: Vec<Hint> = hints
        .since(broken)
        .into_iter()
        .filter(|hint| hint.id != "spare")
        .collect();
    stage.check("breakers", moved.is_empty(), || {
        format!("moved with the clock: {moved:?}")
    });
    judge_history(&mut stage, &registry).await;
    close_spare(&mut stage).await;
    stage.recovers(Duration::ZERO).await;
    let failed = stage.load.since(broken, |sent| {
        sent.iter()
            .filter(|sent| !sent.answers.is_empty() && !sent.served())
            .count()
    });
    stage.check("no errors", failed == 0, || {
        format!("{failed} requests failed")
    });
    stage.ends().await
}
