//! The mixed traffic of a scenario: which requests there are, and the policies and extensions
//! behind them.

use std::time::Duration;

use beamline_test_support::Gateway;
use serde_json::{Value, json};

use crate::load::class_id;

/// What every caller has.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// Requests of one sort.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) tenant: &'static str,
    pub(crate) policy: &'static str,
}

impl Class {
    const fn route(name: &'static str) -> Self {
        Self {
            name,
            operation: "route",
            tenant: "acme",
            policy: name,
        }
    }

    pub(crate) fn request(&self, number: usize) -> Value {
        json!({
            "version": "1", "tenant_id": self.tenant, "request_id": class_id(number), "policy_id": self.policy,
            "timeout_ms": u64::try_from(DEADLINE.as_millis()).unwrap_or(u64::MAX),
            "message": {"message_id": "m-1", "message_type": "chat", "payload": "hello", "metadata": {}},
        })
    }
}

/// All four roles, all of them needed; the provider is `model`.
pub(crate) const PIPELINE: Class = Class::route("pipeline");
/// `model`, and `spare` when it fails.
pub(crate) const FALLBACK: Class = Class::route("fallback");
/// A pre-processor that may fail before a provider that is never broken.
pub(crate) const OPTIONAL: Class = Class::route("optional");
/// Nothing of this is ever broken.
pub(crate) const BYSTANDER: Class = Class::route("bystander");
/// The spare provider by itself; no load has it.
pub(crate) const RESERVE: Class = Class::route("reserve");
/// A choice without a call.
pub(crate) const DECISION: Class = Class {
    name: "decision",
    operation: "decide",
    tenant: "acme",
    policy: "pipeline",
};

pub(crate) const MIXED: &[Class] = &[PIPELINE, FALLBACK, OPTIONAL, BYSTANDER, DECISION];

/// What no answer and no log line may ever hold.
pub(crate) const CANARY: &str = "canary-0b5e55ed";

/// Registers everything that the mixed traffic needs. The extensions of the demo policy are there
/// already.
pub(crate) async fn register(gateway: &Gateway) {
    for id in ["normalize_text", "pii_guard", "mask_pii"] {
        let quick = json!({"id": id, "timeout_ms": 400});
        let answer = gateway.admin("update_extension", &quick).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    for id in ["model", "spare", "steady"] {
        gateway
            .register(
                "provider",
                id,
                json!({"timeout_ms": 400, "config": {"token": CANARY}}),
            )
            .await;
    }
    gateway.policy("pipeline", &pipeline()).await;
    let when =
        json!({"status": ["timeout", "5xx", "error", "no_responders", "circuit_breaker_open"]});
    let fallback =
        json!({"providers": [{"name": "model"}], "fallbacks": [{"when": when, "to": "spare"}]});
    gateway.policy("fallback", &fallback).await;
    let optional = json!({"pre": [{"id": "normalize_text", "mode": "optional"}], "providers": [{"name": "steady"}]});
    gateway.policy("optional", &optional).await;
    gateway
        .policy("bystander", &json!({"providers": [{"name": "steady"}]}))
        .await;
    gateway
        .policy("reserve", &json!({"providers": [{"name": "spare"}]}))
        .await;
}

pub(crate) fn pipeline() -> Value {
    json!({
        "pre": [{"id": "normalize_text", "mode": "required"}],
        "validators": [{"id": "pii_guard", "on_fail": "block"}],
        "providers": [{"name": "model"}],
        "post": [{"id": "mask_pii", "mode": "required"}],
    })
}
