//! Hints: "my breaker for this target has just opened". Who hears one needs fewer failures to open
//! its own.

use std::time::Duration;

use beamline_actors::targets::Transition;
use beamline_contract::control::{BREAKER, BreakerHint};
use beamline_domain::target::breaker::State;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

use super::envelope::Binding;
use super::{SEND_LIMIT, Shared};

/// Publishes every transition of this replica, as long as the bus is there: a hint that comes late
/// is worth nothing.
pub(super) async fn tell(shared: &Shared) {
    let mut transitions = shared.invokers.transitions();
    loop {
        let transition = match transitions.recv().await {
            Ok(transition) => transition,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if !shared.connection.is_connected() {
            continue;
        }
        let hint = hint_of(&transition, &shared.replica_id);
        let Ok(body) = serde_json::to_vec(&hint) else {
            continue;
        };
        let subject = shared.subject(BREAKER);
        let binding = Binding {
            subject: &subject,
            ..Binding::default()
        };
        let Some(stamp) = shared.signatures.stamp(binding, &body) else {
            continue;
        };
        let client = shared.connection.client();
        let sending = client.publish_with_headers(subject, stamp.headers, body.into());
        let sent = timeout(SEND_LIMIT, sending).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(
                extension_id = hint.extension_id,
                "a hint to the other replicas was not sent"
            );
        }
    }
}

/// Of an open breaker elsewhere this replica takes note; that one has closed, it finds out by
/// itself.
pub(super) fn take(shared: &Shared, replica: &str, payload: &[u8]) {
    let Some(hint) = read(payload, replica) else {
        return;
    };
    if hint.state != "open" {
        return;
    }
    let left = Duration::from_millis(hint.open_for_ms);
    if shared
        .invokers
        .heard_open(&hint.extension_id, &hint.subject, left)
    {
        let extension_id = &hint.extension_id;
        let subject = &hint.subject;
        tracing::debug!(
            extension_id,
            subject,
            replica,
            "another replica's breaker is open"
        );
    }
}

fn hint_of(transition: &Transition, replica_id: &str) -> BreakerHint {
    let left = match transition.state {
        State::Open { until } => until.saturating_duration_since(Instant::now().into_std()),
        State::Closed | State::HalfOpen => Duration::ZERO,
    };
    BreakerHint {
        replica_id: replica_id.to_owned(),
        extension_id: transition.extension_id.to_string(),
        subject: transition.subject.to_string(),
        state: transition.state.as_str().to_owned(),
        generation: transition.generation,
        open_for_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        class: transition.class.map(|class| class.to_string()),
    }
}

/// Nothing when it is not to be read, or speaks of another replica than its sender.
fn read(payload: &[u8], replica: &str) -> Option<BreakerHint> {
    serde_json::from_slice(payload)
        .ok()
        .filter(|hint: &BreakerHint| hint.replica_id == replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use beamline_contract::failure::FailureKind;

    #[test]
    fn a_hint_says_how_long_and_not_until_when() {
        let until = Instant::now().into_std() + Duration::from_secs(7);
        let transition = Transition {
            extension_id: "a \"strange\"\r\nid".into(),
            subject: "beamline.ext.pre.a.v1".into(),
            state: State::Open { until },
            generation: 3,
            class: Some(FailureKind::Quota),
        };
        let written = serde_json::to_vec(&hint_of(&transition, "r1")).expect("JSON");
        let hint = read(&written, "r1").expect("a hint");
        assert_eq!(
            (
                hint.extension_id.as_str(),
                hint.state.as_str(),
                hint.generation
            ),
            ("a \"strange\"\r\nid", "open", 3)
        );
        assert_eq!(hint.class, Some("quota".to_owned()));
        assert!((6_000..=7_000).contains(&hint.open_for_ms), "{hint:?}");
        assert!(read(&written, "r2").is_none(), "another's");
    }

    #[test]
    fn what_is_no_hint_is_passed_over() {
        for payload in [
            "",
            "{",
            "[]",
            "null",
            r#"{"replica_id": "r1"}"#,
            "\u{feff}{}",
            &"[".repeat(4_000),
        ] {
            assert!(read(payload.as_bytes(), "r1").is_none(), "{payload:.60}");
        }
        assert!(read(&[0xff, 0xfe], "r1").is_none());
    }
}
