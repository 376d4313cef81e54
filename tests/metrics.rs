//! What `/metrics` shows is what `docs/metrics.md` says, and ends with what it is about.

use std::collections::{BTreeMap, BTreeSet};

use beamline_extension::Kind;
use beamline_test_support::{LIMIT, Routing, eventually, request, request_with};
use serde_json::json;

const PAGE: &str = include_str!("../docs/metrics.md");

/// Labels by name and type, as the page has them.
fn described() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').map(str::trim);
        let name = cells.next().expect("a name").trim_matches('`').to_owned();
        let kind = cells.next().expect("a type").to_owned();
        let labels = cells.next().expect("labels").split(", ");
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        (
            name,
            (kind, labels.filter(|label| !label.is_empty()).collect()),
        )
    })
    .collect()
}

/// The name of a sample, and its labels.
fn sample(line: &str) -> (&str, BTreeSet<String>) {
    let (series, _value) = line.rsplit_once(' ').expect("a value");
    let Some((name, labels)) = series.split_once('{') else {
        return (series, BTreeSet::new());
    };
    let pairs = labels.trim_end_matches('}').split("\",");
    let names = pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(label, _)| label.to_owned());
    (name, names.collect())
}

async fn metrics(routing: &Routing) -> String {
    routing.router.get("/metrics").await.expect("metrics").1
}

#[tokio::test]
async fn every_sample_is_described_with_its_labels() {
    let routing = Routing::start(&[("telemetry.tenant_label", "true")]).await;
    let policy = json!({
        "validators": [{"id": "guard", "on_fail": "block"}],
        "providers": [{"name": "first", "weight": 1}],
        "fallbacks": [{"when": {"status": "5xx"}, "to": "second"}],
        "sticky": {"enabled": true, "session_key": "session", "ttl": "10m"},
    });
    let _guard = routing
        .extension(Kind::Validator, "guard", json!({}), r#"{"status": "ok"}"#)
        .await;
    let _first = routing.broken("first").await;
    let _second = routing.provider("second").await;
    routing.gateway.policy("chat", &policy).await;
    for _ in 0..12 {
        let session = json!({"context": {"session": "s"}});
        routing.gateway.route(&request_with("chat", session)).await;
    }
    routing.gateway.route(&request("nothing")).await;
    let described = described();
    let text = eventually(LIMIT, "the last request is counted", async || {
        let text = metrics(&routing).await;
        let all = r#"router_request_duration_seconds_count{edge="nats",kind="route"} 13"#;
        text.contains(all).then_some(text)
    })
    .await;
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, mut labels) = sample(line);
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .filter(|base| {
                described
                    .get(*base)
                    .is_some_and(|(kind, _)| kind == "histogram")
            });
        let family = of_histogram.unwrap_or(name);
        labels.remove("le");
        let (_, expected) = described
            .get(family)
            .unwrap_or_else(|| panic!("{line} is not described"));
        assert_eq!(&labels, expected, "{line}");
        seen.insert(family.to_owned());
    }
    for name in [
        "router_requests_answered_total",
        "router_stage_duration_seconds",
        "router_tenant_requests_total",
        "router_fallbacks_total",
        "router_sessions_total",
        "extension_breaker_transitions_total",
        "router_build_info",
        "process_cpu_seconds_total",
    ] {
        assert!(seen.contains(name), "{name} is missing:\n{text}");
    }
    assert!(
        text.contains(r#"router_fallbacks_total{from="first",to="second"} "#),
        "{text}"
    );
    assert!(
        text.contains(r#"router_tenant_requests_total{tenant_id="acme",outcome="ok"} 12"#),
        "{text}"
    );
}

#[tokio::test]
async fn the_series_of_an_extension_end_with_it() {
    let routing = Routing::start(&[]).await;
    let _guard = routing
        .extension(Kind::Validator, "guard", json!({}), r#"{"status": "ok"}"#)
        .await;
    let _model = routing.provider("model").await;
    let policy =
        json!({"validators": [{"id": "guard", "on_fail": "block"}], "providers": ["model"]});
    routing.gateway.policy("chat", &policy).await;
    routing.gateway.route(&request("chat")).await;
    eventually(LIMIT, "the guard is counted", async || {
        let text = metrics(&routing).await;
        text.contains(r#"extension_requests_total{extension_id="guard""#)
            .then_some(())
    })
    .await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    routing
        .admin("delete_extension", json!({"id": "guard"}))
        .await;
    eventually(LIMIT, "its series are gone", async || {
        let text = metrics(&routing).await;
        (!text.contains(r#""guard""#)).then_some(())
    })
    .await;
    assert!(
        metrics(&routing)
            .await
            .contains(r#"extension_requests_total{extension_id="model""#)
    );
}

#[tokio::test]
async fn no_id_or_text_of_a_request_becomes_a_label() {
    let routing = Routing::start(&[]).await;
    let _model = routing.provider("model").await;
    routing
        .gateway
        .policy("chat", &json!({"providers": ["model"]}))
        .await;
    routing.gateway.route(&request("chat")).await;
    let before = metrics(&routing).await.lines().count();
    for number in 0..300 {
        let more = json!({
            "request_id": format!("request-{number}"), "tenant_id": format!("tenant-{number}"),
            "policy_id": format!("policy-{number}"), "context": {"session": number},
            "message": {"payload": number, "message_type": format!("type-{number}")},
        });
        routing.gateway.route(&request_with("chat", more)).await;
    }
    let after = metrics(&routing).await;
    // One outcome more, and the figures that a first failure brings.
    assert!(after.lines().count() <= before + 30, "{after}");
    for word in ["request-", "tenant-", "policy-", "type-"] {
        assert!(!after.contains(&format!("\"{word}")), "{word} in\n{after}");
    }
}
