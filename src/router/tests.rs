use async_nats::RequestErrorKind;
use beamline_test_support::{Nats, within};
use tempfile::TempDir;

use super::*;
use crate::config::{Overrides, load_from};

#[tokio::test]
async fn what_has_begun_of_a_start_that_fails_is_stopped() {
    // Nothing that the router tells itself arrives.
    let nats = Nats::start_configured(
        r#"authorization {
            users: [{user: all, password: all},
                    {user: router, password: router, permissions: {publish: {deny: ["_INBOX.>"]}}}]
        }
        no_auth_user: all"#,
    )
    .await;
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name).display().to_string();
    let settings = [
        ("nats.url", nats.url().to_owned()),
        ("nats.user", "router".to_owned()),
        ("nats.password", "router".to_owned()),
        ("http.listen", "127.0.0.1:0".to_owned()),
        ("router.state_dir", place("state")),
        ("database.url", format!("sqlite://{}", place("registry.db"))),
    ];
    let overrides = Overrides {
        set: settings.map(|(key, value)| (key.to_owned(), value)).into(),
        ..Overrides::default()
    };
    let config = load_from(&overrides, []).unwrap();
    let error = within("the start fails", Router::start(config)).await;
    let sentence = error.unwrap_err().to_string();
    assert!(
        sentence.starts_with("NATS does not let this router publish to _INBOX.beamline_router."),
        "{sentence}"
    );
    assert!(sentence.contains("Grant that to its user"), "{sentence}");
    let asked = nats.client().await;
    let asked = asked.request("beamline.router.v1.route", "{}".into());
    let error = within("somebody or nobody answers", asked).await;
    assert_eq!(error.unwrap_err().kind(), RequestErrorKind::NoResponders);
}
