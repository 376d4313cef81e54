//! The rules of keys and pins, and what the cache may answer by itself.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::*;

const TTL: Duration = Duration::from_secs(100);
const NOW: u64 = 1_000_000;

fn key(session: &str) -> SessionKey {
    SessionKey::new("t", "p", session)
}

fn pin(provider: &str) -> Pin {
    Pin::new(provider, NOW, TTL)
}

fn stored(provider: &str, revision: u64) -> Stored {
    Stored {
        pin: pin(provider),
        revision,
    }
}

fn cache(capacity: usize) -> SessionCache {
    SessionCache::new(NonZeroUsize::new(capacity).unwrap())
}

fn sharing() -> SessionCache {
    let mut cache = cache(10);
    cache.share();
    cache
}

fn known(provider: &str) -> Look {
    Look::Known {
        provider: provider.to_owned(),
        renewal_due: false,
    }
}

#[test]
fn a_key_tells_tenant_policy_and_session_apart_and_says_none_of_them() {
    let parts = [
        ("t", "p", "s"),
        ("tp", "", "s"),
        ("t", "ps", ""),
        ("", "tp", "s"),
        ("t", "", "ps"),
        ("t", "p", "s2"),
    ];
    let keys: Vec<SessionKey> = parts
        .iter()
        .map(|(t, p, s)| SessionKey::new(t, p, s))
        .collect();
    for (at, one) in keys.iter().enumerate() {
        assert!(
            keys[at + 1..].iter().all(|other| other != one),
            "{:?}",
            parts[at]
        );
    }
    assert_eq!(key("user@example.com"), key("user@example.com"));
    assert_eq!(SessionKey::parse(key("s").as_str()), Some(key("s")));
    for odd in [
        "",
        "s",
        &"A".repeat(32),
        &"0".repeat(31),
        &"0".repeat(33),
        "0000000000000000000000000000000\u{df}",
    ] {
        assert_eq!(SessionKey::parse(odd), None, "{odd}");
    }
}

#[test]
fn a_key_stays_the_same_from_version_to_version() {
    // Replicas of two versions share one bucket during an update.
    assert_eq!(
        SessionKey::new("acme", "chat", "user-1").as_str(),
        "865030b1c7fd60131b335042608a0151"
    );
}

#[test]
fn a_pin_lives_until_its_time_and_is_renewed_after_a_tenth_of_it() {
    let pin = pin("a");
    assert!(pin.is_live(NOW) && pin.is_live(NOW + 99_999) && !pin.is_live(NOW + 100_000));
    assert!(!pin.is_renewal_due(NOW + 9_999, TTL) && pin.is_renewal_due(NOW + 10_000, TTL));
    assert!(pin.keeps(None, NOW) && pin.keeps(Some("b"), NOW) && !pin.keeps(Some("a"), NOW));
    assert!(!pin.keeps(None, NOW + 100_000));
    assert!(!Pin::dead().is_live(0) && Pin::new("a", u64::MAX, TTL).expires_at_ms == u64::MAX);
}

#[test]
fn what_was_read_under_a_followed_store_is_known() {
    let mut cache = sharing();
    assert_eq!(cache.look(&key("s"), NOW, TTL), Look::Ask);
    cache.insert(&key("s"), stored("a", 1), cache.epoch());
    assert_eq!(cache.look(&key("s"), NOW, TTL), known("a"));
    let due = Look::Known {
        provider: "a".into(),
        renewal_due: true,
    };
    assert_eq!(cache.look(&key("s"), NOW + 10_000, TTL), due);
    assert_eq!(
        cache.look(&key("s"), NOW + 100_000, TTL),
        Look::Ask,
        "somebody else may have renewed it"
    );
}

#[test]
fn a_lost_store_makes_everything_doubtful_and_forgets_nothing() {
    let mut cache = sharing();
    cache.insert(&key("s"), stored("a", 1), cache.epoch());
    cache.unshare();
    assert_eq!(
        cache.look(&key("s"), NOW, TTL),
        Look::Alone(Some("a".into()))
    );
    assert_eq!(cache.look(&key("other"), NOW, TTL), Look::Alone(None));
    cache.share();
    assert_eq!(cache.look(&key("s"), NOW, TTL), Look::Ask);
    assert_eq!(cache.peek(&key("s")), Some((&pin("a"), Some(1))));
}

#[test]
fn an_answer_to_a_question_from_before_the_loss_is_doubtful() {
    let mut cache = sharing();
    let before = cache.epoch();
    cache.unshare();
    cache.share();
    cache.insert(&key("s"), stored("a", 1), before);
    assert_eq!(cache.look(&key("s"), NOW, TTL), Look::Ask);
    cache.insert(&key("s"), stored("b", 2), cache.epoch());
    cache.insert(&key("s"), stored("a", 1), before);
    assert_eq!(
        cache.look(&key("s"), NOW, TTL),
        known("b"),
        "the late answer is older"
    );
}

#[test]
fn changes_are_taken_in_the_order_of_the_store() {
    let mut cache = sharing();
    cache.follow(&key("s"), stored("a", 5));
    assert_eq!(
        cache.look(&key("s"), NOW, TTL),
        known("a"),
        "another replica's session may come here next"
    );
    cache.insert(&key("s"), stored("old", 4), cache.epoch());
    cache.follow(&key("s"), stored("old", 5));
    assert_eq!(cache.look(&key("s"), NOW, TTL), known("a"));
    cache.follow(&key("s"), stored("b", 6));
    assert_eq!(cache.look(&key("s"), NOW, TTL), known("b"));
    cache.follow(
        &key("s"),
        Stored {
            pin: Pin::dead(),
            revision: 7,
        },
    );
    assert_eq!(cache.look(&key("s"), NOW, TTL), Look::Ask, "it was deleted");
}

#[test]
fn a_store_that_was_made_anew_counts_from_the_start() {
    let mut cache = sharing();
    cache.insert(&key("s"), stored("a", 90), cache.epoch());
    cache.unshare();
    cache.share();
    cache.insert(&key("s"), stored("b", 1), cache.epoch());
    assert_eq!(cache.look(&key("s"), NOW, TTL), known("b"));
}

#[test]
fn alone_the_first_provider_keeps_the_session_unless_it_cannot_be_called() {
    let mut cache = cache(10);
    let at = |ms: u64| Pin::new("b", NOW + ms, TTL);
    assert_eq!(cache.pin_alone(&key("s"), pin("a"), None, NOW), "a");
    assert_eq!(cache.pin_alone(&key("s"), at(1), None, NOW + 1), "a");
    assert_eq!(cache.pin_alone(&key("s"), at(1), Some("c"), NOW + 1), "a");
    assert_eq!(cache.pin_alone(&key("s"), at(1), Some("a"), NOW + 1), "b");
    assert_eq!(
        cache.pin_alone(&key("s"), pin("a"), None, NOW + 100_001),
        "a",
        "b's time was up"
    );
}

#[test]
fn alone_a_request_renews_its_session() {
    let mut cache = cache(10);
    cache.pin_alone(&key("s"), pin("a"), None, NOW);
    assert_eq!(
        cache.look(&key("s"), NOW + 60_000, TTL),
        Look::Alone(Some("a".into()))
    );
    assert_eq!(
        cache.look(&key("s"), NOW + 120_000, TTL),
        Look::Alone(Some("a".into()))
    );
    assert_eq!(cache.look(&key("s"), NOW + 220_000, TTL), Look::Alone(None));
}

#[test]
fn one_request_renews_and_the_others_see_it_done() {
    let mut cache = sharing();
    cache.insert(&key("s"), stored("a", 3), cache.epoch());
    assert_eq!(cache.renew(&key("s"), NOW + 9_999, TTL), None, "too early");
    let renewed = Stored {
        pin: Pin::new("a", NOW + 50_000, TTL),
        revision: 3,
    };
    assert_eq!(cache.renew(&key("s"), NOW + 50_000, TTL), Some(renewed));
    assert_eq!(cache.renew(&key("s"), NOW + 50_000, TTL), None);
    assert_eq!(
        cache.look(&key("s"), NOW + 120_000, TTL),
        Look::Known {
            provider: "a".into(),
            renewal_due: true
        }
    );
    cache.doubt(&key("s"), 2);
    assert_ne!(
        cache.look(&key("s"), NOW + 50_000, TTL),
        Look::Ask,
        "another revision"
    );
    cache.doubt(&key("s"), 3);
    assert_eq!(cache.look(&key("s"), NOW + 50_000, TTL), Look::Ask);
}

#[test]
fn the_longest_unused_session_is_forgotten_first() {
    let mut cache = cache(2);
    cache.share();
    for (revision, session) in (1..).zip(["one", "two"]) {
        cache.insert(&key(session), stored("a", revision), cache.epoch());
    }
    cache.look(&key("one"), NOW, TTL);
    cache.follow(&key("three"), stored("a", 3));
    assert_eq!(cache.look(&key("two"), NOW, TTL), Look::Ask);
    assert_eq!(cache.look(&key("one"), NOW, TTL), known("a"));
    assert_eq!(cache.look(&key("three"), NOW, TTL), known("a"));
}
