//! What an operator decides about the breakers of an extension. It is part of the registry, so that
//! all replicas follow it and it is in the audit log like any other change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_contract::admin::{BreakerReset, BreakerSet, ReplicasReset, ResetBreaker, SetBreaker};
use beamline_contract::control::ReplicaStatus;
use beamline_contract::fields::Fields;
use beamline_contract::limits::{DECISION_MS, MAX_REASON};
use beamline_contract::record::{BreakerResets, ExtensionRecord, OperatorDecision, OperatorState};
use beamline_domain::document::{Mistakes, Object};

use super::decision;
use crate::admin::body::read_document;
use crate::admin::caller::Caller;
use crate::admin::changes::update;
use crate::admin::operation::{Perform, WaitsFor};
use crate::admin::refusal::Refusal;
use crate::admin::surroundings::Surroundings;

const SET_KEYS: &[&str] = &["id", "state", "for_ms", "reason"];
const RESET_KEYS: &[&str] = &["id", "reason"];
/// Other replicas hear of a change at once, or at their next poll, which nobody is kept waiting
/// for.
const LOOKS: usize = 3;

impl Perform for SetBreaker {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        read_document(body, "body", read_set)
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<BreakerSet, Refusal> {
        let operator = operator_of(&self, SystemTime::now());
        let edit = |known: &ExtensionRecord| {
            Ok(ExtensionRecord {
                breaker_operator: operator.clone(),
                ..known.clone()
            })
        };
        let (revision, extension) = update(all, caller, &self.id, edit).await?;
        Ok(BreakerSet {
            ok: true,
            revision,
            id: extension.id,
            state: self.state,
            operator: operator.as_ref().map(decision),
        })
    }
}

fn read_set(mut object: Object<'_>, mistakes: &mut Mistakes) -> Option<SetBreaker> {
    let id = object.required_text("id", mistakes);
    if !object.has("state") {
        let states = SetBreaker::STATES.join(", ");
        mistakes.add("/state", format!("is required: {states}"));
    }
    let words = SetBreaker::STATES.map(|word| (word, word));
    let state = object.choice("state", &words, mistakes);
    let time = object.milliseconds("for_ms", DECISION_MS, mistakes);
    let reason = object.text("reason", mistakes).unwrap_or_default();
    if state.is_some_and(|state| state != SetBreaker::NORMAL) && reason.trim().is_empty() {
        mistakes.add(
            "/reason",
            "is required: say why, for whoever finds it like this",
        );
    }
    check_reason(&reason, mistakes);
    object.finish(SET_KEYS, mistakes);
    Some(SetBreaker {
        id: id?,
        state: state?.into(),
        for_ms: time.and_then(|time| u64::try_from(time.as_millis()).ok()),
        reason,
    })
}

/// Nothing when a decision is ended.
fn operator_of(request: &SetBreaker, wall: SystemTime) -> Option<OperatorDecision> {
    let (_, state) = OperatorState::WORDS
        .into_iter()
        .find(|(word, _)| *word == request.state)?;
    let time = request
        .for_ms
        .map_or(OperatorDecision::DEFAULT_TIME, Duration::from_millis);
    let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH);
    let until = since_epoch.unwrap_or_default() + time;
    Some(OperatorDecision {
        state,
        // Whole seconds, as it comes back from the store.
        until: SystemTime::UNIX_EPOCH + Duration::from_secs(until.as_secs()),
        reason: request.reason.clone(),
    })
}

fn check_reason(reason: &str, mistakes: &mut Mistakes) {
    if reason.len() > MAX_REASON {
        mistakes.add(
            "/reason",
            format!("must be at most {MAX_REASON} bytes long"),
        );
    }
}

/// Closes what is open or half open. The count in the registry reaches every replica, also one that
/// is away at this moment; who is there says so at once.
impl Perform for ResetBreaker {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        read_document(body, "body", read_reset)
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<BreakerReset, Refusal> {
        let edit = |known: &ExtensionRecord| {
            Ok(ExtensionRecord {
                breaker_operator: None,
                breaker_reset: Some(BreakerResets {
                    count: known.breaker_resets() + 1,
                    reason: self.reason.clone(),
                }),
                ..known.clone()
            })
        };
        let (revision, extension) = update(all, caller, &self.id, edit).await?;
        let replicas = closed_on(all, &extension).await;
        Ok(BreakerReset {
            ok: true,
            revision,
            resets: extension.breaker_resets(),
            id: extension.id,
            replicas,
        })
    }
}

fn read_reset(mut object: Object<'_>, mistakes: &mut Mistakes) -> Option<ResetBreaker> {
    let id = object.required_text("id", mistakes);
    let reason = object.text("reason", mistakes).unwrap_or_default();
    check_reason(&reason, mistakes);
    object.finish(RESET_KEYS, mistakes);
    Some(ResetBreaker { id: id?, reason })
}

/// How many replicas say something, and how many of them have followed the reset.
async fn closed_on(all: &Surroundings, extension: &ExtensionRecord) -> ReplicasReset {
    let mut counted = ReplicasReset {
        answered: 0,
        closed: 0,
    };
    for _ in 0..LOOKS {
        let replicas = all.replicas.breakers(Some(&extension.id)).await;
        counted = ReplicasReset {
            answered: replicas.len(),
            closed: replicas
                .iter()
                .filter(|replica| has_followed(replica, extension))
                .count(),
        };
        if counted.answered == counted.closed {
            break;
        }
    }
    counted
}

fn has_followed(replica: &ReplicaStatus, extension: &ExtensionRecord) -> bool {
    let mut of_whole_extensions = replica
        .breakers
        .iter()
        .filter(|breaker| breaker.subject.is_none());
    of_whole_extensions.any(|breaker| {
        breaker.extension_id == extension.id && breaker.resets >= extension.breaker_resets()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<SetBreaker, Refusal> {
        SetBreaker::read(&Fields::parse(body).expect("JSON"))
    }

    fn places(body: &str) -> Vec<String> {
        let refused = read(body).expect_err("a refusal").body().details;
        let mistakes = refused["mistakes"].as_array().expect("a list").clone();
        mistakes
            .iter()
            .map(|mistake| mistake["pointer"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn a_decision_needs_a_state_a_reason_and_an_end() {
        assert_eq!(places("{}"), ["/id", "/state"]);
        assert_eq!(
            places(r#"{"id": "a", "state": "forced_open"}"#),
            ["/reason"]
        );
        assert_eq!(
            places(r#"{"id": "a", "state": "open", "reason": "x"}"#),
            ["/state"]
        );
        let day =
            r#"{"id": "a", "state": "disabled", "reason": "x", "for_ms": 86400001, "fro_ms": 1}"#;
        assert_eq!(places(day), ["/for_ms", "/fro_ms"]);
    }

    #[test]
    fn a_decision_holds_for_an_hour_unless_somebody_says_otherwise() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_999);
        let decided = |more: &str| {
            let body = format!(r#"{{"id": "a", "reason": "a trial", {more}}}"#);
            operator_of(&read(&body).expect("a decision"), wall)
        };
        let left = |operator: OperatorDecision| {
            operator
                .until
                .duration_since(SystemTime::UNIX_EPOCH)
                .expect("later")
                .as_secs()
        };
        assert_eq!(
            left(decided(r#""state": "disabled""#).expect("one")),
            1_000 + 3_600
        );
        assert_eq!(
            left(decided(r#""state": "metrics_only", "for_ms": 60000"#).expect("one")),
            1_000 + 60
        );
        assert_eq!(decided(r#""state": "normal""#), None);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let set = SetBreaker {
            id: "a".into(),
            state: "forced_open".into(),
            for_ms: Some(5_000),
            reason: "a trial".into(),
        };
        assert_eq!(
            read(&serde_json::to_string(&set).expect("JSON")).expect("one"),
            set
        );
        let reset = ResetBreaker {
            id: "a".into(),
            reason: "mended".into(),
        };
        let fields = Fields::parse(&serde_json::to_string(&reset).expect("JSON")).expect("JSON");
        assert_eq!(ResetBreaker::read(&fields).expect("one"), reset);
    }
}
