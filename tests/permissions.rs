//! A router that its NATS server does not let do what it needs says so, and blames no extension.

use beamline_test_support::{Caller, Demo, LIMIT, Nats, RouterProcess};
use serde_json::json;

/// A server where the router alone lacks a permission.
async fn server_that_denies(what: &str, subject: &str) -> Nats {
    Nats::start_configured(&format!(
        r#"authorization {{
            users: [{{user: all, password: all}},
                    {{user: router, password: router, permissions: {{{what}: {{deny: ["{subject}"]}}}}}}]
        }}
        no_auth_user: all"#
    ))
    .await
}

fn spawn(nats: &Nats) -> RouterProcess {
    RouterProcess::spawn(&[
        ("nats.url", nats.url()),
        ("nats.user", "router"),
        ("nats.password", "router"),
    ])
}

#[tokio::test]
async fn a_call_that_is_not_permitted_is_refused_at_once_and_no_breaker_opens() {
    let nats = server_that_denies("publish", "beamline.provider.>").await;
    let _demo = Demo::serve(&nats).await;
    let mut router = spawn(&nats);
    router.until_ready().await;
    let caller = Caller::connect(&nats).await;
    for number in 0..6 {
        let answer = caller.route(&format!("r-{number}")).await;
        assert_eq!(answer["error"]["code"], "extension_error", "{answer}");
        assert_eq!(
            answer["error"]["details"]["error_type"], "refused",
            "{answer}"
        );
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("grant it")),
            "{answer}"
        );
    }
    let states = caller.admin("get_circuit_breaker_states", json!({})).await;
    assert_eq!(
        states["states"]["mock_provider"]["state"], "closed",
        "{states}"
    );
    assert!(router.log().contains("config_error"), "{}", router.log());
}

#[tokio::test]
async fn a_router_that_may_not_listen_for_requests_does_not_start() {
    for subject in ["beamline.router.v1.route", "beamline.router.v1.decide"] {
        let nats = server_that_denies("subscribe", subject).await;
        let mut router = spawn(&nats);
        assert!(!router.wait_exit(LIMIT).await.success());
        let log = router.log();
        assert!(
            log.contains(&format!("does not let this router subscribe to {subject}")),
            "{log}"
        );
    }
}
