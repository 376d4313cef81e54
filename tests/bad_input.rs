//! Nothing that anybody sends breaks the router: each bad input gets one typed answer, or none
//! where none can be given, and the next good request is served as if nothing had been.

use std::time::{Duration, Instant};

use async_nats::Client;
use beamline_extension::{Bytes, Kind};
use beamline_test_support::{
    Gateway, LIMIT, Nats, RouterProcess, Stub, eventually, request, request_with,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

/// What NATS takes by default, and what a request may have of it.
const MAX_PAYLOAD: usize = 1_048_576;
const MAX_REQUEST: usize = MAX_PAYLOAD - 16 * 1024;
const ROUTE: &str = "beamline.router.v1.route";

struct World {
    gateway: Gateway,
    edit: Stub,
    nats: Nats,
    router: RouterProcess,
    _model: Stub,
}

impl World {
    async fn start() -> Self {
        Self::with_completion(r#"{"output": "fine"}"#).await
    }

    async fn with_completion(completion: &str) -> Self {
        let nats = Nats::start().await;
        let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
        let gateway = Gateway::connect(&nats).await;
        gateway.register("pre", "edit", json!({})).await;
        gateway.register("provider", "model", json!({})).await;
        gateway
            .policy(
                "default",
                &json!({"pre": [{"id": "edit"}], "providers": [{"name": "model"}]}),
            )
            .await;
        let edit = Stub::saying(&nats, Kind::Pre, "edit", "{}").await;
        let model = Stub::saying(&nats, Kind::Provider, "model", completion).await;
        Self {
            gateway,
            edit,
            nats,
            router,
            _model: model,
        }
    }

    /// The same process serves, has never panicked, and owes nobody an answer.
    async fn still_works(&self) {
        let answer = self.gateway.route(&request("default")).await;
        assert_eq!(answer["ok"], true, "{answer}");
        assert!(
            !self.router.log().contains("panicked"),
            "{}",
            self.router.log()
        );
        let received = self.metric("router_requests_received").await;
        let answered = self.answered().await;
        assert_eq!(received, answered);
        self.assert_no_restarts().await;
    }

    async fn until_served(&self, when: &str) {
        eventually(LIMIT, &format!("served again {when}"), async || {
            let asked = self
                .gateway
                .client()
                .request(ROUTE, request("default").to_string().into());
            let answer = timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
            answer.payload.starts_with(br#"{"ok":true"#).then_some(())
        })
        .await;
    }

    /// The same process has connected so many other clients, is ready and serves, and nothing else
    /// has suffered.
    async fn until_replaced(&mut self, times: usize) {
        let said = |text: &str| self.router.log().matches(text).count();
        eventually(LIMIT, "another client", async || {
            (said("another NATS client took the place") >= times).then_some(())
        })
        .await;
        self.until_served(&format!("by client {times}")).await;
        for text in [
            "panicked",
            "the NATS client has ended",
            "another NATS client took the place",
        ] {
            assert_eq!(said(text), times, "{text}: {}", self.router.log());
        }
        self.router.until_ready().await;
        let answer = self
            .gateway
            .admin("get_circuit_breaker_states", &json!({}))
            .await;
        let breakers = answer["states"].as_object().expect("states");
        assert!(
            breakers
                .values()
                .all(|breaker| breaker["state"] == "closed"),
            "{answer}"
        );
        self.assert_no_restarts().await;
    }

    async fn assert_no_restarts(&self) {
        let tree = self.gateway.admin("supervision_tree", &json!({})).await;
        let restarts = tree["tree"]["children"]
            .as_array()
            .expect("children")
            .iter()
            .map(|child| &child["restarts"]);
        assert!(restarts.clone().all(|restarts| *restarts == 0), "{tree}");
    }

    async fn metric(&self, name: &str) -> u64 {
        self.sum(|line| line.starts_with(&format!("{name}_total")))
            .await
    }

    async fn answered(&self) -> u64 {
        self.sum(|line| line.starts_with("router_requests_answered_total{"))
            .await
    }

    async fn sum(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let (_, text) = self.router.get("/metrics").await.expect("metrics");
        let values = text
            .lines()
            .filter(|line| wanted(line))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}

fn codes(answer: &Value) -> (&str, &str) {
    let text = |key: &str| answer["error"][key].as_str().unwrap_or_default();
    (text("code"), text("intake_error_code"))
}

/// An envelope with some text in front of its last brace.
fn envelope(more: &str) -> Vec<u8> {
    let good = r#"{"version":"1","tenant_id":"acme","request_id":"r","message":{"payload":"hi"}"#;
    format!("{good}{more}}}").into_bytes()
}

fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let world = World::start().await;
    let schema = "SCHEMA_VALIDATION_FAILED";
    let correlation = "CORRELATION_FIELDS_INVALID";
    let around = |payload: &str| {
        envelope("")
            .into_iter()
            .map(char::from)
            .collect::<String>()
            .replace(":\"hi\"}", &format!(":{payload}}}"))
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), schema),
        (b" ".into(), schema),
        (b"{".into(), schema),
        (b"{}".into(), "VERSION_UNSUPPORTED"),
        (b"[]".into(), schema),
        (b"null".into(), schema),
        (b"\"text\"".into(), schema),
        (b"NaN".into(), schema),
        (b"{'version': '1'}".into(), schema),
        (b"{\"version\": \"1\",}".into(), schema),
        ([envelope(""), b" x".to_vec()].concat(), schema),
        ([b"\xef\xbb\xbf".to_vec(), envelope("")].concat(), schema),
        (b"\xff\xfe{\x00}\x00".into(), schema),
        (around("\"\u{1}\"").into_bytes(), schema),
        (vec![0; 64], schema),
        (around("tru").into_bytes(), schema),
        (around("01").into_bytes(), schema),
        (around("\"open").into_bytes(), schema),
        (
            [
                b"{\"message\": {\"payload\": \"".to_vec(),
                vec![0xc3, 0x28],
                b"\"}}".to_vec(),
            ]
            .concat(),
            schema,
        ),
        (deep(100_000).into_bytes(), schema),
        (b"[".repeat(100_000), schema),
        (around(&deep(100_000)).into_bytes(), schema),
        (
            envelope(&format!(r#","context":{}"#, "{\"a\":".repeat(50_000))),
            schema,
        ),
        (envelope(r#","version":"1""#), "VERSION_UNSUPPORTED"),
        (envelope(r#","tenant_id":"globex""#), correlation),
        (envelope(r#","request_id":"s""#), correlation),
        (envelope(r#","message":{"payload":2}"#), schema),
        (envelope(r#","policy_id":"a","policy_id":"b""#), schema),
        (envelope(r#","timeout_ms":1,"timeout_ms":2"#), schema),
        (envelope(r#","trace_id":"a\r\nPUB x 0""#), correlation),
        (envelope(r#","trace_id":"a\u0000b""#), correlation),
        (
            envelope(&format!(r#","trace_id":"{}""#, "x".repeat(257))),
            correlation,
        ),
        (envelope(r#","trace_id":{"a":1}"#), correlation),
        (envelope(r#","context":[]"#), schema),
        (envelope(r#","policy_id":["default"]"#), schema),
    ];
    for (body, code) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        for operation in ["route", "decide"] {
            let answer = world.gateway.send(operation, body.clone(), &[]).await;
            assert_eq!(
                codes(&answer.json),
                ("invalid_request", code),
                "{shown}: {}",
                answer.text
            );
        }
    }
    assert_eq!(world.edit.calls(), 0);
    world.still_works().await;
}

#[tokio::test]
async fn ids_cannot_smuggle_lines_into_headers() {
    let world = World::start().await;
    let bad = [
        "a\r\nX-Evil: 1",
        "a\nb",
        "\r",
        "\0",
        "a\u{7f}",
        "\u{1b}[2J",
        "\u{85}",
        "",
        &"x".repeat(257),
    ];
    for id in bad {
        let message = json!({"message_id": id, "payload": 1});
        for change in [
            json!({"tenant_id": id}),
            json!({"trace_id": id}),
            json!({"request_id": id}),
            json!({"message": message}),
        ] {
            let answer = world
                .gateway
                .route(&request_with("default", change.clone()))
                .await;
            assert_eq!(
                codes(&answer),
                ("invalid_request", "CORRELATION_FIELDS_INVALID"),
                "{change}: {answer}"
            );
        }
        let answer = world
            .gateway
            .route(&request_with("default", json!({"policy_id": id})))
            .await;
        assert_eq!(codes(&answer).0, "policy_not_found", "{id:?}: {answer}");
    }
    for id in [
        "Zo\u{eb}",
        "a:b c",
        "\u{1f600}",
        "*.>",
        "'; DROP TABLE policies; --",
        &"x".repeat(256),
    ] {
        let change = json!({"request_id": id, "trace_id": id});
        let answer = world.gateway.route(&request_with("default", change)).await;
        assert_eq!(
            (&answer["ok"], &answer["context"]["trace_id"]),
            (&json!(true), &json!(id)),
            "{answer}"
        );
        assert_eq!(world.edit.last_body()["trace_id"], id);
    }
    world.still_works().await;
}

#[tokio::test]
async fn timeouts_are_whole_milliseconds() {
    let world = World::start().await;
    for text in [
        "0",
        "-1",
        "5s",
        "0.5",
        "1e3",
        "NaN",
        "",
        "99999999999",
        "0x10",
        "1 000",
        "+250",
        "00000000250",
    ] {
        let answer = world
            .gateway
            .send(
                "route",
                request("default").to_string(),
                &[("Router-Timeout-Ms", text)],
            )
            .await;
        assert_eq!(
            codes(&answer.json),
            ("invalid_request", "SCHEMA_VALIDATION_FAILED"),
            "{text:?}: {}",
            answer.text
        );
    }
    for number in [
        "0",
        "-1",
        "0.5",
        "1e3",
        "\"5000\"",
        "true",
        "[]",
        "99999999999999999999",
        "1e400",
    ] {
        let answer = world
            .gateway
            .send(
                "route",
                envelope(&format!(r#","timeout_ms":{number}"#)),
                &[],
            )
            .await;
        assert_eq!(
            codes(&answer.json),
            ("invalid_request", "SCHEMA_VALIDATION_FAILED"),
            "{number}: {}",
            answer.text
        );
        assert_eq!(answer.json["error"]["details"]["pointer"], "/timeout_ms");
    }
    let answer = world
        .gateway
        .send("route", envelope(r#","timeout_ms":9999999999"#), &[])
        .await;
    assert_eq!(
        answer.json["ok"], true,
        "too long is cut, not refused: {}",
        answer.text
    );
    world.still_works().await;
}

#[tokio::test]
async fn headers_of_any_number_and_form_are_read_or_ignored() {
    let world = World::start().await;
    let many: Vec<(&'static str, &str)> = std::iter::repeat_n(("X-Other", "value"), 60).collect();
    let long = "x".repeat(15_000);
    let forged = [
        ("Nats-Service-Error", "x"),
        ("Nats-Service-Error-Code", "500"),
        ("Router-Attempt", "99"),
        ("Status", "503"),
    ];
    for headers in [
        many.as_slice(),
        &[("X-Long", &long)],
        &[("traceparent", &long)],
        &forged,
        &[("tracestate", "\u{eb}")],
    ] {
        let answer = world
            .gateway
            .send("route", request("default").to_string(), headers)
            .await;
        assert_eq!(answer.json["ok"], true, "{}", answer.text);
    }
    let answer = world
        .gateway
        .send(
            "route",
            request("default").to_string(),
            &[("tenant_id", &long)],
        )
        .await;
    assert_eq!(
        codes(&answer.json),
        ("invalid_request", "CORRELATION_FIELDS_INVALID"),
        "{}",
        answer.text
    );
    world.still_works().await;
}

/// Header blocks that no client library writes, sent over a bare connection. The NATS client drops
/// its connection when it reads one, so the router comes back instead of never having been away.
#[tokio::test]
async fn the_router_comes_back_from_malformed_header_blocks() {
    let world = World::start().await;
    let body = request("default").to_string();
    for block in [
        "NATS/1.0\r\nno colon here\r\n\r\n",
        "NATS/1.0\r\n: no name\r\n\r\n",
        "NATS/1.0\r\na b: c\r\n\r\n",
        "NATS/1.0\r\ntenant_id: acme\r\n folded\r\n\r\n",
        "NATS/1.0 abc\r\n\r\n",
        "NATS/1.0\r\ntenant_id: ac\nme\r\n\r\n",
        "NATS/1.0\r\n\u{0}: x\r\n\r\n",
    ] {
        world.nats.publish_bare(ROUTE, block, &body).await;
        world.until_served(&format!("after {block:?}")).await;
    }
    world.still_works().await;
}

/// async-nats 0.51 panics on a carriage return inside a header value, and the client that read it
/// is dead for good.
const DEADLY: &str = "NATS/1.0\r\ntenant_id: ac\rme\r\n\r\n";

#[tokio::test]
async fn a_header_on_which_the_nats_client_panics_costs_only_that_client() {
    let mut world = World::start().await;
    for round in 1..=5 {
        let sent = Instant::now();
        world.nats.publish_bare(ROUTE, DEADLY, "{}").await;
        world.until_replaced(round).await;
        println!("replaced and served again after {:?}", sent.elapsed());
        let before = world.edit.calls();
        assert_eq!(world.gateway.route(&request("default")).await["ok"], true);
        assert_eq!(
            world.edit.calls(),
            before + 1,
            "one subscription, not several"
        );
    }
    world.router.sigterm();
    assert_eq!(
        world.router.wait_exit(LIMIT).await.code(),
        Some(0),
        "{}",
        world.router.log()
    );
}

/// The request that gets such an answer from an extension is told, and so are those beside it.
#[tokio::test]
async fn an_answer_on_which_the_nats_client_panics_costs_the_calls_in_flight() {
    let mut world = World::start().await;
    let client = world.nats.client().await;
    let mut calls = client
        .subscribe("beamline.provider.deadly.v1")
        .await
        .expect("subscribed");
    client.flush().await.expect("flushed");
    world
        .gateway
        .register("provider", "deadly", json!({}))
        .await;
    world
        .gateway
        .policy("deadly", &json!({"providers": [{"name": "deadly"}]}))
        .await;
    let answer_deadly = async {
        let _beside = calls.next().await.expect("a call");
        let call = calls.next().await.expect("a call");
        world
            .nats
            .publish_bare(&call.reply.expect("a reply subject"), DEADLY, "{}")
            .await;
    };
    let asked = request("deadly");
    let (beside, answer, ()) = tokio::join!(
        world.gateway.route(&asked),
        world.gateway.route(&asked),
        answer_deadly
    );
    for answer in [beside, answer] {
        assert_eq!(codes(&answer).0, "bus_unavailable", "{answer}");
    }
    world.until_replaced(1).await;
}

#[tokio::test]
async fn a_client_that_ends_just_before_an_outage_is_replaced_after_it() {
    let mut world = World::start().await;
    world.nats.publish_bare(ROUTE, DEADLY, "{}").await;
    world.nats.kill();
    eventually(LIMIT, "the loss is told", async || {
        world
            .router
            .readiness()
            .await
            .filter(|said| said["code"] == 503 && said["nats"] == false)
    })
    .await;
    world.nats.restart().await;
    world.until_served("after the outage").await;
    world.router.until_ready().await;
    world.assert_no_restarts().await;
}

#[tokio::test]
async fn a_message_may_be_as_large_as_the_limit_says() {
    let world = World::start().await;
    let of_size = |size: usize| {
        let frame = envelope("").len() - 2;
        let body = String::from_utf8_lossy(&envelope(""))
            .replace(":\"hi\"}", &format!(":\"{}\"}}", "x".repeat(size - frame)));
        assert_eq!(body.len(), size);
        Bytes::from(body)
    };
    for operation in ["decide", "route"] {
        let answer = world
            .gateway
            .send(operation, of_size(MAX_REQUEST), &[])
            .await;
        assert_eq!(
            answer.json["ok"],
            true,
            "at the limit: {}",
            &answer.text[..answer.text.len().min(500)]
        );
        for size in [MAX_REQUEST + 1, MAX_PAYLOAD - 100] {
            let answer = world.gateway.send(operation, of_size(size), &[]).await;
            assert_eq!(
                codes(&answer.json),
                ("invalid_request", "SCHEMA_VALIDATION_FAILED"),
                "{size}"
            );
            assert_eq!(answer.json["error"]["details"]["limit_bytes"], MAX_REQUEST);
        }
    }
    world.still_works().await;
}

#[tokio::test]
async fn answers_never_go_back_into_the_router_or_to_an_extension() {
    let world = World::start().await;
    let client = world.gateway.client();
    let bad = [
        "beamline.router.v1.route",
        "beamline.router.v1.admin.reload",
        "beamline.ext.pre.edit.v1",
        "$JS.API.INFO",
    ];
    let mut count = 0;
    for subject in ["route", "decide", "admin.list_extensions", "admin.reload"] {
        let subject = format!("beamline.router.v1.{subject}");
        for reply in bad {
            let body = request("default").to_string();
            client
                .publish_with_reply(subject.clone(), reply, body.into())
                .await
                .expect("sent");
        }
        client.publish(subject, "{}".into()).await.expect("sent");
        count += bad.len() as u64 + 1;
    }
    eventually(LIMIT, "all are counted", async || {
        (world.metric("router_requests_unanswerable").await == count).then_some(())
    })
    .await;
    assert_eq!(world.edit.calls(), 0);
    world.still_works().await;
    assert_eq!(
        world.metric("router_requests_unanswerable").await,
        count,
        "no loop"
    );
}

#[tokio::test]
async fn an_extension_that_answers_too_much_harms_only_its_request() {
    let output = |size: usize| format!(r#"{{"output": "{}"}}"#, "x".repeat(size));
    let cases = [
        (output(MAX_PAYLOAD - 4_096), "ok"),
        // Fits into one message, but not together with the rest of the router's answer.
        (output(MAX_PAYLOAD - 100), "extension_error"),
        // No server carries it, so its own library says so.
        (output(2 * MAX_PAYLOAD), "extension_error"),
        (
            format!(
                r#"{{"output": 1, "metadata": {{"a": "{}"}}}}"#,
                "x".repeat(70_000)
            ),
            "extension_error",
        ),
    ];
    for (completion, code) in cases {
        let world = World::with_completion(&completion).await;
        let answer = world.gateway.route(&request("default")).await;
        let said = answer["error"]["code"].as_str().unwrap_or("ok");
        assert_eq!(said, code, "{}", completion.len());
        let decided = world.gateway.decide(&request("default")).await;
        assert_eq!(decided["ok"], true, "{decided}");
        assert!(
            !world.router.log().contains("panicked"),
            "{}",
            world.router.log()
        );
    }
}

/// An extension without the SDK: says everything twice, the second time something else.
async fn says_twice(client: Client, mut calls: async_nats::Subscriber) {
    while let Some(call) = calls.next().await {
        let Some(reply) = call.reply else { continue };
        for answer in [
            r#"{"output": "first"}"#,
            r#"{"output": "second"}"#,
            "garbage",
        ] {
            client
                .publish(reply.clone(), answer.into())
                .await
                .expect("sent");
        }
    }
}

#[tokio::test]
async fn only_the_first_answer_of_an_extension_counts() {
    let world = World::start().await;
    let client = world.nats.client().await;
    let calls = client
        .subscribe("beamline.provider.twice.v1")
        .await
        .expect("subscribed");
    client.flush().await.expect("flushed");
    let twice = tokio::spawn(says_twice(client, calls));
    world.gateway.register("provider", "twice", json!({})).await;
    world
        .gateway
        .policy("twice", &json!({"providers": [{"name": "twice"}]}))
        .await;
    for _ in 0..20 {
        let answer = world.gateway.route(&request("twice")).await;
        assert_eq!(answer["response"]["output"], "first", "{answer}");
    }
    world.still_works().await;
    twice.abort();
}
