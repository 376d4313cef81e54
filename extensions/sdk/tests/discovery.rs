//! An extension is visible to `nats micro ls` and to the router's probe.

use beamline_extension::{Edit, Extension, Failure, Program, Settings, Verdict};
use beamline_test_support::calls::{call, call_json, request};
use beamline_test_support::{Nats, serve};
use serde_json::{Value, json};

async fn ask(client: &async_nats::Client, subject: &str) -> Value {
    serde_json::from_str(&call(client, subject, &[], "").await).unwrap()
}

#[tokio::test]
async fn a_service_answers_ping_and_info() {
    let server = Nats::start().await;
    let running = serve(
        &server,
        Extension::validator("pii_guard", async |_, _| Ok(Verdict::Ok)),
    )
    .await;
    let client = server.client().await;

    let pong = ask(&client, "$SRV.PING.pii_guard").await;
    assert_eq!(pong["type"], "io.nats.micro.v1.ping_response");
    assert_eq!(
        (&pong["name"], &pong["version"]),
        (&json!("pii_guard"), &json!("1.0.0"))
    );
    assert_eq!(ask(&client, "$SRV.PING").await, pong);
    let id = pong["id"].as_str().unwrap();

    let info = ask(&client, &format!("$SRV.INFO.pii_guard.{id}")).await;
    assert_eq!(info["type"], "io.nats.micro.v1.info_response");
    assert_eq!(
        info["endpoints"],
        json!([{
            "name": "pii_guard",
            "subject": running.subject(),
            "queue_group": "pii_guard",
            "metadata": {},
        }])
    );
    assert_eq!(info["metadata"]["beamline.type"], "validator");
}

#[tokio::test]
async fn stats_count_calls_and_failures() {
    let server = Nats::start().await;
    let odd = |message: beamline_extension::Message, _| async move {
        let even = message.payload_as::<u32>()?.is_multiple_of(2);
        if even {
            Ok(Edit::unchanged())
        } else {
            Err(Failure::new("odd", "that is odd"))
        }
    };
    let running = serve(&server, Extension::pre("x", odd)).await;
    let client = server.client().await;
    for number in 1..=5 {
        call_json(&client, running.subject(), &request(json!(number))).await;
    }
    let stats = ask(&client, "$SRV.STATS.x").await;
    assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
    let endpoint = &stats["endpoints"][0];
    assert_eq!(endpoint["num_requests"], 5);
    assert_eq!(endpoint["num_errors"], 3);
    assert_eq!(endpoint["last_error"], "odd: that is odd");
    assert!(endpoint["processing_time"].as_u64().unwrap() > 0);
    assert!(humantime::parse_rfc3339(stats["started"].as_str().unwrap()).is_ok());
}

#[tokio::test]
async fn extensions_of_one_program_are_endpoints_of_one_service() {
    let server = Nats::start().await;
    let noting = async |_, _| Edit::unchanged().with_notes(&"4111");
    let reading = async |message: beamline_extension::Message,
                         call: beamline_extension::CallContext| {
        let notes: Option<String> = call.notes_as()?;
        Ok(Edit::replace(message.with_payload(&notes)?))
    };
    let program = Program::new(
        "mask",
        [
            Extension::pre("mask_in", noting),
            Extension::post("mask", reading),
        ],
    );
    let running = program
        .serve(&Settings::for_url(server.url()))
        .await
        .unwrap();
    let client = server.client().await;
    let by_name = ask(&client, "$SRV.INFO.mask").await;
    assert_eq!(ask(&client, "$SRV.INFO.mask_in").await, by_name);
    assert_eq!(ask(&client, "$SRV.INFO").await, by_name);
    let endpoints = by_name["endpoints"].as_array().unwrap();
    let subjects: Vec<&Value> = endpoints.iter().map(|one| &one["subject"]).collect();
    assert_eq!(
        subjects,
        ["beamline.ext.pre.mask_in.v1", "beamline.ext.post.mask.v1"]
    );
    let noted = call_json(&client, "beamline.ext.pre.mask_in.v1", &request(json!(1))).await;
    assert_eq!(noted, json!({"notes": "4111"}));
    let mut with_notes = request(json!(1));
    with_notes["notes"] = json!("4111");
    let read = call_json(&client, "beamline.ext.post.mask.v1", &with_notes).await;
    assert_eq!(read["payload"]["payload"], "4111");
    let stats = ask(&client, "$SRV.STATS.mask").await;
    for endpoint in stats["endpoints"].as_array().unwrap() {
        assert_eq!(endpoint["num_requests"], 1, "{stats}");
    }
    let summary = running.stop().await;
    assert_eq!((summary.counts.requests, summary.drained), (2, true));
}

#[tokio::test]
async fn a_subject_that_is_given_is_that_of_the_first_extension() {
    let server = Nats::start().await;
    let program = Program::new(
        "mask",
        [
            Extension::post("b", async |_, _| Ok(Edit::unchanged())),
            Extension::pre("a", async |_, _| Ok(Edit::unchanged())),
        ],
    );
    let settings = Settings {
        subject: Some("beamline.ext.post.b.x".to_owned()),
        ..Settings::for_url(server.url())
    };
    let running = program.serve(&settings).await.unwrap();
    assert_eq!(running.subject(), "beamline.ext.post.b.x");
    let client = server.client().await;
    for subject in ["beamline.ext.post.b.x", "beamline.ext.pre.a.v1"] {
        assert_eq!(
            call_json(&client, subject, &request(json!(1))).await,
            json!({})
        );
    }
}

/// The client library reads its own protocol strictly; what it can read, other clients can.
#[tokio::test]
async fn answers_have_the_form_of_the_service_protocol() {
    use beamline_extension::async_nats::service::{Info, PingResponse, Stats};
    let server = Nats::start().await;
    let _running = serve(
        &server,
        Extension::pre("x", async |_, _| Ok(Edit::unchanged())),
    )
    .await;
    let client = server.client().await;
    serde_json::from_str::<PingResponse>(&call(&client, "$SRV.PING.x", &[], "").await).unwrap();
    serde_json::from_str::<Info>(&call(&client, "$SRV.INFO.x", &[], "").await).unwrap();
    serde_json::from_str::<Stats>(&call(&client, "$SRV.STATS.x", &[], "").await).unwrap();
}

#[tokio::test]
async fn one_queue_group_shares_the_work() {
    let server = Nats::start().await;
    let one = || Extension::pre("x", async |_, _| Ok(Edit::unchanged()));
    let first = serve(&server, one()).await;
    let second = serve(&server, one()).await;
    let client = server.client().await;
    for _ in 0..100 {
        call_json(&client, first.subject(), &request(json!(1))).await;
    }
    let first = first.stop().await.counts.requests;
    let second = second.stop().await.counts.requests;
    assert_eq!(first + second, 100);
    assert!(first > 0 && second > 0, "{first} and {second}");
}

#[tokio::test]
async fn the_schema_of_the_config_is_in_info_and_nowhere_else() {
    let schema = json!({"type": "object", "properties": {"trim": {"type": "boolean"}}});
    let server = Nats::start().await;
    let extension = Extension::pre("x", async |_, _| Ok(Edit::unchanged()));
    let _running = serve(&server, extension.with_config_schema(schema.clone())).await;
    let client = server.client().await;
    let info = ask(&client, "$SRV.INFO.x").await;
    let published = &info["endpoints"][0]["metadata"]["beamline.config_schema"];
    let published = published.as_str().expect("metadata are texts");
    assert_eq!(serde_json::from_str::<Value>(published).unwrap(), schema);
    for verb in ["PING", "STATS"] {
        let answer = call(&client, &format!("$SRV.{verb}.x"), &[], "").await;
        assert!(!answer.contains("config_schema"), "{answer}");
    }
}

#[tokio::test]
async fn a_schema_that_no_router_reads_is_refused_at_the_start() {
    let server = Nats::start().await;
    let schema = json!({"description": "x".repeat(64 * 1024)});
    let extension = Extension::pre("x", async |_, _| Ok(Edit::unchanged()));
    let settings = Settings::for_url(server.url());
    let started = extension.with_config_schema(schema).serve(&settings).await;
    let refused = started.expect_err("too long").to_string();
    assert!(refused.contains("65554 bytes"), "{refused}");
}

#[tokio::test]
async fn where_the_server_carries_little_the_schema_is_left_out() {
    let server = Nats::start_configured("max_payload: 2048").await;
    let schema = json!({"description": "x".repeat(4096)});
    let extension = Extension::pre("x", async |_, _| Ok(Edit::unchanged()));
    let running = serve(&server, extension.with_config_schema(schema)).await;
    let info = ask(&server.client().await, "$SRV.INFO.x").await;
    assert_eq!(info["endpoints"][0]["subject"], running.subject());
    assert_eq!(info["endpoints"][0]["metadata"], json!({}));
}
