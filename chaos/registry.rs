//! The registry is slow, in use, in a small file, or very large (C23 to C25 and C39): only
//! administration feels it.

use std::path::Path;
use std::time::Duration;

use beamline_test_support::{LIMIT, PostgresServer, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::database::{
    REFUSED, REFUSED_WITHIN, Refused, SmallDisk, agrees_again, on, put_policy, writes_are_refused,
};
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::scenario::{Scenario, scenarios};
use crate::stage::Stage;

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C23" "commits of PostgreSQL are slow" slow_commits;
    "C24" "administration takes all connections" connections_taken;
    "C25" "SQLite is locked, full, read-only" sqlite_in_trouble;
    "C39" "a hundred thousand extensions at once" large_push;
};

const SECOND: Duration = Duration::from_secs(1);
/// What a push may cost requests, and what a machine may that others use too.
const DISTURBED: Duration = Duration::from_millis(50);
const BUSY_MACHINE: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_millis(500);

/// A trigger that only fires when a transaction commits.
const SLOW_COMMITS: &str = "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$; \
    CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON registry_revision \
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()";
/// Longer than the router waits for the end of a write, and shorter than PostgreSQL lets a
/// statement run.
const SLOWER_COMMITS: &str = "CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_sleep(4.5); RETURN NULL; END $$";
/// The router's four seconds, and what a machine may take that others use too.
const GIVEN_UP: Duration = Duration::from_secs(6);

async fn slow_commits(pace: Pace) -> Outcome {
    let database = PostgresServer::start().await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    stage.calm().await;
    let mut meddler = database.connect().await;
    let broken = stage.breaks();
    meddler.execute(SLOW_COMMITS).await.expect("a trigger");
    while broken.elapsed() < pace.fault {
        let begun = Instant::now();
        let answer = put_policy(
            &stage,
            "written",
            json!({"at": broken.elapsed().as_secs_f64()}),
        )
        .await;
        let took = begun.elapsed();
        let written = answer.as_ref().is_some_and(|answer| answer["ok"] == true);
        stage.check("administration", written && took >= SLOW, || {
            format!("after {took:?} {answer:?}")
        });
    }
    meddler.execute(SLOWER_COMMITS).await.expect("a trigger");
    let refused = writes_are_refused(&mut stage, json!({}), GIVEN_UP).await;
    // Waits for the commit that the router has given up.
    meddler
        .execute("DROP TRIGGER slow_commit ON registry_revision")
        .await
        .expect("no trigger");
    let healed = stage.heals();
    agrees_again(&mut stage, healed, refused).await;
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

/// Writes that wait for a lock hold every connection of the pool, and long lists are asked for at
/// the same time.
async fn connections_taken(pace: Pace) -> Outcome {
    let database = PostgresServer::start().await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    let mut holder = database.connect().await;
    push(&mut holder, &stage, LISTED).await;
    stage.calm().await;
    let broken = stage.breaks();
    holder
        .execute("BEGIN; LOCK TABLE policies IN EXCLUSIVE MODE")
        .await
        .expect("the lock");
    let mut refused = Refused { for_certain: true };
    while broken.elapsed() < pace.fault {
        let writes =
            join_all((0..20).map(|number| put_policy(&stage, REFUSED, json!({"number": number}))));
        let lists = join_all((0..20).map(|_| list(&stage)));
        let (writes, lists) = tokio::join!(writes, lists);
        let writes: Vec<Value> = writes.into_iter().map(Option::unwrap_or_default).collect();
        let wrong = writes
            .iter()
            .find(|answer| !answer["error"]["code"].is_string());
        stage.check("writes", wrong.is_none(), || format!("{wrong:?}"));
        refused.for_certain &= writes
            .iter()
            .all(|answer| answer["error"]["details"]["outcome"] != "unknown");
        let longest = lists
            .iter()
            .map(|(took, _)| *took)
            .max()
            .unwrap_or_default();
        stage.check("lists", longest < LISTED_WITHIN, || {
            format!("a list took {longest:?}")
        });
        let shortest = lists
            .iter()
            .map(|(_, length)| *length)
            .min()
            .unwrap_or_default();
        stage.check("lists", shortest > ALMOST_TOO_LONG, || {
            format!("a list had only {shortest} bytes")
        });
    }
    holder.execute("ROLLBACK").await.expect("the lock is free");
    let healed = stage.heals();
    agrees_again(&mut stage, healed, refused).await;
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

/// With the others about as many as one message can hold: lists beyond that are refused before any
/// work is done.
const LISTED: i32 = 2_500;
const ALMOST_TOO_LONG: usize = 500_000;
/// The specification has two seconds. A debug build that shares two cores with whoever reads the
/// twenty lists gets twice that.
const LISTED_WITHIN: Duration = Duration::from_secs(4);

/// How long it took, and how many bytes came. This program needs the processors, too: it does not
/// read them.
async fn list(stage: &Stage) -> (Duration, usize) {
    let begun = Instant::now();
    let asked = stage
        .gateway
        .client()
        .request("beamline.router.v1.admin.list_extensions", "{}".into());
    let answer = timeout(LIMIT / 2, asked).await.ok().and_then(Result::ok);
    (
        begun.elapsed(),
        answer.map_or(0, |answer| answer.payload.len()),
    )
}

/// A lock that another process holds; then a full disk, and a file that nobody can write to, where
/// this can be had.
async fn sqlite_in_trouble(pace: Pace) -> Outcome {
    let disk = SmallDisk::mount();
    let directory = TempDir::new().expect("a directory");
    let place = disk.as_ref().map_or(directory.path(), SmallDisk::path);
    let file = place.join("registry.db");
    let mut stage = Stage::set(pace, on(format!("sqlite://{}", file.display()), "500ms")).await;
    stage.calm().await;
    let broken = stage.breaks();
    locked(&mut stage, &file).await;
    if let Some(disk) = &disk {
        let filler = disk.fill();
        let large: String = std::iter::repeat_with(|| fastrand::char('a'..='z'))
            .take(600_000)
            .collect();
        let refused = writes_are_refused(&mut stage, json!({"large": large}), REFUSED_WITHIN).await;
        std::fs::remove_file(filler).expect("the filler");
        let free = Instant::now();
        agrees_again(&mut stage, free, refused).await;
    }
    stage.nobody_noticed(broken);
    let mut refused = Refused { for_certain: true };
    if let Some(disk) = &disk {
        refused = read_only(&mut stage, disk).await;
    }
    let healed = stage.heals();
    stage.may_be_unready(Duration::ZERO);
    agrees_again(&mut stage, healed, refused).await;
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

async fn locked(stage: &mut Stage, file: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut holder = options.connect().await.expect("a connection");
    holder.execute("BEGIN EXCLUSIVE").await.expect("the lock");
    // The busy timeout has two seconds.
    let refused = writes_are_refused(stage, json!({}), SECOND * 4).await;
    sleep(stage.pace.fault).await;
    holder.execute("ROLLBACK").await.expect("the lock is free");
    let free = Instant::now();
    agrees_again(stage, free, refused).await;
}

/// A router starts on a file that it cannot write to, from what it kept, and serves.
async fn read_only(stage: &mut Stage, disk: &SmallDisk) -> Refused {
    let gone = Instant::now();
    stage.routers[0].sigterm();
    stage.routers[0].wait_exit(LIMIT).await;
    disk.remount("ro");
    stage.routers[0].respawn();
    stage.routers[0].until_ready().await;
    stage.forgive(gone, Instant::now());
    let back = Instant::now();
    let refused = writes_are_refused(stage, json!({}), REFUSED_WITHIN).await;
    sleep(stage.pace.fault).await;
    stage.nobody_noticed(back + SECOND / 2);
    disk.remount("rw");
    refused
}

/// That many extensions in one transaction, and without a word to anybody.
async fn push(database: &mut PgConnection, stage: &Stage, count: i32) {
    let mut tx = database.begin().await.expect("a transaction");
    let rows = "INSERT INTO extensions (id, type, timeout_ms, retry, enabled, version, config, metadata) \
        SELECT 'bulk_' || n, 'pre', 1000, 0, true, 'v1', '{\"threshold\": 0.5}', '{\"team\": \"bulk\"}' \
        FROM generate_series(1, $1) n";
    sqlx::query(rows)
        .bind(count)
        .execute(&mut *tx)
        .await
        .expect("extensions");
    let next = "UPDATE registry_revision SET revision = revision + 1 RETURNING revision";
    let revision: i64 = sqlx::query_scalar(next)
        .fetch_one(&mut *tx)
        .await
        .expect("a revision");
    tx.commit().await.expect("committed");
    let router = &stage.routers[0];
    eventually(LIMIT, "the router serves what was pushed", async || {
        router
            .readiness()
            .await
            .filter(|said| said["revision"].as_i64() >= Some(revision))
    })
    .await;
}

async fn large_push(pace: Pace) -> Outcome {
    let database = PostgresServer::start().await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    let calm = Instant::now();
    stage.calm().await;
    let mut pusher = database.connect().await;
    // As records, as the snapshot made of them, and as text on the way to the disk; the snapshot
    // before it as well.
    stage.may_hold(512);
    let broken = stage.breaks();
    push(&mut pusher, &stage, 100_000).await;
    let served = broken.elapsed();
    stage.check("push", served < SECOND * 20, || {
        format!("served after {served:?}")
    });
    // What comes after the change, the end of the snapshot before it for example.
    sleep(SECOND).await;
    let pushed = Instant::now();
    // By the order in which entries wait for each other; a chain of fallbacks visits nobody twice,
    // however it is written.
    let circle = json!([{"id": "normalize_text", "depends_on": ["bulk_1"]}, {"id": "bulk_1", "depends_on": ["normalize_text"]}]);
    for (fault, pre) in [
        ("missing id", json!([{"id": "nobody", "mode": "required"}])),
        ("cycle", circle),
    ] {
        let policy = json!({"providers": [{"name": "steady"}], "pre": pre});
        let body = json!({"tenant_id": "acme", "policy_id": "bystander", "policy": policy});
        let answer = stage.gateway.admin("put_policy", &body).await;
        stage.check(
            "bad policy",
            answer["error"]["code"] == "invalid_request",
            || format!("{fault}: {answer}"),
        );
    }
    let kept = stage
        .gateway
        .admin(
            "get_policy",
            &json!({"tenant_id": "acme", "policy_id": "bystander"}),
        )
        .await;
    stage.check(
        "bad policy",
        kept["policy"] == json!({"providers": [{"name": "steady"}]}),
        || format!("left {kept}"),
    );
    stage.heals();
    let before = stage.load.p99(calm, broken, |_| true);
    let during = stage.load.p99(broken, pushed, |_| true);
    let most = before + DISTURBED + BUSY_MACHINE;
    stage.check("latency", during <= most, || {
        format!("p99 {during:?} while it was loaded in {served:?}, {before:?} before")
    });
    stage.nobody_noticed(broken);
    stage.recovers(SECOND * 2).await;
    stage.ends().await
}
