//! Every operation by its name, the last token of its subject.

use std::sync::Arc;

use async_nats::Message;
use beamline_actors::ports::Author;
use beamline_bus::headers;
use beamline_contract::fields::Fields;
use beamline_contract::{header, subject};
use beamline_domain::document::{Mistakes, Object};
use serde::Serialize;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::refusal::Refusal;
use super::{Shared, authorization, breakers, extensions, pipelines, policies, status};

const KNOWN: &str = "get_extension_health, get_circuit_breaker_states, list_extensions, get_extension, create_extension, \
    update_extension, delete_extension, enable_extension, disable_extension, list_policies, get_policy, put_policy, \
    delete_policy, dry_run_pipeline, get_pipeline_complexity, reload, supervision_tree, set_breaker, reset_breaker";

/// No extension is told of in fewer bytes.
const SHORTEST_LINE: usize = 100;

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// For nothing but memory, and at most for the word of other replicas.
    Nobody,
    Extensions,
    Store,
}

pub(super) fn waits_for(operation: &str) -> WaitsFor {
    match operation {
        "reload" => WaitsFor::Store,
        "dry_run_pipeline" => WaitsFor::Extensions,
        operation if changes(operation) => WaitsFor::Store,
        _ => WaitsFor::Nobody,
    }
}

/// Whether the registry may be another one after it.
pub(super) fn changes(operation: &str) -> bool {
    [
        "create_", "update_", "delete_", "enable_", "disable_", "put_", "set_", "reset_",
    ]
    .iter()
    .any(|verb| operation.starts_with(verb))
}

/// The last token of the subject.
pub(super) fn name(message: &Message) -> &str {
    subject::last_token(&message.subject)
}

/// The answer to one request, as JSON.
pub(super) async fn run(shared: &Arc<Shared>, message: &Message) -> String {
    attempt(shared, message)
        .await
        .unwrap_or_else(|refusal| refusal.to_json())
}

async fn attempt(shared: &Arc<Shared>, message: &Message) -> Result<String, Refusal> {
    let body = read_body(&message.payload)?;
    authorization::check(shared.surroundings.api_key.as_ref(), message, &body)?;
    let by = author(message);
    let operation = name(message);
    match operation {
        "get_extension_health" => {
            let id = body.text("id");
            apart(shared, move |shared| {
                answer(&status::health(shared, id.as_deref())?)
            })
            .await
        }
        "get_circuit_breaker_states" => answer(&breakers::states(shared, &body).await?),
        "set_breaker" => breakers::set(shared, &body, by).await,
        "reset_breaker" => breakers::reset(shared, &body, by).await,
        "supervision_tree" => answer(&status::tree(shared)),
        "list_extensions" => apart(shared, move |shared| extensions::list(shared, &body)).await,
        "get_extension" => extensions::get(shared, &body),
        "create_extension" => extensions::create(shared, &body, by).await,
        "update_extension" => extensions::update(shared, &body, by).await,
        "enable_extension" => extensions::set_enabled(shared, &body, true, by).await,
        "disable_extension" => extensions::set_enabled(shared, &body, false, by).await,
        "delete_extension" => extensions::delete(shared, &body, by).await,
        "list_policies" => policies::list(shared, &body),
        "get_policy" => policies::get(shared, &body),
        "put_policy" => policies::put(shared, &body, by).await,
        "delete_policy" => policies::delete(shared, &body, by).await,
        "reload" => {
            let revision = shared.surroundings.registry.reload_fully().await?;
            answer(&json!({"ok": true, "revision": revision}))
        }
        "dry_run_pipeline" => pipelines::dry_run(shared, &body).await,
        "get_pipeline_complexity" => pipelines::complexity(shared, &body),
        _ => Err(Refusal::invalid(format!(
            "There is no operation {operation}; there are {KNOWN}."
        ))),
    }
}

/// What looks at every extension, on a thread of its own: requests need the others meanwhile.
pub(super) async fn apart<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let shared = Arc::clone(shared);
    spawn_blocking(move || work(&shared))
        .await
        .map_err(|lost| Refusal::internal(&lost.to_string()))?
}

/// Refuses what cannot fit into one message before it is put together.
pub(super) fn check_length(shared: &Shared, extensions: usize) -> Result<(), Refusal> {
    let largest = shared.surroundings.connection.client().max_payload();
    let least = extensions.saturating_mul(SHORTEST_LINE);
    if least > largest {
        Err(Refusal::too_long(least, largest))
    } else {
        Ok(())
    }
}

/// An object, or nothing at all.
fn read_body(payload: &[u8]) -> Result<Fields, Refusal> {
    if payload.is_empty() {
        return Ok(Fields::default());
    }
    let json = std::str::from_utf8(payload)
        .map_err(|_| Refusal::invalid("The body is not valid UTF-8."))?;
    let mut mistakes = Mistakes::default();
    let object = Object::parse(json, &mut mistakes);
    let fields = object.and_then(|_| Fields::parse(json).ok());
    mistakes
        .into_result(fields)
        .map_err(|mistakes| Refusal::mistakes("body", &mistakes))
}

/// An answer, written straight from what it holds: through a `Value`, documents would lose digits and their layout.
pub(super) fn answer(answer: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(answer).map_err(|error| Refusal::internal(&error.to_string()))
}

/// The text of a required key.
pub(super) fn required(body: &Fields, key: &str) -> Result<String, Refusal> {
    body.text(key)
        .ok_or_else(|| Refusal::invalid(format!("/{key} is required and must be a string.")))
}

fn author(message: &Message) -> Author {
    let text = |name| {
        message
            .headers
            .as_ref()
            .and_then(|all| headers::text(all, name))
            .map(str::to_owned)
    };
    Author {
        source: "nats-admin".into(),
        actor: text(header::ACTOR),
        trace_id: text(header::TRACE_ID),
        based_on: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_writes_or_reads_the_database_waits_for_it() {
        let of = |kind| {
            KNOWN
                .split(", ")
                .filter(|name| waits_for(name) == kind)
                .collect::<Vec<_>>()
        };
        let store = [
            "create_extension",
            "update_extension",
            "delete_extension",
            "enable_extension",
            "disable_extension",
            "put_policy",
            "delete_policy",
            "reload",
            "set_breaker",
            "reset_breaker",
        ];
        assert_eq!(of(WaitsFor::Store), store);
        assert_eq!(of(WaitsFor::Extensions), ["dry_run_pipeline"]);
        assert_eq!(of(WaitsFor::Nobody).len(), 8, "all the rest");
    }
}
