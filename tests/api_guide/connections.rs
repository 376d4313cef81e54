//! What the page says of NATS: the permissions of a gateway, and where an answer may go.

use std::time::Duration;

use async_nats::ConnectOptions;
use beamline_test_support::{Caller, Demo, LIMIT, Nats, RouterProcess, assert_served, eventually};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::block;

/// The user that the page shows, beside one who may do everything.
async fn server() -> Nats {
    let gateway = block("text nats-user").text;
    Nats::start_configured(&format!(
        "authorization {{ users: [{{user: all, password: all}}, {gateway}] }}\nno_auth_user: all"
    ))
    .await
}

#[tokio::test]
async fn the_permissions_suffice_for_requests_and_for_nothing_else() {
    let nats = server().await;
    let _demo = Demo::serve(&nats).await;
    let _router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let user = ConnectOptions::with_user_and_password("gateway".into(), "secret".into());
    let gateway = user.connect(nats.url()).await.expect("it may log in");
    let body = json!({"version": "1", "tenant_id": "demo", "request_id": "r", "message": {"payload": "r"}});
    for (subject, is_allowed) in [
        ("router.v1.decide", true),
        ("router.v1.route", true),
        ("router.v1.admin.list_extensions", false),
        ("provider.mock_provider.v1", false),
    ] {
        let asking = gateway.request(format!("beamline.{subject}"), body.to_string().into());
        let answer =
            tokio::time::timeout(Duration::from_secs(if is_allowed { 60 } else { 1 }), asking);
        let answer = answer.await.ok().and_then(Result::ok);
        assert_eq!(answer.is_some(), is_allowed, "{subject}");
        if let Some(answer) = answer {
            let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            assert_eq!(answer["ok"], true, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_reply_subject_under_the_prefix_gets_no_answer_and_is_counted() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let caller = Caller::connect(&nats).await;
    let client = nats.client().await;
    let mut heard = client.subscribe("beamline.mine").await.expect("subscribed");
    let body = json!({"version": "1", "tenant_id": "demo", "request_id": "lost", "message": {"payload": "lost"}});
    for reply in ["beamline.mine", "$mine"] {
        let body = body.to_string().into();
        let sent = client.publish_with_reply("beamline.router.v1.route", reply, body);
        sent.await.expect("sent");
    }
    eventually(LIMIT, "both are counted", async || {
        let (_, metrics) = router.get("/metrics").await?;
        metrics
            .contains("router_requests_unanswerable_total 2")
            .then_some(())
    })
    .await;
    assert_served(&caller.route("kept").await, "kept");
    assert_eq!(demo.calls("lost"), 0);
    assert!(heard.next().now_or_never().is_none());
}
