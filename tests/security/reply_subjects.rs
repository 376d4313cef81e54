//! Answers sent where their caller says, and headers said twice.

use beamline_test_support::{
    Demo, Gateway, LIMIT, Nats, RouterProcess, eventually, request, until,
};
use futures_util::{FutureExt, StreamExt};

use super::metric;

#[tokio::test]
async fn a_caller_has_the_router_publish_where_it_may_not() {
    let nats = Nats::start().await;
    let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let _demo = Demo::serve(&nats).await;
    let gateway = Gateway::connect(&nats).await;
    let client = nats.client().await;
    let mut everything = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    let replies = [
        "payments.transfer",
        "beamline.ext.pre.normalize_text.v1",
        "beamline.router.v1.admin.reload",
        "beamline.router.v1.control.breaker",
        "_INBOX.>",
        "_INBOX.*",
        "_INBOX.beamline_router.00000000000000000000000000000000.1",
        "$SYS.REQ.SERVER.PING",
        "$JS.API.STREAM.DELETE.x",
    ];
    for operation in [
        "decide",
        "route",
        "admin.list_policies",
        "admin.supervision_tree",
    ] {
        for reply in replies {
            let subject = format!("beamline.router.v1.{operation}");
            client
                .publish_with_reply(subject, reply, "{}".into())
                .await
                .unwrap();
        }
    }
    let dropped = 4 * replies.len();
    eventually(LIMIT, "all are dropped", async || {
        let count = metric(&router, "router_requests_unanswerable_total").await;
        (count as usize == dropped).then_some(())
    })
    .await;
    while let Some(Some(message)) = everything.next().now_or_never() {
        // What was asked is heard here too.
        let is_question = message.payload == "{}";
        let is_answer = replies.contains(&message.subject.as_str()) && !is_question;
        assert!(!is_answer, "{message:?}");
    }
    until("it is said", || {
        router.log().contains("nats.reply_prefixes")
    })
    .await;
    let said = router.log().matches("a request was dropped").count();
    assert_eq!(said, 1, "once a minute: {}", router.log());
    let answer = gateway.admin("list_policies", &serde_json::json!({})).await;
    assert_eq!(answer["ok"], true, "{answer}");
}

#[tokio::test]
async fn a_gateway_is_two_tenants_in_one_message() {
    let nats = Nats::start().await;
    let _router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    let body = request("default").to_string();
    for [one, other] in [
        [("tenant_id", "acme"), ("TENANT_ID", "evil")],
        [("tenant_id", "acme"), ("tenant_id", "acme")],
        [("trace_id", "1"), ("Trace_Id", "2")],
        [("Authorization", "Bearer a"), ("authorization", "Bearer b")],
    ] {
        for _ in 0..5 {
            let answer = gateway
                .send("route", body.clone(), &[one, other])
                .await
                .json;
            assert_eq!(
                answer["error"]["code"], "invalid_request",
                "{one:?} {other:?} {answer}"
            );
            assert!(
                answer["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("more than once"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_caller_sends_headers_without_end() {
    let nats = Nats::start().await;
    let _router = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let gateway = Gateway::connect(&nats).await;
    let body = request("default").to_string();
    let long = "x".repeat(17 * 1024);
    let answer = gateway
        .send("route", body.clone(), &[("x-long", &long)])
        .await
        .json;
    assert_eq!(answer["error"]["code"], "invalid_request", "{answer}");
    let many: Vec<(&'static str, &str)> = vec![("x-many", "1"); 65];
    let answer = gateway.send("route", body, &many).await.json;
    assert_eq!(answer["error"]["code"], "invalid_request", "{answer}");
}
