//! What the tests of the store write and read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::ports::{Author, Store};
use beamline_contract::fields::Fields;
use beamline_contract::record::{
    BreakerResets, ExtensionInstance, ExtensionRecord, ExtensionVersion, OperatorDecision,
    OperatorState,
};
use beamline_domain::record;
use beamline_domain::snapshot::{Content, StoredPolicy};
use secrecy::SecretString;
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection};

use super::database::TestDatabase;
use crate::config::DatabaseConfig;
use crate::edge::nats::testing::grow;
use crate::store::{Listener, OpenStore, migrate, open};

/// Far more than anything here takes; a test that waits for it has failed.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: SecretString::from(url.to_owned()),
        url_file: None,
        max_connections: 5,
        startup_timeout: LIMIT,
        acquire_timeout: Duration::from_secs(5),
        migrate_on_start: true,
        poll_interval: Duration::from_secs(5),
        health_interval: Duration::from_secs(5),
    }
}

/// A store on a database that holds the seeds.
pub(super) async fn seeded(database: &TestDatabase) -> Arc<dyn Store> {
    migrate(&config(database.url())).await.unwrap();
    opened(&config(database.url())).await
}

/// A store that hears of what others write until the test ends.
pub(super) async fn opened(config: &DatabaseConfig) -> Arc<dyn Store> {
    let OpenStore {
        store, listener, ..
    } = open(config).await.unwrap();
    grow(listener.map(Listener::child).into_iter().collect()).await;
    store
}

pub(super) fn author() -> Author {
    Author {
        source: "test".into(),
        actor: Some("key-1".into()),
        trace_id: Some("4bf9".into()),
        ..Author::default()
    }
}

/// Extensions that a new database holds.
pub(super) const SEEDS: usize = 7;

pub(super) fn extension(id: &str) -> ExtensionRecord {
    record::parse(&format!(r#"{{"id": "{id}", "type": "pre"}}"#), "beamline").unwrap()
}

/// One with everything that an extension can have.
pub(super) fn full_extension(id: &str) -> ExtensionRecord {
    let version = ExtensionVersion {
        version: "v2".into(),
        subject: Some("beamline.ext.pre.a.v2".into()),
        timeout_ms: Some(20),
        retry: Some(2),
        config: Some(Fields::parse(r#"{"n":1.50}"#).unwrap()),
        routing_rules: Fields::parse(r#"{"lang":["de", "en"]}"#).unwrap(),
        enabled: true,
    };
    let bare = ExtensionVersion {
        version: "v1".into(),
        subject: None,
        timeout_ms: None,
        retry: None,
        config: None,
        routing_rules: Fields::default(),
        enabled: false,
    };
    let instance = |id: &str, weight| ExtensionInstance {
        instance_id: id.into(),
        subject: format!("beamline.ext.pre.a.{id}"),
        weight,
        enabled: weight > 0,
    };
    ExtensionRecord {
        subject: Some("beamline.ext.pre.a".into()),
        config: Fields::parse(r#"{"words":["a", "b"],"on":true}"#).unwrap(),
        metadata: Fields::parse(r#"{"team":"platform"}"#).unwrap(),
        versions: vec![version, bare],
        instances: vec![instance("west", 100), instance("east", 0)],
        max_in_flight: Some(40),
        max_payload_bytes: Some(100_000),
        timeout_per_mib_ms: Some(2_000),
        subject_of: Some("elsewhere".into()),
        notes_of: Some("a_in".into()),
        breaker: serde_json::from_str(r#"{"minimum_calls": 7, "open_base_ms": 100}"#).unwrap(),
        breaker_operator: Some(OperatorDecision {
            state: OperatorState::ForcedOpen,
            until: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            reason: "a \"bad\" release".into(),
        }),
        breaker_reset: Some(BreakerResets {
            count: 7,
            reason: "it works again".into(),
        }),
        ..extension(id)
    }
}

pub(super) fn policy(tenant_id: &str, policy_id: &str, document: &str) -> StoredPolicy {
    let document = RawValue::from_string(document.to_owned()).unwrap();
    StoredPolicy {
        tenant_id: tenant_id.into(),
        policy_id: policy_id.into(),
        document,
    }
}

pub(super) fn find<'c>(content: &'c Content, id: &str) -> Option<&'c ExtensionRecord> {
    content
        .extensions
        .iter()
        .find(|extension| extension.id == id)
}

/// A connection that knows nothing of the store.
pub(super) async fn outsider(database: &TestDatabase) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(database.url()).await.unwrap()
}

pub(super) async fn audit(database: &TestDatabase, object_id: &str) -> Vec<AnyRow> {
    let sql = "SELECT revision, action, object_kind, source, actor, trace_id, CAST(before AS text) AS before, \
               CAST(after AS text) AS after FROM extension_audit_log WHERE object_id = $1 ORDER BY id";
    sqlx::query(sql)
        .bind(object_id)
        .fetch_all(&mut outsider(database).await)
        .await
        .unwrap()
}
