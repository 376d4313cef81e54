//! The breakers: what they show, and what an operator decides about them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use beamline_actors::invokers::Invokers;
use beamline_actors::ports::{Author, Change};
use beamline_actors::registry::Registry;
use beamline_contract::control::ReplicaStatus;
use beamline_contract::fields::Fields;
use beamline_contract::record::{
    BreakerResets, ExtensionRecord, Isolation, OperatorDecision, OperatorState,
};
use beamline_domain::document::{Mistakes, Object};
use beamline_domain::snapshot::Snapshot;
use beamline_domain::target::breaker::{BreakerReading, Mode, Settings, State};
use beamline_domain::target::health::Figures;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use serde_json::{Map, Value, json};

mod fleet;
mod tenants;

use super::Shared;
use super::extensions::{find, save};
use super::operations::{answer, apart};
use super::refusal::Refusal;
use super::status::{Line, add_targets, by_extension, fields, wall_time};

/// Of one extension, or of all. With `fleet`, every line says how many replicas' breakers are open.
pub(super) async fn states(shared: &Arc<Shared>, body: &Fields) -> Result<Value, Refusal> {
    let id = body.text("id");
    let of_id = id.clone();
    let mut states = apart(shared, move |shared| states_here(shared, of_id.as_deref())).await?;
    if body.flag("fleet") != Some(true) {
        return Ok(json!({"ok": true, "states": states}));
    }
    let fleet = &shared.surroundings.fleet;
    let replicas = match &id {
        Some(id) => fleet.breakers_of(id).await,
        None => fleet.breakers().await,
    };
    fleet::add(&mut states, &replicas);
    let replica = |replica: &ReplicaStatus| json!({"replica_id": replica.replica_id, "revision": replica.revision});
    Ok(
        json!({"ok": true, "states": states, "replicas": replicas.iter().map(replica).collect::<Vec<_>>()}),
    )
}

fn states_here(shared: &Shared, id: Option<&str>) -> Result<Line, Refusal> {
    let wall = SystemTime::now();
    let line = |extension: &ExtensionRecord| {
        let invoker = shared.surroundings.invokers.find(&extension.id);
        let breaker = invoker
            .as_ref()
            .map_or_else(|| BreakerReading::over([]), |invoker| invoker.breaker());
        let figures = invoker
            .as_ref()
            .map(|invoker| *invoker.figures())
            .unwrap_or_default();
        let operator = extension
            .breaker_operator
            .as_ref()
            .filter(|operator| operator.left(wall).is_some());
        let mut line = line_of(&breaker, &figures, operator);
        line.insert("settings".into(), settings_of(extension));
        if extension.breaker.isolation == Some(Isolation::Tenant) {
            let targets = invoker
                .as_ref()
                .map(|invoker| invoker.targets())
                .unwrap_or_default();
            line.insert(
                "tenants".into(),
                tenants::counted(targets.iter().flat_map(|target| target.tenants())),
            );
        }
        add_targets(&mut line, extension, invoker.as_deref(), |target| {
            line_of(&target.breaker(), &target.figures(), operator)
        });
        line
    };
    by_extension(shared, id, line)
}

/// The fixed fields of the contract, and after them those that there is something to say about.
fn line_of(
    breaker: &BreakerReading,
    figures: &Figures,
    operator: Option<&OperatorDecision>,
) -> Line {
    let mode = Mode::of(operator, SystemTime::now());
    let mut line = fields(json!({
        "state": mode.effective(breaker.state),
        "opened_at": breaker.opened_at.map(wall_time),
        "failure_count": breaker.failures,
        "error_rate": figures.success_rate.map_or(0.0, |rate| 1.0 - rate),
    }));
    if let State::Open { until } = breaker.state {
        line.insert("until".into(), json!(wall_time_ahead(until)));
    }
    if let Some(last) = breaker.last {
        line.insert("reason".into(), json!(last.reason.to_string()));
        line.insert("reason_code".into(), json!(last.reason.as_str()));
        line.insert("last_opened_at".into(), json!(wall_time(last.at)));
    }
    if let Some(until) = breaker.suspect_until {
        line.insert("suspect_until".into(), json!(wall_time_ahead(until)));
    }
    if let Some(operator) = operator {
        line.insert("operator".into(), json!(operator));
        line.insert("measured_state".into(), json!(breaker.state.as_str()));
    }
    line
}

fn wall_time_ahead(at: Instant) -> String {
    let left = at.saturating_duration_since(Instant::now());
    humantime::format_rfc3339_millis(SystemTime::now() + left).to_string()
}

/// What the extension's record makes of the defaults; a policy may say otherwise for its own calls.
fn settings_of(extension: &ExtensionRecord) -> Value {
    let timeout = Duration::from_millis(extension.timeout_ms);
    let settings = Settings::new(extension.kind, timeout, &extension.breaker);
    let named = settings
        .shown()
        .into_iter()
        .map(|(name, number)| (name.to_owned(), json!(number)));
    let isolation = std::iter::once(("isolation".to_owned(), json!(settings.isolation)));
    Value::Object(named.chain(isolation).collect::<Map<_, _>>())
}

/// Ends an operator's decision, if there is one, and closes what is open or half open. The count in the registry reaches
/// every replica, also one that is away at this moment; who is there says so at once.
pub(super) async fn reset(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let (id, reason) = read_reset(body)?;
    let make = |snapshot: &Snapshot| {
        let known = find(snapshot, &id)?;
        let breaker_reset = Some(BreakerResets {
            count: known.breaker_resets() + 1,
            reason: reason.clone(),
        });
        let extension = ExtensionRecord {
            breaker_operator: None,
            breaker_reset,
            ..ExtensionRecord::clone(known)
        };
        Ok((Change::UpdateExtension(extension.clone()), extension))
    };
    let (revision, extension) = save(shared, by, make).await?;
    let (answered, closed) = closed_on(shared, &extension).await;
    answer(&json!({
        "ok": true,
        "revision": revision,
        "id": extension.id,
        "resets": extension.breaker_resets(),
        "replicas": {"answered": answered, "closed": closed},
    }))
}

/// How many replicas say something, and how many of them have followed the reset.
async fn closed_on(shared: &Shared, extension: &ExtensionRecord) -> (usize, usize) {
    let mut counted = (0, 0);
    for _ in 0..LOOKS {
        let replicas = shared.surroundings.fleet.breakers_of(&extension.id).await;
        let has_followed = |replica: &&ReplicaStatus| {
            let mut whole = replica
                .breakers
                .iter()
                .filter(|line| line.subject.is_none());
            whole.any(|line| {
                line.extension_id == extension.id && line.resets >= extension.breaker_resets()
            })
        };
        counted = (replicas.len(), replicas.iter().filter(has_followed).count());
        if counted.0 == counted.1 {
            break;
        }
    }
    counted
}

/// Other replicas hear of a change at once, or at their next poll, which nobody is kept waiting for.
const LOOKS: usize = 3;

fn read_reset(body: &Fields) -> Result<(String, String), Refusal> {
    let (json, mut mistakes) = (body.to_json(), Mistakes::default());
    let read = Object::parse(&json, &mut mistakes).and_then(|mut object| {
        let id = object.required_text("id", &mut mistakes);
        let reason = object.text("reason", &mut mistakes).unwrap_or_default();
        check_length(&reason, &mut mistakes);
        object.finish(RESET_KEYS, &mut mistakes);
        Some((id?, reason))
    });
    mistakes
        .into_result(read)
        .map_err(|mistakes| Refusal::mistakes("body", &mistakes))
}

fn check_length(reason: &str, mistakes: &mut Mistakes) {
    if reason.len() > MAX_REASON {
        mistakes.add(
            "/reason",
            format!("must be at most {MAX_REASON} bytes long"),
        );
    }
}

const RESET_KEYS: &[&str] = &["id", "reason", "api_key"];
const KEYS: &[&str] = &["id", "state", "for_ms", "reason", "api_key"];
/// The word for "as the breaker itself finds".
const NORMAL: &str = "normal";
const MAX_REASON: usize = 500;

/// Sets or ends an operator's decision. It is part of the registry, so that all replicas follow it and it is in the audit
/// log like any other change.
pub(super) async fn set(shared: &Shared, body: &Fields, by: Author) -> Result<String, Refusal> {
    let (id, operator) = read(body, SystemTime::now())?;
    let make = |snapshot: &Snapshot| {
        let known = find(snapshot, &id)?;
        let extension = ExtensionRecord {
            breaker_operator: operator.clone(),
            ..ExtensionRecord::clone(known)
        };
        Ok((Change::UpdateExtension(extension.clone()), extension))
    };
    let (revision, extension) = save(shared, by, make).await?;
    let state = operator
        .as_ref()
        .map_or(NORMAL, |operator| operator.state.as_str());
    answer(
        &json!({"ok": true, "revision": revision, "id": extension.id, "state": state, "operator": operator}),
    )
}

fn read(body: &Fields, wall: SystemTime) -> Result<(String, Option<OperatorDecision>), Refusal> {
    let (json, mut mistakes) = (body.to_json(), Mistakes::default());
    let read = Object::parse(&json, &mut mistakes)
        .and_then(|object| read_object(object, wall, &mut mistakes));
    mistakes
        .into_result(read)
        .map_err(|mistakes| Refusal::mistakes("body", &mistakes))
}

fn read_object(
    mut object: Object<'_>,
    wall: SystemTime,
    mistakes: &mut Mistakes,
) -> Option<(String, Option<OperatorDecision>)> {
    let id = object.required_text("id", mistakes);
    let words: Vec<(&str, Option<OperatorState>)> = std::iter::once((NORMAL, None))
        .chain(OperatorState::WORDS.map(|(word, state)| (word, Some(state))))
        .collect();
    if !object.has("state") {
        mistakes.add(
            "/state",
            "is required: normal, disabled, forced_open, metrics_only",
        );
    }
    let state = object.choice("state", &words, mistakes).flatten();
    let longest = u64::try_from(OperatorDecision::MAX_TIME.as_millis()).unwrap_or(u64::MAX);
    let time = object
        .milliseconds("for_ms", 1_000..=longest, mistakes)
        .unwrap_or(OperatorDecision::DEFAULT_TIME);
    let reason = object.text("reason", mistakes).unwrap_or_default();
    if state.is_some() && reason.trim().is_empty() {
        mistakes.add(
            "/reason",
            "is required: say why, for whoever finds it like this",
        );
    }
    check_length(&reason, mistakes);
    object.finish(KEYS, mistakes);
    // As it comes back from the store.
    let since = wall
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        + time;
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
    Some((
        id?,
        state.map(|state| OperatorDecision {
            state,
            until,
            reason,
        }),
    ))
}

/// `extension_breaker_state` of every extension that was called or decided about.
#[derive(Debug)]
pub(super) struct Gauge {
    pub(super) registry: Registry,
    pub(super) invokers: Invokers,
}

impl Collector for Gauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let wall = SystemTime::now();
        let help = "What the next call meets: 0 closed, 1 half open, 2 open";
        let mut family =
            encoder.encode_descriptor("extension_breaker_state", help, None, MetricType::Gauge)?;
        for extension in self.registry.snapshot().extensions() {
            let operator = extension.breaker_operator.as_ref();
            let mode = Mode::of(operator, wall);
            let invoker = self.invokers.find(&extension.id);
            if invoker.is_none() && mode == Mode::Normal {
                continue;
            }
            let measured = invoker.map_or(State::Closed, |invoker| invoker.breaker().state);
            let number: i64 = match mode.effective(measured) {
                "closed" => 0,
                "half_open" => 1,
                _ => 2,
            };
            family
                .encode_family(&[("extension_id", extension.id.as_str())])?
                .encode_gauge(&number)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(body: &str) -> Vec<String> {
        let refused =
            read(&Fields::parse(body).expect("JSON"), SystemTime::now()).expect_err("a refusal");
        let refused: Value = serde_json::from_str(&refused.to_json()).expect("JSON");
        let mistakes = refused["error"]["details"]["mistakes"]
            .as_array()
            .expect("a list")
            .clone();
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
            read(&Fields::parse(&body).expect("JSON"), wall)
                .expect("a decision")
                .1
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
}
