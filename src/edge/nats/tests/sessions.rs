use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{self, StorageType};
use async_nats::jetstream::{self, kv};
use beamline_actors::ports::{SessionStore, SessionStoreError};
use beamline_actors::sessions::Sessions;
use beamline_domain::session::{Pin, Pinned, Recalled, SessionKey, Stored};
use beamline_test_support::{LIMIT, Nats, TcpProxy, within};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::connection::publish_deadly;
use crate::edge::nats::testing::{config, config_with, connect, connected, grow, subscribe};
use crate::edge::nats::{Connection, NatsSessions};

const TTL: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(10);

struct Replica {
    connection: Connection,
    store: Arc<NatsSessions>,
    sessions: Sessions,
}

async fn replica(url: &str) -> Replica {
    let config = config(url);
    let connection = connected(&config).await;
    let store = NatsSessions::new(connection.clone(), &config);
    let sessions = Sessions::new(Arc::clone(&store) as Arc<dyn SessionStore>);
    grow(vec![sessions.child()]).await;
    Replica {
        connection,
        store,
        sessions,
    }
}

async fn sharing(url: &str) -> Replica {
    let replica = replica(url).await;
    assert!(within("the bucket is open", replica.sessions.opened()).await);
    replica
}

async fn store(server: &Nats, more: &[(&str, &str)]) -> Arc<NatsSessions> {
    let config = config_with(server.url(), more);
    NatsSessions::new(connect(&config, "t").await.unwrap(), &config)
}

async fn bucket(server: &Nats) -> kv::Store {
    jetstream::new(server.client().await)
        .get_key_value("beamline_sessions")
        .await
        .unwrap()
}

fn key(session: &str) -> SessionKey {
    SessionKey::new("t", "chat", session)
}

fn pin(provider: &str) -> Pin {
    Pin {
        provider: provider.to_owned(),
        expires_at_ms: u64::MAX,
    }
}

fn recalled(provider: impl Into<Option<&'static str>>, shared: bool) -> Recalled {
    Recalled {
        provider: provider.into().map(str::to_owned),
        shared,
    }
}

fn pinned(provider: &str, shared: bool) -> Pinned {
    Pinned {
        provider: provider.to_owned(),
        shared,
    }
}

/// Asks until this is the answer.
async fn recalls(sessions: &Sessions, key: &SessionKey, expected: Recalled) {
    let asking = async {
        while sessions.recall(key, TTL).await != expected {
            sleep(POLL).await;
        }
    };
    timeout(LIMIT, asking)
        .await
        .unwrap_or_else(|_| panic!("never: {expected:?}"));
}

/// Waits until it is shared again, or not.
async fn becomes(sessions: &Sessions, shared: bool) {
    let waiting = async {
        while sessions.is_shared() != shared {
            sleep(POLL).await;
        }
    };
    timeout(LIMIT, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: shared = {shared}"));
}

#[tokio::test]
async fn replicas_agree_on_the_provider_of_a_session() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await.sessions;
    let two = sharing(server.url()).await.sessions;
    assert_eq!(one.recall(&key("s"), TTL).await, recalled(None, true));
    assert_eq!(one.pin(&key("s"), "a", TTL, None).await, pinned("a", true));
    assert_eq!(two.pin(&key("s"), "b", TTL, None).await, pinned("a", true));
    assert_eq!(
        two.pin(&key("s"), "b", TTL, Some("a")).await,
        pinned("b", true)
    );
    recalls(&one, &key("s"), recalled("b", true)).await;
    assert_eq!(
        one.pin(&key("s"), "c", TTL, Some("a")).await,
        pinned("b", true)
    );
}

#[tokio::test]
async fn of_pins_at_the_same_moment_one_wins() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await.sessions;
    let two = sharing(server.url()).await.sessions;
    for turn in 0..50 {
        let key = key(&turn.to_string());
        let (a, b, c) = tokio::join!(
            one.pin(&key, "a", TTL, None),
            two.pin(&key, "b", TTL, None),
            one.pin(&key, "c", TTL, None)
        );
        assert!(a == b && b == c && a.shared, "{turn}: {a:?} {b:?} {c:?}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_own_time() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await.sessions;
    let two = sharing(server.url()).await.sessions;
    let short = Duration::from_millis(200);
    assert_eq!(
        one.pin(&key("short"), "a", short, None).await,
        pinned("a", true)
    );
    assert_eq!(
        one.pin(&key("long"), "a", TTL, None).await,
        pinned("a", true)
    );
    let taken = async {
        while two.pin(&key("short"), "b", short, None).await != pinned("b", true) {
            sleep(short * 2).await;
        }
    };
    within("its time is up", taken).await;
    assert_eq!(two.recall(&key("long"), TTL).await, recalled("a", true));
}

#[tokio::test]
async fn without_jetstream_a_replica_keeps_sessions_to_itself() {
    let server = Nats::start_without_jetstream().await;
    let one = replica(server.url()).await;
    assert!(!within("it has tried", one.sessions.opened()).await);
    assert_eq!(
        one.sessions.pin(&key("s"), "a", TTL, None).await,
        pinned("a", false)
    );
    assert_eq!(
        one.sessions.recall(&key("s"), TTL).await,
        recalled("a", false)
    );
    let error = within("an answer", SessionStore::open(&*one.store))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("beamline_sessions") && error.contains("-js and -sd DIRECTORY"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_gets_jetstream_later_is_used() {
    let mut server = Nats::start_without_jetstream().await;
    let one = replica(server.url()).await;
    assert!(!within("it has tried", one.sessions.opened()).await);
    one.sessions.pin(&key("s"), "a", TTL, None).await;
    server.restart().await;
    recalls(&one.sessions, &key("s"), recalled("a", true)).await;
    let two = sharing(server.url()).await;
    assert_eq!(
        two.sessions.recall(&key("s"), TTL).await,
        recalled("a", true),
        "it was shared with its next use"
    );
}

#[tokio::test]
async fn sessions_outlive_the_server_and_the_replica() {
    let mut server = Nats::start().await;
    let one = sharing(server.url()).await;
    assert_eq!(
        one.sessions.pin(&key("s"), "a", TTL, None).await,
        pinned("a", true)
    );
    server.kill();
    recalls(&one.sessions, &key("s"), recalled("a", false)).await;
    assert_eq!(
        one.sessions.pin(&key("new"), "b", TTL, None).await,
        pinned("b", false)
    );
    server.restart().await;
    let two = sharing(server.url()).await;
    assert_eq!(
        two.sessions.recall(&key("s"), TTL).await,
        recalled("a", true),
        "a replica that was started again"
    );
    becomes(&one.sessions, true).await;
    assert_eq!(
        one.sessions.recall(&key("s"), TTL).await,
        recalled("a", true)
    );
    assert_eq!(
        one.sessions.recall(&key("new"), TTL).await,
        recalled("b", true)
    );
    assert_eq!(
        two.sessions.recall(&key("new"), TTL).await,
        recalled("b", true)
    );
}

#[tokio::test]
async fn a_change_that_was_missed_is_not_answered_from_memory() {
    let server = Nats::start().await;
    let mut wire = TcpProxy::start(server.address()).await;
    let near = sharing(server.url()).await;
    let far = sharing(&wire.nats_url()).await;
    assert_eq!(
        near.sessions.pin(&key("s"), "a", TTL, None).await,
        pinned("a", true)
    );
    recalls(&far.sessions, &key("s"), recalled("a", true)).await;
    wire.cut().await;
    becomes(&far.sessions, false).await;
    assert_eq!(
        near.sessions.pin(&key("s"), "b", TTL, Some("a")).await,
        pinned("b", true)
    );
    assert_eq!(
        far.sessions.recall(&key("s"), TTL).await,
        recalled("a", false),
        "it cannot know"
    );
    wire.restore();
    becomes(&far.sessions, true).await;
    assert_eq!(
        far.sessions.recall(&key("s"), TTL).await,
        recalled("b", true)
    );
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_request_little() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await.sessions;
    server.pause().await;
    assert_eq!(
        within("it goes on", one.pin(&key("s"), "a", TTL, None)).await,
        pinned("a", false)
    );
    assert!(!one.is_shared(), "the next request does not ask");
    server.resume();
    recalls(&one, &key("s"), recalled("a", true)).await;
}

#[tokio::test]
async fn another_client_opens_the_bucket_again() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await;
    assert_eq!(
        one.sessions.pin(&key("s"), "a", TTL, None).await,
        pinned("a", true)
    );
    let _deadly = subscribe(&one.connection.client(), "deadly").await;
    publish_deadly(&server, "deadly").await;
    becomes(&one.sessions, false).await;
    becomes(&one.sessions, true).await;
    assert_eq!(one.connection.replacements(), 1);
    assert_eq!(
        one.sessions.recall(&key("s"), TTL).await,
        recalled("a", true)
    );
    assert_eq!(
        one.sessions.pin(&key("new"), "b", TTL, None).await,
        pinned("b", true)
    );
}

#[tokio::test]
async fn a_bucket_that_is_deleted_is_made_again() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await;
    assert_eq!(
        one.sessions.pin(&key("s"), "a", TTL, None).await,
        pinned("a", true)
    );
    jetstream::new(server.client().await)
        .delete_key_value("beamline_sessions")
        .await
        .unwrap();
    // Nobody asks the store for a known session: silence tells of the loss.
    becomes(&one.sessions, false).await;
    becomes(&one.sessions, true).await;
    assert_eq!(
        one.sessions.recall(&key("s"), TTL).await,
        recalled("a", true)
    );
    assert!(
        bucket(&server)
            .await
            .get(key("s").as_str())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn who_deletes_an_entry_frees_the_session() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await.sessions;
    assert_eq!(one.pin(&key("s"), "a", TTL, None).await, pinned("a", true));
    bucket(&server)
        .await
        .delete(key("s").as_str())
        .await
        .unwrap();
    recalls(&one, &key("s"), recalled(None, true)).await;
    assert_eq!(one.pin(&key("s"), "b", TTL, None).await, pinned("b", true));
}

#[tokio::test]
async fn what_no_router_wrote_is_passed_over() {
    let server = Nats::start().await;
    let one = sharing(server.url()).await.sessions;
    let bucket = bucket(&server).await;
    bucket.put("somebody.elses", "x".into()).await.unwrap();
    bucket
        .put(key("s").as_str(), "not a pin".into())
        .await
        .unwrap();
    assert_eq!(one.recall(&key("s"), TTL).await, recalled(None, true));
    assert_eq!(one.pin(&key("s"), "a", TTL, None).await, pinned("a", true));
    assert!(one.is_shared());
}

#[tokio::test]
async fn the_bucket_keeps_what_a_restart_needs_and_no_more() {
    let server = Nats::start().await;
    sharing(server.url()).await;
    let made = bucket(&server).await.stream.cached_info().config.clone();
    assert_eq!(
        (
            made.storage,
            made.max_messages_per_subject,
            made.num_replicas
        ),
        (StorageType::File, 1, 1)
    );
    assert_eq!(made.max_age, Duration::from_secs(8 * 86_400));
}

#[tokio::test]
async fn a_bucket_that_is_there_keeps_its_settings() {
    let server = Nats::start().await;
    let context = jetstream::new(server.client().await);
    let given = stream::Config {
        name: "KV_own".to_owned(),
        subjects: vec!["$KV.own.>".to_owned()],
        max_messages_per_subject: 3,
        storage: StorageType::Memory,
        ..stream::Config::default()
    };
    context.create_stream(given).await.unwrap();
    let store = store(&server, &[("nats.sessions_bucket", "own")]).await;
    let _changes = within("it opens", SessionStore::open(&*store))
        .await
        .unwrap();
    SessionStore::put(&*store, &key("s"), &pin("a"), None)
        .await
        .unwrap();
    let kept = context.get_stream("KV_own").await.unwrap();
    assert_eq!(
        (
            kept.cached_info().config.storage,
            kept.cached_info().state.messages
        ),
        (StorageType::Memory, 1)
    );
}

#[tokio::test]
async fn a_write_counts_only_over_what_its_writer_has_seen() {
    let server = Nats::start().await;
    let store = store(&server, &[]).await;
    let mut changes = within("it opens", SessionStore::open(&*store))
        .await
        .unwrap();
    let get = <NatsSessions as SessionStore>::get;
    let put = <NatsSessions as SessionStore>::put;
    assert_eq!(get(&store, &key("s")).await, Ok(None));
    let first = put(&store, &key("s"), &pin("a"), None).await.unwrap();
    assert_eq!(
        put(&store, &key("s"), &pin("b"), None).await,
        Err(SessionStoreError::Conflict)
    );
    assert_eq!(
        put(&store, &key("s"), &pin("b"), Some(first + 7)).await,
        Err(SessionStoreError::Conflict)
    );
    let second = put(&store, &key("s"), &pin("b"), Some(first))
        .await
        .unwrap();
    assert_eq!(
        get(&store, &key("s")).await,
        Ok(Some(Stored {
            pin: pin("b"),
            revision: second
        }))
    );
    for (provider, revision) in [("a", first), ("b", second)] {
        let change = within("the change is told", changes.next()).await.unwrap();
        assert_eq!(
            (change.key, change.stored),
            (
                key("s"),
                Stored {
                    pin: pin(provider),
                    revision
                }
            )
        );
    }
}

#[tokio::test]
async fn a_connection_that_is_away_is_told_at_once() {
    let mut server = Nats::start().await;
    let one = sharing(server.url()).await;
    server.kill();
    becomes(&one.sessions, false).await;
    let error = SessionStore::get(&*one.store, &key("s")).await.unwrap_err();
    assert_eq!(
        error,
        SessionStoreError::Away("NATS is not connected".to_owned())
    );
    assert!(SessionStore::open(&*one.store).await.is_err());
}
