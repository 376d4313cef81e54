//! Gateways that are bound to tenants by NATS permissions, and try others.

use beamline_extension::{CallContext, Completion, Extension, Failure, Prompt};
use beamline_test_support::{Gateway, Nats, RouterProcess, request_with, serve};
use serde_json::json;

async fn echo(_: Prompt, call: CallContext) -> Result<Completion, Failure> {
    Completion::new(&json!(call.tenant_id))
}

#[tokio::test]
async fn a_gateway_of_one_tenant_asks_for_another() {
    let nats = Nats::start().await;
    let settings = [("nats.url", nats.url()), ("router.tenant_from", "subject")];
    let _router = RouterProcess::start(&settings).await;
    let gateway = Gateway::connect(&nats).await;
    gateway.register("provider", "echo", json!({})).await;
    let _provider = serve(&nats, Extension::provider("echo", echo)).await;
    gateway
        .policy("default", &json!({"version": "1.0", "providers": ["echo"]}))
        .await;
    let body = |more| request_with("default", more).to_string();

    // Its own, named in the subject only, in all places, or as nothing.
    for (more, headers) in [
        (json!({"tenant_id": "acme"}), vec![]),
        (json!({"tenant_id": null}), vec![]),
        (json!({}), vec![("tenant_id", "acme")]),
    ] {
        let answer = gateway.send("route.acme", body(more), &headers).await.json;
        assert_eq!(answer["response"]["output"], "acme", "{answer}");
    }
    // Another.
    for (more, headers) in [
        (json!({"tenant_id": "evil"}), vec![]),
        (json!({"tenant_id": "ACME"}), vec![]),
        (json!({"tenant_id": "acme\u{200b}"}), vec![]),
        (json!({"tenant_id": 7}), vec![]),
        (json!({"tenant_id": ["acme"]}), vec![]),
        (json!({}), vec![("Tenant_Id", "evil")]),
    ] {
        for operation in ["route.acme", "decide.acme"] {
            let answer = gateway
                .send(operation, body(more.clone()), &headers)
                .await
                .json;
            assert_eq!(answer["error"]["code"], "unauthorized", "{more} {answer}");
            assert_eq!(
                answer["error"]["intake_error_code"], "TENANT_FORBIDDEN",
                "{answer}"
            );
        }
    }
    let odd = gateway.send("route.ac~me", body(json!({})), &[]).await.json;
    assert_eq!(odd["error"]["code"], "invalid_request", "{odd}");
    // Nobody listens where the subject names no tenant.
    let request = async_nats::Request::new().payload(body(json!({})).into());
    let plain = gateway
        .client()
        .send_request("beamline.router.v1.route", request)
        .await;
    assert!(plain.is_err(), "{plain:?}");
}
