//! What an operator types to see what happens: `request show`, `tail`, `log-level`.

use beamline_test_support::Gateway;

use super::*;

const ID: &str = "order-4711";

/// Nobody serves the demo's extensions, so it fails.
async fn a_failed_request(world: &World) {
    let gateway = Gateway::connect(&world.nats).await;
    let body = json!({"version": "1", "tenant_id": "demo", "request_id": ID, "message": {"payload": "hi"}});
    let answer = gateway.route(&body).await;
    assert!(answer.get("error").is_some(), "{answer}");
}

#[tokio::test]
async fn a_request_is_shown_by_its_id_and_as_the_last_that_failed() {
    let world = World::start(&[]).await;
    a_failed_request(&world).await;
    let shown = eventually(LIMIT, "the story", async || {
        let said = world.run(&["request", "show", ID]);
        (said.code == Some(0)).then_some(said.out)
    })
    .await;
    assert!(
        shown.starts_with(&format!("route {ID} of demo: ")),
        "{shown}"
    );
    assert!(
        shown.contains("STAGE") && shown.contains("normalize_text"),
        "{shown}"
    );
    for arguments in [
        ["request", "show", "--failed"].as_slice(),
        &["request", "show", "--last"],
        &[
            "request",
            "show",
            "--tenant",
            "demo",
            "--extension",
            "normalize_text",
        ],
        &["request", "show"],
    ] {
        assert_eq!(world.run(arguments).out, shown, "{arguments:?}");
    }
    let document = world.json(&["request", "show", ID]);
    assert_eq!(document["requests"][0]["request_id"], ID);
    for arguments in [
        ["request", "show", "other"].as_slice(),
        &["request", "show", "--outcome", "ok"],
        &["request", "show", "--slower-than", "10m"],
        &["request", "show", "--policy", "other"],
    ] {
        let (code, sentence) = world.fails(arguments);
        assert!(
            code == 3 && sentence.contains("remembers"),
            "{arguments:?}: {sentence}"
        );
    }
    let (code, _) = world.fails(&["request", "show", ID, "--last"]);
    assert_eq!(code, 2);
}

#[tokio::test]
async fn requests_are_followed_as_they_are_answered_also_after_a_restart() {
    let mut world = World::start(&[]).await;
    let out = world.directory.path().join("tail.txt");
    let err = world.directory.path().join("tail.err");
    let mut tail = Command::new(program("beamline-router"))
        .args([
            "--nats-url",
            world.nats.url(),
            "tail",
            "--failed",
            "--interval",
            "50ms",
        ])
        .current_dir(world.directory.path())
        .stdout(fs::File::create(&out).expect("a file"))
        .stderr(fs::File::create(&err).expect("a file"))
        .spawn()
        .expect("it runs");
    let text = || fs::read_to_string(&out).unwrap_or_default();
    eventually(LIMIT, "its head", async || {
        text().contains("OUTCOME").then_some(())
    })
    .await;
    a_failed_request(&world).await;
    let shown = eventually(LIMIT, "the request", async || {
        text().contains(ID).then(text)
    })
    .await;
    assert_eq!(shown.matches(ID).count(), 1, "{shown}");
    world.router.kill();
    let errors = || fs::read_to_string(&err).unwrap_or_default();
    eventually(LIMIT, "its absence is told", async || {
        errors().contains("warning").then_some(())
    })
    .await;
    world.router.respawn();
    world.router.until_ready().await;
    let both = eventually(LIMIT, "the next request", async || {
        a_failed_request(&world).await;
        (text().matches(ID).count() > 1).then(text)
    })
    .await;
    assert!(both.starts_with(&shown), "{both}");
    tail.kill().expect("ended");
    tail.wait().expect("ended");
}

#[tokio::test]
async fn what_is_logged_changes_for_a_time_and_back() {
    let world = World::start(&[("telemetry.log_filter", "warn")]).await;
    let shown = world.json(&["log-level"]);
    assert_eq!(shown["replicas"][0]["filter"], "warn");
    assert_eq!(shown["replicas"][0]["until"], Value::Null);
    let filter = "warn,beamline_router::request=info";
    let changed = world.json(&["log-level", filter, "--for", "5m"]);
    assert_eq!(changed["replicas"][0]["filter"], filter);
    assert!(changed["replicas"][0]["until"].is_string(), "{changed}");
    a_failed_request(&world).await;
    eventually(LIMIT, "the line", async || {
        world.router.log().contains(ID).then_some(())
    })
    .await;
    let reset = world.json(&["log-level", "--reset"]);
    assert_eq!(reset["replicas"][0]["filter"], "warn");
    for (arguments, told) in [
        (["log-level", "warning"].as_slice(), "did you mean warn?"),
        (&["log-level", "info", "--for", "2d"], "a day"),
    ] {
        let (_, sentence) = world.fails(arguments);
        assert!(sentence.contains(told), "{arguments:?}: {sentence}");
    }
}

#[tokio::test]
async fn what_is_logged_is_for_operators_to_change() {
    let world = World::start(&[("admin.anonymous", "viewer"), ("admin.open", "false")]).await;
    let (code, sentence) = world.fails(&["log-level", "trace"]);
    assert!(code == 1 && sentence.contains("key"), "{sentence}");
}

#[tokio::test]
async fn what_was_served_lately_is_shown_by_extension_and_tenant() {
    let world = World::start(&[]).await;
    a_failed_request(&world).await;
    let shown = eventually(LIMIT, "the figures", async || {
        let said = world.run(&["top", "--once"]);
        (said.code == Some(0) && said.out.contains("demo")).then_some(said.out)
    })
    .await;
    assert!(shown.starts_with("1 replica: "), "{shown}");
    assert!(
        shown.contains("normalize_text") && shown.contains("100.0%"),
        "{shown}"
    );
    let document = world.json(&["top", "--once", "--last", "1m"]);
    let steps = document["replicas"][0]["steps"].as_array().expect("steps");
    let counted: u64 = steps
        .iter()
        .filter_map(|step| step["requests"]["count"].as_u64())
        .sum();
    assert_eq!((steps.len(), counted), (6, 1), "{document}");
}
