//! What somebody tries who may write to the database, or who makes much of the log; and what only
//! looks like an attack.

use std::time::Duration;

use beamline_actors::ports::Change;
use beamline_contract::admin::ListAudit;
use beamline_contract::fields::Fields;
use beamline_contract::record::ExtensionRecord;
use sqlx::{AssertSqlSafe, Executor};
use tokio::time::Instant;

use super::audit::{Log, run};
use super::database::TestDatabase;
use super::fixtures::{author, extension, outsider};
use crate::store::Entry;

on_both_databases!(
    a_full_log_is_linked_at_the_end,
    rows_of_another_time_are_found,
    a_pruning_that_never_was_hides_nothing,
    links_before_the_first_place_hide_nothing,
    rows_of_others_have_their_time,
    rows_that_others_have_linked_are_forgotten,
    a_place_that_is_not_there_is_a_gap,
    a_list_has_room_in_its_answer,
    images_are_short_and_only_shown_when_asked_for,
);

fn refused(key: &str) -> Entry {
    Entry {
        source: "test".into(),
        key_id: Some(key.to_owned()),
        action: "put_policy".into(),
        reason: Some("x".repeat(400)),
        error_code: Some("forbidden".into()),
        ..Entry::default()
    }
}

/// More than is linked, written or looked at in one go.
async fn a_full_log_is_linked_at_the_end(database: TestDatabase) {
    let log = Log::of(&database).await;
    for number in 0..700 {
        log.audit.note(refused(&format!("key-{number}")));
    }
    log.audit.catch_up().await.unwrap();
    let first = log.audit.verify(0).await.unwrap();
    assert!(first.more && first.findings.is_empty(), "{first:?}");
    let behind = first.head.unwrap().seq;
    let rest = log.audit.verify(behind).await.unwrap();
    assert!(!rest.more && rest.findings.is_empty(), "{rest:?}");
    assert_eq!(first.rows + rest.rows, 700);
    assert!(log.audit.is_up_to_date());
}

async fn forge(database: &TestDatabase, at: &str) {
    let sql = format!(
        "INSERT INTO extension_audit_log (recorded_at, revision, source, action, object_kind, object_id) \
         VALUES ('{at}', -1, 'me', 'put', 'policy', 'acme/p')"
    );
    let mut outsider = outsider(database).await;
    outsider.execute(AssertSqlSafe(sql)).await.unwrap();
}

async fn rows_of_another_time_are_found(database: TestDatabase) {
    let log = Log::of(&database).await;
    log.create("a").await;
    log.audit.catch_up().await.unwrap();
    let never = if database.is_postgres() {
        "infinity"
    } else {
        "soon"
    };
    for at in [
        "2999-01-01T00:00:00.000Z",
        "1999-01-01T00:00:00.000Z",
        never,
    ] {
        forge(&database, at).await;
    }
    assert_eq!(log.findings().await, ["forged"; 3], "beside the chain");
    log.link_strangers().await;
    let verified = log.audit.verify(0).await.unwrap();
    assert_eq!(verified.rows, 4);
    assert_eq!(log.findings().await, ["forged"; 3], "in the chain");
    assert_eq!(log.all().await.len(), 4, "all of them can be read");
}

async fn a_pruning_that_never_was_hides_nothing(database: TestDatabase) {
    let log = Log::of(&database).await;
    for id in ["a", "b", "c"] {
        log.create(id).await;
    }
    log.audit.catch_up().await.unwrap();
    run(
        &database,
        "INSERT INTO audit_prunings (last_seq, last_hash, before) \
         VALUES (999999, '00', 'x'), (0, '00', 'x'), (-1, '00', 'x')",
    )
    .await;
    log.create("d").await;
    log.audit.catch_up().await.unwrap();
    let verified = log.audit.verify(0).await.unwrap();
    assert_eq!((verified.rows, verified.pruned_to), (4, 0));
    assert_eq!(verified.head.map(|head| head.seq), Some(4));
    assert_eq!(log.findings().await, ["forged"; 3]);
}

async fn links_before_the_first_place_hide_nothing(database: TestDatabase) {
    let log = Log::of(&database).await;
    log.create("a").await;
    log.audit.catch_up().await.unwrap();
    forge(&database, "2020-01-01T00:00:00.000Z").await;
    run(
        &database,
        "INSERT INTO audit_chain (seq, row_id, vouched, hash) \
         SELECT -1, max(id), true, '00' FROM extension_audit_log",
    )
    .await;
    assert_eq!(log.findings().await, ["forged"]);
}

/// The clocks of its router and of the database may be minutes apart.
async fn rows_of_others_have_their_time(database: TestDatabase) {
    let log = Log::of(&database).await;
    forge(&database, "2020-01-01T00:00:00.000Z").await;
    let now = Instant::now();
    for seconds in [0, 30, 60] {
        let now = now + Duration::from_secs(seconds);
        log.audit.link_strangers(now).await.unwrap();
        assert_eq!(log.audit.verify(0).await.unwrap().rows, 0);
    }
    let later = now + Duration::from_secs(61);
    log.audit.link_strangers(later).await.unwrap();
    assert_eq!(log.audit.verify(0).await.unwrap().rows, 1);
}

async fn rows_that_others_have_linked_are_forgotten(database: TestDatabase) {
    let one = Log::of(&database).await;
    let other = Log::of(&database).await;
    one.create("a").await;
    other.link_strangers().await;
    assert!(!one.audit.is_up_to_date());
    one.audit.link_own().await.unwrap();
    assert!(one.audit.is_up_to_date());
    assert_eq!(one.audit.verify(0).await.unwrap().rows, 1);
}

async fn a_place_that_is_not_there_is_a_gap(database: TestDatabase) {
    let log = Log::of(&database).await;
    log.create("a").await;
    log.audit.catch_up().await.unwrap();
    for seq in [2, 1 << 40, (1 << 63) + 5, u64::MAX] {
        let verified = log.audit.verify(seq).await.unwrap();
        let found = verified.findings.first().unwrap();
        assert_eq!((found.kind.as_ref(), found.seq), ("gap", Some(seq)));
        assert_eq!((verified.head, verified.start), (None, None));
    }
    let behind = log.audit.verify(1).await.unwrap();
    assert!(behind.findings.is_empty(), "{behind:?}");
    assert_eq!(behind.start, behind.head);
}

async fn a_list_has_room_in_its_answer(database: TestDatabase) {
    let log = Log::of(&database).await;
    for number in 0..250 {
        log.audit.note(refused(&format!("key-{number}")));
    }
    log.audit.catch_up().await.unwrap();
    let room = 100_000;
    let mut asked = ListAudit::default();
    let mut pages = Vec::new();
    loop {
        let listed = log.audit.list(&asked, 500, room).await.unwrap();
        assert!(serde_json::to_string(&listed.records).unwrap().len() <= room + 2);
        asked.before_id = listed.records.last().map(|record| record.id);
        pages.push(listed.records.len());
        if !listed.more {
            break;
        }
    }
    assert!(pages.len() > 1, "{pages:?}");
    assert_eq!(pages.iter().sum::<usize>(), 250);
    let asked = ListAudit::default();
    let one = log.audit.list(&asked, 500, 10).await.unwrap();
    assert_eq!((one.records.len(), one.more), (1, true));
}

async fn images_are_short_and_only_shown_when_asked_for(database: TestDatabase) {
    let log = Log::of(&database).await;
    let large = format!(r#"{{"words": "{}"}}"#, "x".repeat(200_000));
    let change = Change::CreateExtension(ExtensionRecord {
        config: Fields::parse(&large).unwrap(),
        ..extension("large")
    });
    log.store.write(change, author()).await.unwrap();
    log.audit.catch_up().await.unwrap();
    assert!(log.all().await.iter().all(|row| row.after.is_none()));
    let asked = ListAudit {
        images: Some(true),
        ..ListAudit::default()
    };
    let all = log.list(&asked).await;
    let after = all[0].after.as_ref().unwrap().get();
    assert!(after.len() < 16_384 && after.contains("sha256"), "{after}");
    assert!(log.findings().await.is_empty());
}

/// What the documents tell operators to grant.
#[tokio::test]
async fn the_routers_role_takes_nothing_away() {
    let database = TestDatabase::postgres().await;
    let log = Log::of(&database).await;
    log.create("a").await;
    let guide = include_str!("../../../docs/audit.md");
    let grants = guide.split("```sql\n").nth(1).unwrap();
    let grants = grants.split("```").next().unwrap();
    let names = format!("{:08x}", fastrand::u32(..));
    let [owner, router] = ["owner", "router"].map(|name| format!("beamline_{name}_{names}"));
    let grants = grants.replace("beamline_audit", &owner);
    let grants = grants.replace("TO beamline;", &format!("TO {router};"));
    // Roles are the server's: nothing of it outlives the transaction.
    let mut outsider = outsider(&database).await;
    let begin = format!("BEGIN; CREATE ROLE {owner}; CREATE ROLE {router}; {grants}");
    outsider.execute(AssertSqlSafe(begin)).await.unwrap();
    for (sql, is_refused) in [
        (
            "INSERT INTO audit_prunings (last_seq, last_hash, before) VALUES (9, '0', 'x')",
            true,
        ),
        ("DELETE FROM extension_audit_log", true),
        ("UPDATE audit_chain SET vouched = true", true),
        ("SELECT * FROM audit_prunings", false),
        (
            "INSERT INTO audit_chain (seq, row_id, vouched, hash) VALUES (1, 1, true, '0')",
            false,
        ),
    ] {
        let tried = format!("SAVEPOINT here; SET LOCAL ROLE {router}; {sql}");
        let error = outsider.execute(AssertSqlSafe(tried)).await.err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(
            error.contains("permission denied"),
            is_refused,
            "{sql}: {error}"
        );
        outsider
            .execute("ROLLBACK TO SAVEPOINT here")
            .await
            .unwrap();
    }
    outsider.execute("ROLLBACK").await.unwrap();
}
