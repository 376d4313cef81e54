//! The database breaks (C18 to C22): requests do not notice, administration says so, nothing is
//! missed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use beamline_test_support::{LIMIT, PostgresServer, TcpProxy, eventually, request};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::scenario::{Scenario, scenarios};
use crate::setting::Setting;
use crate::stage::{Stage, provider};

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C18" "PostgreSQL is killed and comes back" killed;
    "C19" "PostgreSQL is frozen" frozen;
    "C20" "PostgreSQL restarts, and a row has changed" restarts;
    "C21" "somebody holds a lock on the registry" locked;
    "C22" "the disk of PostgreSQL is full" disk_full;
};

/// A lock and a connection are waited for a second each; the rest is for a machine that others use
/// too.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(5);

pub(crate) fn on(url: String, poll: &str) -> Setting {
    Setting::default()
        .configured("database.url", url)
        .configured("database.poll_interval", poll)
}

/// A name for each purpose, so that what was refused can be looked for.
pub(crate) async fn put_policy(stage: &Stage, id: &str, metadata: Value) -> Option<Value> {
    let policy = json!({"providers": [{"name": "steady"}], "metadata": metadata});
    let body = json!({"tenant_id": "acme", "policy_id": id, "policy": policy});
    timeout(LIMIT / 2, stage.gateway.admin("put_policy", &body))
        .await
        .ok()
}

/// A write was refused.
#[derive(Debug, Clone, Copy)]
#[must_use = "whether it was done all the same is to be looked at when the database is back"]
pub(crate) struct Refused {
    /// The answer did not leave open whether it was done.
    pub(crate) for_certain: bool,
}

pub(crate) const REFUSED: &str = "refused";

/// A write is refused with a type, and soon.
pub(crate) async fn writes_are_refused(
    stage: &mut Stage,
    metadata: Value,
    within: Duration,
) -> Refused {
    let begun = Instant::now();
    let answer = put_policy(stage, REFUSED, metadata)
        .await
        .unwrap_or_default();
    let took = begun.elapsed();
    let refused = answer["error"]["code"] == "store_unavailable";
    stage.check("write", refused && took <= within, || {
        format!("a write was answered after {took:?}: {answer}")
    });
    Refused {
        for_certain: answer["error"]["details"]["outcome"] != "unknown",
    }
}

/// The router agrees with the database again, has nothing that it refused, and takes writes.
pub(crate) async fn agrees_again(stage: &mut Stage, healed: Instant, refused: Refused) {
    let router = &stage.routers[0];
    eventually(
        LIMIT,
        "the router agrees with the database again",
        async || {
            router
                .readiness()
                .await
                .filter(|said| said["stale_seconds"] == 0)
        },
    )
    .await;
    let written = eventually(LIMIT, "writes work again", async || {
        put_policy(stage, "written", json!({}))
            .await
            .filter(|answer| answer["ok"] == true)
    })
    .await;
    let took = healed.elapsed();
    let slack = Duration::from_secs(3);
    stage.check("administration", took <= BACK + slack, || {
        format!("back after {took:?}: {written}")
    });
    // The write read the registry anew.
    let found = stage
        .gateway
        .admin(
            "get_policy",
            &json!({"tenant_id": "acme", "policy_id": REFUSED}),
        )
        .await;
    let kept = if refused.for_certain {
        found["error"]["code"] == "not_found"
    } else {
        true
    };
    stage.check("refused write", kept, || {
        format!("was done all the same: {found}")
    });
}

async fn killed(pace: Pace) -> Outcome {
    let mut database = PostgresServer::start().await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    stage
        .gateway
        .policy("spare", &json!({"providers": [{"name": "spare"}]}))
        .await;
    stage.calm().await;
    let broken = stage.breaks();
    database.kill();
    let refused = writes_are_refused(&mut stage, json!({}), REFUSED_WITHIN).await;
    let router = &stage.routers[0];
    eventually(LIMIT, "the router says that it is stale", async || {
        router
            .readiness()
            .await
            .filter(|said| said["stale_seconds"].as_u64() > Some(0))
    })
    .await;
    breakers_work(&mut stage).await;
    stage.lasts().await;
    database.restart().await;
    let healed = stage.heals();
    agrees_again(&mut stage, healed, refused).await;
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

/// That of a provider which the traffic does not need opens when it is gone, and closes when it is
/// back.
async fn breakers_work(stage: &mut Stage) {
    stage.cast["spare"].kill();
    open_spare(stage).await;
    close_spare(stage).await;
}

/// It is back, and called until its breaker is closed.
pub(crate) async fn close_spare(stage: &mut Stage) {
    let spare = provider(&stage.buses.nats, "spare").await;
    stage.cast.add("spare", spare);
    eventually(LIMIT, "the breaker closes", async || {
        stage.gateway.route(&request("spare")).await;
        stage
            .breakers()
            .await
            .get("spare")
            .is_some_and(|state| state == "closed")
            .then_some(())
    })
    .await;
}

/// Calls the provider `spare`, which is gone, by a policy of its name until its breaker is open.
pub(crate) async fn open_spare(stage: &mut Stage) {
    // Nobody listens: each of them fails, and five in a row are enough.
    for _ in 0..5 {
        stage.gateway.route(&request("spare")).await;
    }
    let opened = stage
        .breakers()
        .await
        .get("spare")
        .is_some_and(|state| state == "open");
    stage.check("breakers", opened, || {
        "five failures in a row did not open one".to_owned()
    });
}

async fn frozen(pace: Pace) -> Outcome {
    let database = PostgresServer::start().await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    stage.calm().await;
    let broken = stage.breaks();
    database.pause().await;
    let refused = writes_are_refused(&mut stage, json!({}), REFUSED_WITHIN).await;
    stage.lasts().await;
    database.resume();
    let healed = stage.heals();
    agrees_again(&mut stage, healed, refused).await;
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

/// A change as the store makes it, but without a word to anybody.
async fn change_silently(database: &mut PgConnection) {
    let mut tx = database.begin().await.expect("a transaction");
    tx.execute("UPDATE registry_revision SET revision = revision + 1")
        .await
        .expect("a revision");
    let change = "UPDATE policies SET document = $1::json WHERE tenant_id = 'acme' AND policy_id = 'bystander'";
    let document = json!({"version": "meanwhile", "policy_id": "bystander", "providers": [{"name": "steady", "weight": 1}]});
    let changed = sqlx::query(change)
        .bind(document.to_string())
        .execute(&mut *tx)
        .await
        .expect("a change");
    assert_eq!(changed.rows_affected(), 1);
    tx.commit().await.expect("committed");
}

async fn restarts(pace: Pace) -> Outcome {
    let mut database = PostgresServer::start().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    // No poll comes to the rescue.
    let mut stage = Stage::set(pace, on(url, "1h")).await;
    stage.calm().await;
    let broken = stage.breaks();
    proxy.cut().await;
    database.stop().await;
    stage.lasts().await;
    database.restart().await;
    change_silently(&mut database.connect().await).await;
    proxy.restore();
    let healed = stage.heals();
    let gateway = &stage.gateway;
    eventually(LIMIT, "the change is served", async || {
        let answer = gateway.route(&request("bystander")).await;
        (answer["decision"]["policy_version"] == "meanwhile").then_some(())
    })
    .await;
    let took = healed.elapsed();
    stage.check("change", took < BACK * 2, || {
        format!("the change was served after {took:?}")
    });
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

async fn locked(pace: Pace) -> Outcome {
    let database = PostgresServer::start().await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    stage.calm().await;
    let mut holder = database.connect().await;
    let broken = stage.breaks();
    holder
        .execute("BEGIN; LOCK TABLE policies IN EXCLUSIVE MODE")
        .await
        .expect("the lock");
    let refused = writes_are_refused(&mut stage, json!({}), REFUSED_WITHIN).await;
    let asked = Instant::now();
    let read = timeout(
        LIMIT / 2,
        stage
            .gateway
            .admin("list_policies", &json!({"tenant_id": "acme"})),
    )
    .await;
    let took = asked.elapsed();
    let read = read.unwrap_or_default();
    stage.check(
        "reads",
        read["ok"] == true && took < REFUSED_WITHIN / 3,
        || format!("after {took:?} {read}"),
    );
    stage.lasts().await;
    holder.execute("ROLLBACK").await.expect("the lock is free");
    let healed = stage.heals();
    agrees_again(&mut stage, healed, refused).await;
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    stage.ends().await
}

/// A small disk of its own, gone with the test.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Only root can have one.
    pub(crate) fn mount() -> Option<Self> {
        let directory = TempDir::new().ok()?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
            .arg(directory.path());
        output(&mut mount).then_some(Self(directory))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// `ro` or `rw`.
    pub(crate) fn remount(&self, mode: &str) {
        assert!(
            output(
                Command::new("mount")
                    .args(["-o", &format!("remount,{mode}")])
                    .arg(self.path())
            ),
            "{mode}"
        );
    }

    /// With a file that takes all that is left.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.path().join("filler");
        output(
            Command::new("dd")
                .args(["if=/dev/zero", "bs=64k"])
                .arg(format!("of={}", filler.display())),
        );
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        output(Command::new("umount").arg("-l").arg(self.path()));
    }
}

fn output(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

async fn disk_full(pace: Pace) -> Outcome {
    let Some(disk) = SmallDisk::mount() else {
        return Outcome::skipped("a small disk can only be mounted by root");
    };
    let database = PostgresServer::start_in(disk.path()).await;
    let mut stage = Stage::set(pace, on(database.url(), "500ms")).await;
    stage.calm().await;
    let broken = stage.breaks();
    let filler = disk.fill();
    // More than fits into what the tables have left; by chance, so that it cannot be compressed.
    let large: String = std::iter::repeat_with(|| fastrand::char('a'..='z'))
        .take(600_000)
        .collect();
    let refused = writes_are_refused(&mut stage, json!({"large": large}), REFUSED_WITHIN).await;
    stage.lasts().await;
    std::fs::remove_file(&filler).expect("the filler");
    let healed = stage.heals();
    agrees_again(&mut stage, healed, refused).await;
    stage.nobody_noticed(broken);
    stage.recovers(Duration::ZERO).await;
    let outcome = stage.ends().await;
    drop(database);
    outcome
}
