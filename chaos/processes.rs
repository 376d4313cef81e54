//! Routers end, freeze, panic and block (C26 to C32): what they have taken in is answered, others
//! take over.

use std::path::Path;
use std::time::Duration;

use beamline_test_support::{FailPoints, LIMIT, PostgresDatabase, eventually, http_get, request};
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::puppet::Puppet;
use crate::scenario::{Scenario, scenarios};
use crate::setting::Setting;
use crate::stage::{BELIEVED_PAST, IN_QUEUES, ON_ITS_WAY, Stage};
use crate::traffic::{BYSTANDER, Class, DEADLINE, OPTIONAL};
use crate::watch::Counters;

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C26" "a router is told to end under load" told_to_end;
    "C27" "one of three routers is killed" killed;
    "C28" "a router is frozen, and goes on" frozen;
    "C29" "three routers restart one after the other" rolling_restart;
    "C30" "pipelines panic" pipelines_panic;
    "C31" "an invoker never starts" never_starts;
    "C32" "handlers block their threads" handlers_block;
};

const SECOND: Duration = Duration::from_secs(1);
/// Section 5: until then a router has drained and ended.
const ENDS_WITHIN: Duration = Duration::from_secs(45);

/// Several routers share one registry.
async fn replicas(pace: Pace, count: usize) -> (Stage, PostgresDatabase) {
    let database = PostgresDatabase::create().await;
    let setting = Setting::default()
        .routers(count)
        .configured("database.url", database.url());
    let mut stage = Stage::set(pace, setting).await;
    stage.calm().await;
    (stage, database)
}

/// What has been sent since then was answered as always: nobody felt anything.
fn no_errors(stage: &mut Stage, since: Instant) {
    let failed = stage.load.since(since, |sent| {
        let failed = sent
            .iter()
            .filter(|sent| !sent.answers.is_empty() && !sent.served());
        failed
            .filter_map(|sent| sent.code().map(str::to_owned))
            .collect::<Vec<_>>()
    });
    stage.check("no errors", failed.is_empty(), || {
        format!("{} requests failed: {:?}", failed.len(), failed.first())
    });
}

/// Ends a router as an operator would, and judges its end.
async fn end(stage: &mut Stage, number: usize) {
    let router = &mut stage.routers[number];
    router.sigterm();
    let code = router.wait_exit(ENDS_WITHIN).await.code();
    let tail = router.log().lines().last().map(str::to_owned);
    stage.check("exit", code == Some(0), || {
        format!("router {number} ended with {code:?}: {tail:?}")
    });
}

async fn told_to_end(pace: Pace) -> Outcome {
    let (mut stage, _database) = replicas(pace, 2).await;
    let broken = stage.breaks();
    end(&mut stage, 0).await;
    stage.is_dead(0);
    stage.heals();
    stage.recovers(Duration::ZERO).await;
    no_errors(&mut stage, broken);
    stage.ends().await
}

async fn killed(pace: Pace) -> Outcome {
    let (mut stage, _database) = replicas(pace, 3).await;
    let broken = stage.breaks();
    stage.routers[0].kill();
    stage.is_dead(0);
    stage.heals();
    stage.recovers(SECOND).await;
    let lost = stage
        .load
        .sent()
        .iter()
        .filter(|sent| sent.answers.is_empty() && sent.at < broken + SECOND)
        .count();
    // In flight on one of three: a few milliseconds of load, and what it had in its buffers.
    stage.check("in flight", lost <= 20, || {
        format!("{lost} requests went with the router")
    });
    stage.forgive(broken, broken + SECOND / 2);
    no_errors(&mut stage, broken);
    stage.ends().await
}

async fn frozen(pace: Pace) -> Outcome {
    let mut stage = Stage::set(pace, Setting::default()).await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.routers[0].pause().await;
    // Most of what was sent meanwhile is past its deadline in the end.
    sleep(if pace.is_quick() {
        SECOND * 7
    } else {
        SECOND * 10
    })
    .await;
    stage.routers[0].resume();
    let healed = stage.heals();
    // Nobody can answer while it stands still.
    stage.forgive(broken, healed + SECOND);
    stage.recovers(SECOND * 3).await;
    stage.no_breaker_opened();
    stage.no_ghosts();
    no_stampede(&mut stage, healed);
    let expired = Counters::of(stage.routers[0].http())
        .await
        .unwrap_or_default()
        .get("router_requests_expired_total");
    stage.check("fault", expired > 0.0, || {
        "nothing that the router read was past its deadline".to_owned()
    });
    stage.ends().await
}

/// What is called as soon as the router goes on: what somebody may still wait for, and what comes
/// by then.
fn no_stampede(stage: &mut Stage, healed: Instant) {
    let worth = DEADLINE + BELIEVED_PAST + IN_QUEUES + ON_ITS_WAY;
    let Some(from) = healed.checked_sub(worth) else {
        return;
    };
    let calls = |class: &Class| [OPTIONAL, BYSTANDER].contains(class);
    let most = stage.load.since(from, |sent| {
        sent.iter()
            .filter(|sent| sent.at < healed + SECOND && calls(sent.class))
            .count()
    });
    let made = stage
        .cast
        .steady
        .calls()
        .iter()
        .filter(|call| (healed..healed + SECOND).contains(&call.at))
        .count();
    stage.check("stampede", made <= most, || {
        format!("{made} calls within a second, and {most} requests for them that were not past their deadline")
    });
}

async fn rolling_restart(pace: Pace) -> Outcome {
    let (mut stage, _database) = replicas(pace, 3).await;
    stage
        .load
        .set_rate(if pace.is_quick() { pace.rate } else { 500.0 });
    let broken = stage.breaks();
    for number in 0..3 {
        end(&mut stage, number).await;
        stage.routers[number].respawn();
        stage.routers[number].until_ready().await;
    }
    stage.heals();
    stage.may_be_unready(Duration::ZERO);
    stage.load.set_rate(pace.rate);
    stage.recovers(Duration::ZERO).await;
    no_errors(&mut stage, broken);
    stage.ends().await
}

/// A router whose fail points a scenario sets while it runs.
fn failing_at(points: &FailPoints) -> Setting {
    let (name, file) = points.variable();
    Setting::default().variable(name, file)
}

async fn pipelines_panic(pace: Pace) -> Outcome {
    let points = FailPoints::new();
    let mut stage = Stage::set(pace, failing_at(&points)).await;
    stage.calm().await;
    stage.may_panic();
    let broken = stage.breaks();
    points.set("pipeline panic 0.01");
    stage.lasts().await;
    points.set("");
    stage.heals();
    let panics = stage.routers[0]
        .log()
        .matches("the fail point pipeline")
        .count();
    stage.check("fault", panics > 0, || {
        "nothing panicked, so nothing was tested".to_owned()
    });
    let codes = stage.load.since(broken, |sent| {
        let failed = sent
            .iter()
            .filter_map(|sent| sent.code())
            .filter(|code| *code != "ok" && *code != "internal");
        failed.map(str::to_owned).collect::<Vec<_>>()
    });
    stage.check("siblings", codes.is_empty(), || {
        format!("failed in other ways: {codes:?}")
    });
    stage.recovers(SECOND / 10).await;
    stage.ends().await
}

/// Its supervisor gives up in turn; the router does not, and nobody else feels it. What only
/// observes fails at the same time, and nobody feels that either.
async fn never_starts(pace: Pace) -> Outcome {
    let points = FailPoints::new();
    let directory = TempDir::new().expect("a directory");
    let registry = directory.path().join("registry.db");
    let url = format!("sqlite://{}", registry.display());
    let setting = failing_at(&points)
        .configured("database.url", url)
        .configured("database.health_interval", "1s");
    let mut stage = Stage::set(pace, setting).await;
    stage
        .gateway
        .register("provider", "late", json!({"timeout_ms": 400}))
        .await;
    stage
        .gateway
        .policy("late", &json!({"providers": [{"name": "late"}]}))
        .await;
    let late = Puppet::provider(stage.buses.nats.url(), "late").await;
    stage.calm().await;
    stage.may_panic();
    let broken = stage.breaks();
    points.set("late panic 1\nhealth panic 1\nmetrics panic 1");
    let asked = stage.gateway.client().request(
        "beamline.router.v1.route",
        request("late").to_string().into(),
    );
    let answered = matches!(timeout(LIMIT, asked).await, Ok(Ok(_)));
    sleep(pace.fault.max(SECOND * 6)).await;
    let panics = stage.routers[0]
        .log()
        .matches("the fail point late")
        .count();
    let scraped = stage.routers[0].get("/metrics").await.is_some();
    let silent = !scraped && stage.routers[0].log().contains("the fail point health");
    stage.check("fault", panics > 0 && silent, || {
        "not everything panicked, so not everything was tested".to_owned()
    });
    let (unanswered, probes) = stage.unanswered_probes(0, broken);
    stage.check("probes", unanswered == 0, || {
        format!("{unanswered} of {probes} probes were not answered")
    });
    let alive = stage.routers[0].alive();
    stage.check("escalation", alive && answered, || {
        format!("after {panics} panics of one invoker: the router is alive {alive}, the request answered {answered}")
    });
    if !alive {
        let now = stage.heals();
        stage.forgive(broken, now);
        stage.is_dead(0);
        return stage.ends().await;
    }
    points.set("");
    stage.heals();
    no_errors(&mut stage, broken);
    stage.recovers(SECOND).await;
    health_is_written(&registry).await;
    let answer = timeout(LIMIT, stage.gateway.route(&request("late")))
        .await
        .unwrap_or_default();
    stage.check("late", answer["ok"] == true, || {
        format!("{} calls, and then {answer}", late.calls().len())
    });
    stage.ends().await
}

/// Again, by the router that fills this registry.
async fn health_is_written(registry: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(registry)
        .read_only(true);
    let mut reader = options.connect().await.expect("a connection");
    // The one that is called all the time, so that there is always something to write.
    let written = "SELECT updated_at FROM extension_health WHERE extension_id = 'steady'";
    let before: Option<String> = sqlx::query_scalar(written)
        .fetch_optional(&mut reader)
        .await
        .expect("a row");
    eventually(LIMIT / 4, "health is written again", async || {
        let now: Option<String> = sqlx::query_scalar(written)
            .fetch_optional(&mut reader)
            .await
            .ok()?;
        (now != before).then_some(())
    })
    .await;
}

/// `router_pressure`: limit and queue are halved.
const SEVERE: f64 = 2.0;

async fn handlers_block(pace: Pace) -> Outcome {
    let points = FailPoints::new();
    let mut stage = Stage::set(pace, failing_at(&points)).await;
    stage.calm().await;
    let broken = stage.breaks();
    points.set("pipeline sleep 100");
    let until = broken + pace.fault;
    let mut asked = 0;
    let mut well = 0;
    let mut pressure = 0.0_f64;
    while Instant::now() < until {
        let http = stage.routers[0].http();
        let answer = timeout(SECOND, http_get(http, "/healthz")).await;
        pressure = pressure.max(
            Counters::of(http)
                .await
                .map_or(0.0, |counters| counters.get("router_pressure")),
        );
        asked += 1;
        well += usize::from(matches!(answer, Ok(Some((200, _)))));
        sleep(SECOND / 4).await;
    }
    points.set("");
    let healed = stage.heals();
    // Nobody answers in time without a thread.
    stage.forgive(broken, healed + SECOND * 2);
    stage.check("liveness", well == asked, || {
        format!("/healthz answered {well} of {asked} times within a second")
    });
    let codes = stage.load.since(broken, |sent| {
        sent.iter()
            .filter(|sent| sent.code() == Some("overloaded"))
            .count()
    });
    // Requests may also be refused because places are taken: the monitor says that it is the
    // threads.
    stage.check("lag monitor", pressure >= SEVERE, || {
        format!("the pressure was {pressure} at most")
    });
    stage.check("shedding", codes > 0, || {
        "nothing was shed while all threads were blocked".to_owned()
    });
    stage.recovers(SECOND * 2).await;
    let counted = Counters::of(stage.routers[0].http()).await.is_some();
    stage.check("metrics", counted, || {
        format!(
            "no metrics {:?} after the fault, limit {LIMIT:?}",
            healed.elapsed()
        )
    });
    stage.ends().await
}
