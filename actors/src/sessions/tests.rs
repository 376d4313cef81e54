//! Replicas over one store, in paused time: they agree while the store answers, and each goes on
//! without it.

use std::ops::Deref;

use tokio::time::sleep;

use super::keeper::REOPEN;
use super::shared::{LIMIT, RENEWAL_LIMIT};
use super::*;
use crate::metrics::Metrics;
use crate::testing::MemorySessions;
use crate::tree::{Node, Root};

const TTL: Duration = Duration::from_secs(600);

fn key() -> SessionKey {
    SessionKey::new("t", "chat", "session-1")
}

struct Replica {
    sessions: Sessions,
    root: Root,
}

impl Deref for Replica {
    type Target = Sessions;

    fn deref(&self) -> &Sessions {
        &self.sessions
    }
}

async fn start(store: &Arc<MemorySessions>) -> Replica {
    let sessions = Sessions::new(Arc::clone(store) as Arc<dyn SessionStore>);
    let children = vec![sessions.child()];
    let root = Root::start(Node::root(), children, Metrics::default())
        .await
        .unwrap();
    Replica { sessions, root }
}

async fn replica(store: &Arc<MemorySessions>) -> Replica {
    let replica = start(store).await;
    assert!(replica.is_shared());
    replica
}

async fn two_replicas() -> (Arc<MemorySessions>, Replica, Replica) {
    let store = MemorySessions::new();
    let one = replica(&store).await;
    let two = replica(&store).await;
    (store, one, two)
}

/// Lets tasks in the background do what they can do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

async fn until_shared(sessions: &Sessions) {
    let mut sharing = sessions.shared.sharing.subscribe();
    timeout(
        REOPEN.longest * 2,
        sharing.wait_for(|now| *now == Sharing::On),
    )
    .await
    .unwrap()
    .unwrap();
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

#[tokio::test(start_paused = true)]
async fn a_session_keeps_its_provider_on_every_replica() {
    let (store, one, two) = two_replicas().await;
    assert_eq!(one.recall(&key(), TTL).await, recalled(None, true));
    assert_eq!(one.pin(&key(), "a", TTL, None).await, pinned("a", true));
    assert_eq!(two.recall(&key(), TTL).await, recalled("a", true));
    assert_eq!(two.pin(&key(), "b", TTL, None).await, pinned("a", true));
    let third = replica(&store).await;
    assert_eq!(
        third.recall(&key(), TTL).await,
        recalled("a", true),
        "also on one that starts later"
    );
}

#[tokio::test(start_paused = true)]
async fn who_pins_at_the_same_moment_agrees_on_one() {
    let (store, one, two) = two_replicas().await;
    let key_one = key();
    let key_two = key();
    let (a, b, c) = tokio::join!(
        one.pin(&key_one, "a", TTL, None),
        two.pin(&key_two, "b", TTL, None),
        one.pin(&key_one, "c", TTL, None)
    );
    assert!(a == b && b == c && a.shared, "{a:?} {b:?} {c:?}");
    assert_eq!(store.pin_of(&key()).unwrap().provider, a.provider);
}

#[tokio::test(start_paused = true)]
async fn a_known_session_is_answered_without_the_store() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    settle().await;
    let before = (store.reads(), store.writes());
    for replica in [&one, &two] {
        assert_eq!(replica.recall(&key(), TTL).await, recalled("a", true));
        assert_eq!(replica.pin(&key(), "a", TTL, None).await, pinned("a", true));
    }
    assert_eq!((store.reads(), store.writes()), before);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_requests_ends_and_one_with_requests_does_not() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    for _ in 0..5 {
        sleep(TTL / 2).await;
        assert_eq!(two.recall(&key(), TTL).await, recalled("a", true));
        settle().await;
    }
    assert_eq!(
        store.writes(),
        6,
        "one to pin, and one for each request that came after a tenth of the time"
    );
    sleep(TTL + TTL / 10).await;
    assert_eq!(one.recall(&key(), TTL).await, recalled(None, true));
    assert_eq!(two.pin(&key(), "b", TTL, None).await, pinned("b", true));
    settle().await;
    assert_eq!(one.recall(&key(), TTL).await, recalled("b", true));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_be_called_loses_the_session_once() {
    let (_store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    settle().await;
    assert_eq!(
        one.pin(&key(), "b", TTL, Some("a")).await,
        pinned("b", true)
    );
    assert_eq!(
        two.pin(&key(), "c", TTL, Some("a")).await,
        pinned("b", true),
        "the other was first"
    );
    settle().await;
    assert_eq!(two.recall(&key(), TTL).await, recalled("b", true));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_each_replica_goes_on_alone_and_says_so() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    settle().await;
    store.set_away(true);
    settle().await;
    assert!(!one.is_shared());
    assert_eq!(one.recall(&key(), TTL).await, recalled("a", false));
    let other = SessionKey::new("t", "chat", "session-2");
    assert_eq!(one.pin(&other, "b", TTL, None).await, pinned("b", false));
    assert_eq!(one.pin(&other, "c", TTL, None).await, pinned("b", false));
    assert_eq!(two.recall(&other, TTL).await, recalled(None, false));

    store.set_away(false);
    until_shared(&one).await;
    until_shared(&two).await;
    assert_eq!(one.recall(&key(), TTL).await, recalled("a", true));
    assert_eq!(
        one.recall(&other, TTL).await,
        recalled("b", true),
        "shared with its next use"
    );
    assert_eq!(two.recall(&other, TTL).await, recalled("b", true));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_has_counts_more_than_what_was_pinned_without_it() {
    let (store, one, two) = two_replicas().await;
    store.set_away(true);
    settle().await;
    one.pin(&key(), "a", TTL, None).await;
    two.pin(&key(), "b", TTL, None).await;
    store.set_away(false);
    until_shared(&one).await;
    until_shared(&two).await;
    assert_eq!(two.recall(&key(), TTL).await, recalled("b", true));
    assert_eq!(one.recall(&key(), TTL).await, recalled("b", true));
    assert_eq!(one.pin(&key(), "a", TTL, None).await, pinned("b", true));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_may_have_changed_meanwhile_is_answered_from_memory() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    settle().await;
    // One hears nothing of the change: its followed changes end, and the other's pin is written in
    // between.
    store.set_away(true);
    settle().await;
    store.set_away(false);
    until_shared(&two).await;
    two.pin(&key(), "b", TTL, Some("a")).await;
    until_shared(&one).await;
    assert_eq!(one.recall(&key(), TTL).await, recalled("b", true));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_up_one_request_for_a_moment_and_the_next_not_at_all() {
    let (store, one, _two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    store.set_hanging(true);
    let other = SessionKey::new("t", "chat", "session-2");
    let begun = tokio::time::Instant::now();
    assert_eq!(one.recall(&other, TTL).await, recalled(None, false));
    assert_eq!(begun.elapsed().as_millis(), LIMIT.as_millis());
    assert_eq!(one.pin(&other, "b", TTL, None).await, pinned("b", false));
    assert_eq!(one.recall(&key(), TTL).await, recalled("a", false));
    assert_eq!(begun.elapsed().as_millis(), LIMIT.as_millis());

    store.set_hanging(false);
    until_shared(&one).await;
    assert_eq!(one.recall(&other, TTL).await, recalled("b", true));
}

#[tokio::test(start_paused = true)]
async fn a_router_starts_without_the_store_and_shares_when_it_comes() {
    let store = MemorySessions::new();
    store.set_away(true);
    let one = start(&store).await;
    assert!(!one.is_shared());
    assert_eq!(one.pin(&key(), "a", TTL, None).await, pinned("a", false));
    store.set_away(false);
    until_shared(&one).await;
    assert_eq!(one.pin(&key(), "b", TTL, None).await, pinned("a", true));
    assert_eq!(store.pin_of(&key()).unwrap().provider, "a");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_keeps_the_session_here_and_is_made_up_for() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    settle().await;
    sleep(TTL / 2).await;
    store.set_hanging(true);
    assert_eq!(
        one.recall(&key(), TTL).await,
        recalled("a", true),
        "it does not wait for its renewal"
    );
    sleep(RENEWAL_LIMIT + Duration::from_millis(1)).await;
    assert!(!one.is_shared());
    sleep(TTL - RENEWAL_LIMIT * 2).await;
    assert_eq!(one.recall(&key(), TTL).await, recalled("a", false));
    store.set_hanging(false);
    until_shared(&one).await;
    assert_eq!(one.recall(&key(), TTL).await, recalled("a", true));
    assert_eq!(two.recall(&key(), TTL).await, recalled("a", true));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_has_lost_everything_learns_sessions_again() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    settle().await;
    store.set_away(true);
    store.clear();
    settle().await;
    store.set_away(false);
    until_shared(&one).await;
    until_shared(&two).await;
    assert_eq!(one.recall(&key(), TTL).await, recalled("a", true));
    assert_eq!(store.pin_of(&key()).unwrap().provider, "a");
    assert_eq!(two.recall(&key(), TTL).await, recalled("a", true));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_there_is_asked_for_less_and_less() {
    let store = MemorySessions::new();
    store.set_away(true);
    let one = start(&store).await;
    assert!(!one.is_shared());
    sleep(Duration::from_secs(119)).await;
    assert_eq!(store.opens(), 7, "at 0, 2, 6, 14, 30, 60 and 90 s");

    // Another connection may lead to another server.
    store.set_cut_off(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.opens(), 7, "nobody asks without a connection");
    store.set_cut_off(false);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(store.opens(), 8);
    store.set_away(false);
    sleep(REOPEN.first).await;
    assert!(one.is_shared());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_there_is_back_soon_however_long_it_was_away() {
    let store = MemorySessions::new();
    let one = replica(&store).await;
    store.set_away(true);
    sleep(Duration::from_secs(3_600)).await;
    assert!(!one.is_shared());
    store.set_away(false);
    sleep(REOPEN.first).await;
    assert!(one.is_shared());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_tree() {
    let store = MemorySessions::new();
    let one = replica(&store).await;
    assert!(one.root.stop(Duration::from_secs(1)).await);
    settle().await;
    drop(one.sessions);
    settle().await;
    assert_eq!(Arc::strong_count(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_changes_are_followed_makes_no_memory_stale() {
    let (store, one, two) = two_replicas().await;
    one.pin(&key(), "a", TTL, None).await;
    assert_eq!(two.recall(&key(), TTL).await, recalled("a", true));
    settle().await;
    store.set_panicking();
    let other = SessionKey::new("t", "chat", "session-2");
    one.pin(&other, "b", TTL, None).await;
    settle().await;
    let fallen = if one.is_shared() { &two } else { &one };
    assert!(!fallen.is_shared(), "at once, and not when it is back");
    until_shared(fallen).await;
    let node = fallen.root.tree().children.remove(0);
    assert_eq!(
        (node.name.as_str(), &*node.status, node.restarts),
        ("sessions", "running", 1)
    );
    let reason = node.last_exit.unwrap();
    assert!(reason.contains("planned panic"), "{reason}");
    assert_eq!(fallen.recall(&other, TTL).await, recalled("b", true));
}

#[tokio::test(start_paused = true)]
async fn requests_in_the_same_breath_as_the_start_find_the_store_open() {
    let store = MemorySessions::new();
    let one = start(&store).await;
    assert_eq!(one.pin(&key(), "a", TTL, None).await, pinned("a", true));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_killed_makes_no_memory_stale() {
    let store = MemorySessions::new();
    let one = replica(&store).await;
    one.root.node().find("sessions").unwrap().kill();
    settle().await;
    assert!(!one.is_shared(), "at once, and not when it is back");
    until_shared(&one).await;
}
