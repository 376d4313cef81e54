//! The audit log and the chain over it: what nobody can change unseen.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::ports::{Author, Change, Store};
use beamline_contract::admin::{AuditRecord, ListAudit};
use sqlx::Executor;
use tokio::time::Instant;

use super::database::TestDatabase;
use super::fixtures::{author, config, extension, outsider};
use crate::store::{AuditLog, Entry, OpenStore, migrate, open};

on_both_databases!(
    what_was_done_and_what_was_refused_stands_in_the_chain,
    a_change_a_gap_and_a_forged_row_are_found,
    what_is_taken_away_leaves_a_chain_that_goes_on,
    two_replicas_make_one_chain,
);

pub(super) struct Log {
    pub(super) store: Arc<dyn Store>,
    pub(super) audit: AuditLog,
}

impl Log {
    pub(super) async fn of(database: &TestDatabase) -> Self {
        migrate(&config(database.url())).await.unwrap();
        let OpenStore { store, audit, .. } = open(&config(database.url())).await.unwrap();
        Self { store, audit }
    }

    pub(super) async fn create(&self, id: &str) {
        let change = Change::CreateExtension(extension(id));
        self.store.write(change, author()).await.unwrap();
    }

    /// The kinds of all findings.
    pub(super) async fn findings(&self) -> Vec<String> {
        let verified = self.audit.verify(0).await.unwrap();
        let found = verified.findings.into_iter();
        found.map(|finding| finding.kind.into_owned()).collect()
    }

    pub(super) async fn all(&self) -> Vec<AuditRecord> {
        self.list(&ListAudit::default()).await
    }

    pub(super) async fn list(&self, asked: &ListAudit) -> Vec<AuditRecord> {
        let listed = self.audit.list(asked, 1_000, usize::MAX).await.unwrap();
        assert!(!listed.more);
        listed.records
    }

    /// Whatever nobody vouches for in a minute is taken in.
    pub(super) async fn link_strangers(&self) {
        let now = Instant::now();
        self.audit.link_strangers(now).await.unwrap();
        let later = now + Duration::from_secs(61);
        self.audit.link_strangers(later).await.unwrap();
    }
}

pub(super) async fn run(database: &TestDatabase, sql: &'static str) {
    outsider(database).await.execute(sql).await.unwrap();
}

/// As whoever owns the tables can.
pub(super) async fn without_triggers(database: &TestDatabase) {
    if database.is_postgres() {
        run(
            database,
            "ALTER TABLE extension_audit_log DISABLE TRIGGER ALL",
        )
        .await;
        run(database, "ALTER TABLE audit_chain DISABLE TRIGGER ALL").await;
        return;
    }
    for sql in [
        "DROP TRIGGER extension_audit_log_no_update",
        "DROP TRIGGER extension_audit_log_no_delete",
        "DROP TRIGGER audit_chain_no_update",
        "DROP TRIGGER audit_chain_no_delete",
    ] {
        run(database, sql).await;
    }
}

async fn what_was_done_and_what_was_refused_stands_in_the_chain(database: TestDatabase) {
    let log = Log::of(&database).await;
    let by = Author {
        role: Some("editor".into()),
        tenant_id: Some("acme".into()),
        reason: Some("because".into()),
        ..author()
    };
    let change = Change::CreateExtension(extension("a"));
    let revision = log.store.write(change, by).await.unwrap();
    log.audit.note(Entry {
        source: "test".into(),
        key_id: Some("key-2".into()),
        action: "put_policy".into(),
        object_kind: "policy".into(),
        object_id: "acme/p".into(),
        error_code: Some("forbidden".into()),
        ..Entry::default()
    });
    for _ in 0..7 {
        log.audit.note_without_key();
    }
    log.audit.catch_up().await.unwrap();
    let all = log.all().await;
    let told: Vec<_> = all
        .iter()
        .map(|row| (row.action.as_str(), row.outcome.as_str(), row.seq))
        .collect();
    assert_eq!(
        told,
        [
            ("authenticate", "refused", Some(3)),
            ("put_policy", "refused", Some(2)),
            ("create", "done", Some(1)),
        ]
    );
    let done = &all[2];
    assert_eq!(done.revision, revision);
    let who = [&done.actor, &done.key_id, &done.role, &done.tenant_id];
    let who = who.map(|text| text.as_deref().unwrap_or_default());
    assert_eq!(who, ["key-1", "key-1", "editor", "acme"]);
    assert_eq!(done.reason.as_deref(), Some("because"));
    assert_eq!(
        all[0].reason.as_deref(),
        Some("7 requests without a valid key")
    );
    let asked = ListAudit {
        outcome: Some("refused".into()),
        actor: Some("key-2".into()),
        since: Some("2020-01-01T00:00:00.000Z".into()),
        before_id: Some(all[0].id),
        ..ListAudit::default()
    };
    assert_eq!(log.list(&asked).await.len(), 1);
    let asked = ListAudit {
        until: Some("2020-01-01T00:00:00.000Z".into()),
        ..ListAudit::default()
    };
    assert!(log.list(&asked).await.is_empty());
    assert!(log.findings().await.is_empty());
}

async fn a_change_a_gap_and_a_forged_row_are_found(database: TestDatabase) {
    let log = Log::of(&database).await;
    for id in ["a", "b", "c", "d"] {
        log.create(id).await;
    }
    log.audit.catch_up().await.unwrap();
    assert!(log.findings().await.is_empty());
    run(
        &database,
        "INSERT INTO extension_audit_log (recorded_at, revision, source, action, object_kind, object_id) \
         VALUES ('2020-01-01T00:00:00.000Z', 1, 'me', 'put', 'policy', 'acme/p')",
    )
    .await;
    assert_eq!(log.findings().await, ["forged"], "beside the chain");
    log.link_strangers().await;
    assert_eq!(log.findings().await, ["forged"], "nobody vouches for it");

    without_triggers(&database).await;
    run(
        &database,
        "UPDATE extension_audit_log SET actor = 'other' WHERE object_id = 'b'",
    )
    .await;
    assert_eq!(log.findings().await, ["changed", "forged"]);
    run(
        &database,
        "DELETE FROM extension_audit_log WHERE object_id = 'c'",
    )
    .await;
    assert_eq!(log.findings().await, ["changed", "gap", "forged"]);
    run(&database, "DELETE FROM audit_chain WHERE seq = 3").await;
    let found = log.findings().await;
    assert_eq!(found, ["changed", "gap", "changed", "forged"]);
}

async fn what_is_taken_away_leaves_a_chain_that_goes_on(database: TestDatabase) {
    let log = Log::of(&database).await;
    for id in ["a", "b"] {
        log.create(id).await;
    }
    log.audit.catch_up().await.unwrap();
    let kept = log.audit.verify(0).await.unwrap().head;
    let none = log.audit.prune("2020-01-01T00:00:00.000Z", "2020-01", None);
    assert!(none.await.unwrap().is_none());
    let future = "2999-01-01T00:00:00.000Z";
    let pruned = log.audit.prune(future, "2999-01", Some("key-1")).await;
    let pruned = pruned.unwrap().expect("something");
    assert_eq!((pruned.last_seq, pruned.more), (2, false));
    assert!(log.all().await.is_empty());
    assert!(log.findings().await.is_empty());
    log.create("c").await;
    log.audit.catch_up().await.unwrap();
    let verified = log.audit.verify(0).await.unwrap();
    let head = verified.head.map(|head| head.seq);
    assert_eq!((verified.pruned_to, head), (2, Some(3)));
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
    let at_the_end = log.audit.verify(2).await.unwrap();
    assert_eq!(at_the_end.start, kept, "a head that was kept is compared");
    let before = log.audit.verify(1).await.unwrap().start;
    assert_eq!(before, kept, "it says where the chain begins now");
    for sql in [
        "DELETE FROM extension_audit_log",
        "DELETE FROM audit_chain",
        "DELETE FROM audit_prunings",
        "UPDATE audit_chain SET hash = ''",
    ] {
        let refused = outsider(&database).await.execute(sql).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

async fn two_replicas_make_one_chain(database: TestDatabase) {
    let one = Log::of(&database).await;
    let other = Log::of(&database).await;
    for number in 0..5 {
        one.create(&format!("a{number}")).await;
        other.create(&format!("b{number}")).await;
        // One of two that meet comes too late, and tries again.
        let (_, _) = tokio::join!(one.audit.catch_up(), other.audit.catch_up());
    }
    one.audit.catch_up().await.unwrap();
    other.audit.catch_up().await.unwrap();
    let verified = one.audit.verify(0).await.unwrap();
    assert_eq!(verified.rows, 10);
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
}
