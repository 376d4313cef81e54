//! What a write of an extension or a policy is answered besides that it was made.

use beamline_extension::Kind;
use beamline_test_support::{Routing, Stub, lines, request};
use serde_json::{Value, json};

async fn serve_v2(routing: &Routing) -> Stub {
    let subject = "beamline.provider.model.v2";
    let answer = r#"{"output": "v2"}"#;
    Stub::at(&routing.nats, subject, Kind::Provider, "model", answer).await
}

#[tokio::test]
async fn what_is_saved_but_hardly_meant_is_warned_of() {
    let routing = Routing::start(&[("router.max_extra_attempts", "1")]).await;
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    let save = async |rules: Value| {
        let body = json!({"id": "model", "versions": [{"version": "v2", "routing_rules": rules}]});
        let saved = routing.gateway.admin("update_extension", &body).await;
        assert_eq!(saved["ok"], true, "{saved}");
        lines(&saved["warnings"], &["pointer"])
    };
    let rule = json!({"tenant_di": "acme"});
    let slip = "/versions/0/routing_rules/tenant_di";
    assert_eq!(save(rule.clone()).await, [slip, "/versions/0/subject"]);
    let _v2 = serve_v2(&routing).await;
    assert_eq!(save(rule).await, [slip]);
    let saved = json!({"id": "model", "versions": [{"version": "v2", "routing_rules": {"tenant": "acme"}}]});
    let saved = routing.gateway.admin("update_extension", &saved).await;
    assert!(saved.get("warnings").is_none(), "{saved}");

    for id in ["second", "third"] {
        routing.gateway.register("provider", id, json!({})).await;
    }
    let policy = json!({"providers": ["model", "second", "third"]});
    let put = json!({"tenant_id": "acme", "policy_id": "long", "policy": policy});
    let saved = routing.gateway.admin("put_policy", &put).await;
    assert_eq!(
        lines(&saved["warnings"], &["pointer"]),
        ["/providers"],
        "{saved}"
    );
}

#[tokio::test]
async fn a_change_of_what_others_changed_meanwhile_is_a_conflict() {
    let routing = Routing::start(&[]).await;
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    let seen = routing.admin("get_extension", json!({"id": "model"})).await["revision"].clone();
    let change = |retry: u32| json!({"id": "model", "retry": retry, "if_revision": seen});
    routing
        .gateway
        .register("provider", "other", json!({}))
        .await;
    let first = routing.gateway.admin("update_extension", &change(1)).await;
    assert_eq!(
        first["ok"], true,
        "another object has changed only: {first}"
    );
    let second = routing.gateway.admin("update_extension", &change(2)).await;
    assert_eq!(second["error"]["code"], "conflict", "{second}");
    let same = routing.gateway.admin("update_extension", &change(1)).await;
    assert_eq!(
        same["error"]["code"], "conflict",
        "also when it is so already: {same}"
    );
    let wrong = r#"{"id": "model", "if_revision": "7"}"#;
    let wrong = routing
        .gateway
        .send("admin.update_extension", wrong, &[])
        .await
        .json;
    assert_eq!(wrong["error"]["code"], "invalid_request", "{wrong}");
}

#[tokio::test]
async fn of_twenty_changes_at_once_nineteen_are_told_and_none_is_lost() {
    let routing = Routing::start(&[]).await;
    routing
        .gateway
        .register("provider", "model", json!({}))
        .await;
    let put = |name: &str, weight: u32, seen: Value| {
        let policy = json!({"providers": [{"name": "model", "weight": weight}]});
        json!({"tenant_id": "acme", "policy_id": name, "policy": policy, "if_revision": seen})
    };
    let ask = async |body: Value| routing.gateway.admin("put_policy", &body).await;
    let first = ask(put("p", 1, json!(0))).await;
    assert_eq!(first["ok"], true, "there was none: {first}");
    let again = ask(put("p", 1, json!(0))).await;
    assert_eq!(again["error"]["code"], "conflict", "{again}");
    ask(put("other", 1, Value::Null)).await;

    let name = json!({"tenant_id": "acme", "policy_id": "p"});
    let read = routing.admin("get_policy", name.clone()).await;
    assert_eq!(read["policy_revision"], first["revision"], "{read}");
    let changes = (2..22).map(|weight| ask(put("p", weight, read["revision"].clone())));
    let answers = futures_util::future::join_all(changes).await;
    let saved = answers.iter().filter(|answer| answer["ok"] == true);
    assert_eq!(saved.count(), 1, "{answers:?}");
    let refused = answers.iter().filter(|answer| answer["ok"] == false);
    assert!(
        refused
            .into_iter()
            .all(|answer| answer["error"]["code"] == "conflict")
    );

    // What is deleted changed too; and it may be made anew by who knows that there is none.
    let seen = routing.admin("get_policy", name.clone()).await["revision"].clone();
    routing.admin("delete_policy", name).await;
    let late = ask(put("p", 30, seen)).await;
    assert_eq!(late["error"]["code"], "conflict", "{late}");
    assert_eq!(ask(put("p", 30, json!(0))).await["ok"], true);

    let list = routing
        .admin("list_policies", json!({"tenant_id": "acme"}))
        .await;
    assert!(list["policies"][0]["revision"].is_u64(), "{list}");
    let record = routing.admin("get_extension", json!({"id": "model"})).await;
    let own = record["extension"]["revision"].as_u64().expect("a number");
    assert!(
        own < record["revision"].as_u64().expect("a number"),
        "{record}"
    );
    let back = routing
        .gateway
        .admin("update_extension", &record["extension"])
        .await;
    assert_eq!(back["ok"], true, "what was read can be written: {back}");
}

#[tokio::test]
async fn a_provider_with_a_subject_may_have_colons_in_its_id() {
    let routing = Routing::start(&[]).await;
    let subject = "beamline.provider.openai.v1";
    let answer = r#"{"output": "hello"}"#;
    let _program = Stub::at(&routing.nats, subject, Kind::Provider, "openai", answer).await;
    let id = "openai:gpt-4o";
    let record = json!({"subject": subject});
    routing.gateway.register("provider", id, record).await;
    let policy = json!({"providers": [{"name": id, "weight": 1}]});
    routing.gateway.policy("chat", &policy).await;
    let answer = routing.gateway.route(&request("chat")).await;
    assert_eq!(answer["decision"]["provider_id"], id, "{answer}");
    assert_eq!(answer["response"]["output"], "hello", "{answer}");

    let without = r#"{"id": "a:b", "type": "provider"}"#;
    let refused = routing
        .gateway
        .send("admin.create_extension", without, &[])
        .await
        .json;
    assert_eq!(
        refused["error"]["details"]["mistakes"][0]["pointer"], "/id",
        "{refused}"
    );
    let near = json!({"id": "openai:gpt-4"});
    let unknown = routing.gateway.admin("get_extension", &near).await;
    let message = unknown["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.ends_with("Did you mean openai:gpt-4o?"),
        "{unknown}"
    );
}
