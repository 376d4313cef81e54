use std::sync::Arc;
use std::time::Duration;

use beamline_test_support::{Nats, TcpProxy, until, within};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::edge::nats::ConnectError;
use crate::edge::nats::testing::{config, config_with, connect, connected, subscribe};

#[tokio::test]
async fn without_a_server_it_gives_up_with_advice() {
    let error = within(
        "it gives up",
        connect(
            &config_with("nats://127.0.0.1:1", &[("nats.startup_timeout", "200ms")]),
            "t",
        ),
    )
    .await
    .unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("no NATS server answered at nats://127.0.0.1:1 within 200ms: "),
        "{sentence}"
    );
    let advice = "Start one, correct nats.url, or wait longer with nats.startup_timeout.";
    assert!(sentence.ends_with(advice), "{sentence}");
}

#[tokio::test]
async fn a_silent_server_does_not_hold_it_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let connecting = connect(
        &config_with(&url, &[("nats.startup_timeout", "200ms")]),
        "t",
    )
    .await;
    let error = connecting.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Unreachable { server, .. } if *server == url),
        "{error}"
    );
}

#[tokio::test]
async fn it_waits_for_a_server_that_starts_later() {
    let mut server = Nats::start().await;
    let wire = TcpProxy::start(server.address()).await;
    server.kill();
    let config = config_with(&wire.nats_url(), &[("nats.startup_timeout", "10m")]);
    let connecting = tokio::spawn(async move { connect(&config, "t").await });
    until("somebody tries to connect", || wire.connections() > 0).await;
    server.restart().await;
    let connection = within("it connects", connecting).await.unwrap().unwrap();
    assert!(connection.is_connected());
}

#[tokio::test]
async fn wrong_credentials_are_told_at_once() {
    let server =
        Nats::start_configured("authorization { user: joe, password: right-password }").await;
    let with = |password| {
        let login = [
            ("nats.user", "joe"),
            ("nats.password", password),
            ("nats.startup_timeout", "10m"),
        ];
        config_with(server.url(), &login)
    };
    let error = within("it gives up", connect(&with("wrong-password"), "t"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("refuses these credentials. Set nats.creds_file"),
        "{error}"
    );
    assert!(
        within("it connects", connect(&with("right-password"), "t"))
            .await
            .unwrap()
            .is_connected()
    );
}

#[tokio::test]
async fn an_unreadable_file_is_told_at_once() {
    let directory = TempDir::new().unwrap();
    for key in ["nats.creds_file", "nats.tls.ca_file"] {
        let file = directory.path().join("gone");
        std::fs::write(&file, "no credentials").unwrap();
        let path = file.display().to_string();
        let config = config_with(
            "nats://127.0.0.1:1",
            &[(key, &path), ("nats.startup_timeout", "10m")],
        );
        std::fs::remove_file(&file).unwrap();
        let error = within("it gives up", connect(&config, "t"))
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::File(_)), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot read {key} {path}: ")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn one_of_several_servers_is_enough() {
    let server = Nats::start().await;
    let url = format!("nats://127.0.0.1:1, {}", server.url());
    assert!(
        within("it connects", connect(&config(&url), "t"))
            .await
            .unwrap()
            .is_connected()
    );
}

#[tokio::test]
async fn loss_and_return_are_told_and_counted() {
    let server = Nats::start().await;
    let mut wire = TcpProxy::start(server.address()).await;
    let connection = connect(&config(&wire.nats_url()), "t").await.unwrap();
    let mut link = connection.link();
    assert!(link.borrow_and_update().connected && connection.is_connected());
    assert_eq!(connection.reconnects(), 0);

    wire.cut().await;
    within(
        "the loss is told",
        link.wait_for(|link| !link.connected && link.losses == 1),
    )
    .await
    .unwrap();
    assert!(!connection.is_connected());
    let away_for = connection.away_for().unwrap();
    until("time passes", || {
        connection.away_for().is_some_and(|now| now > away_for)
    })
    .await;

    wire.restore();
    within("it is back", connection.back()).await;
    within("the return is told", link.wait_for(|link| link.connected))
        .await
        .unwrap();
    assert!(connection.is_connected() && connection.away_for().is_none());
    within("it is there", connection.back()).await;
    assert_eq!(connection.reconnects(), 1);
}

#[tokio::test]
async fn a_frozen_server_is_found_by_its_pings() {
    let server = Nats::start().await;
    let connection = connect(
        &config_with(server.url(), &[("nats.ping_interval", "100ms")]),
        "t",
    )
    .await
    .unwrap();
    server.pause().await;
    until("the loss is noticed", || !connection.is_connected()).await;
    server.resume();
    until("the connection is back", || connection.is_connected()).await;
}

#[tokio::test]
async fn dropped_messages_are_counted_and_hide_no_loss() {
    let server = Nats::start().await;
    let mut wire = TcpProxy::start(server.address()).await;
    let connection = connect(&config(&wire.nats_url()), "t").await.unwrap();
    let _never_read = subscribe(&connection.client(), "flood").await;
    // More than the subscription and the queue of events hold together.
    let other = server.client().await;
    let flood = async {
        while connection.slow_consumer_events() < 200 {
            for _ in 0..2000 {
                other.publish("flood", "x".into()).await.unwrap();
            }
            other.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    within("messages are dropped", flood).await;
    assert!(connection.is_connected());
    wire.cut().await;
    until("the loss is noticed", || !connection.is_connected()).await;
    wire.restore();
    until("the connection is back", || connection.is_connected()).await;
}

#[tokio::test]
async fn closing_writes_what_is_queued() {
    let server = Nats::start().await;
    let connection = connect(&config(server.url()), "t").await.unwrap();
    let other = server.client().await;
    let mut messages = subscribe(&other, "last.words").await;
    for _ in 0..100 {
        connection
            .client()
            .publish("last.words", "x".into())
            .await
            .unwrap();
    }
    assert!(connection.close().await);
    assert!(!connection.is_connected());
    for _ in 0..100 {
        within("every message arrives", messages.next())
            .await
            .unwrap();
    }
    assert!(!connection.close().await, "there is nothing left to close");
}

#[tokio::test]
async fn closing_has_a_limit() {
    let server = Nats::start().await;
    let connection = connect(
        &config_with(server.url(), &[("nats.ping_interval", "120s")]),
        "t",
    )
    .await
    .unwrap();
    server.pause().await;
    // More than the sockets take.
    let body = bytes::Bytes::from(vec![b'x'; 512 * 1024]);
    let client = connection.client();
    let publish = || {
        timeout(
            Duration::from_millis(200),
            client.publish("x", body.clone()),
        )
    };
    let filling = async { while publish().await.is_ok() {} };
    within("the queue is full", filling).await;
    assert!(!within("closing ends", connection.close()).await);
}

/// What no client library writes: a carriage return inside a header value.
pub(super) async fn publish_deadly(server: &Nats, subject: &str) {
    server
        .publish_bare(subject, "NATS/1.0\r\na: b\rc\r\n\r\n", "")
        .await;
}

#[tokio::test]
async fn a_client_that_panics_is_replaced_and_counted() {
    let server = Nats::start().await;
    let connection = connected(&config(server.url())).await;
    let mut link = connection.link();
    for round in 1..=3 {
        let client = connection.client();
        let mut messages = subscribe(&client, "deadly").await;
        publish_deadly(&server, "deadly").await;
        within(
            "the loss is told",
            link.wait_for(|link| link.losses == round),
        )
        .await
        .unwrap();
        assert!(
            client.publish("x", "".into()).await.is_err(),
            "nothing is swallowed after the loss is told"
        );
        assert!(
            within("the subscription ends", messages.next())
                .await
                .is_none()
        );
        let next = within("another client", connection.client_after(&client)).await;
        within("the return is told", link.wait_for(|link| link.connected))
            .await
            .unwrap();
        assert!(connection.is_connected());
        assert_eq!(
            (connection.replacements(), connection.reconnects()),
            (round, round)
        );
        let _works = subscribe(&next, "other").await;
    }
    assert_eq!(link.borrow().losses, 3);
    assert!(within("it closes", connection.close()).await);
    assert_eq!(
        connection.replacements(),
        3,
        "a client that was closed is not replaced"
    );
}

#[tokio::test]
async fn nothing_keeps_a_connection_that_nobody_has() {
    let server = Nats::start().await;
    let connection = connect(&config(server.url()), "t").await.unwrap();
    let mut link = connection.link();
    drop(connection);
    within("all is dropped", async {
        while link.changed().await.is_ok() {}
    })
    .await;
}

#[tokio::test]
async fn a_lame_duck_is_left_before_it_ends() {
    let [duck, other] = Nats::start_two().await;
    let connection = within("it knows both", async {
        loop {
            let connection = connected(&config(duck.url())).await;
            if connection.client().server_pool().await.unwrap().len() > 1 {
                break connection;
            }
        }
    })
    .await;
    let before = connection.client();
    duck.lame_duck();
    let after = within("another client", connection.client_after(&before)).await;
    let place = after.server_info().port;
    assert!(
        other.url().ends_with(&place.to_string()),
        "port {place} is not that of {}",
        other.url()
    );
    until("the move is known", || connection.reconnects() == 1).await;
    // The one before still serves: what is under way ends in peace.
    let _works = subscribe(&before, "under.way").await;
    let mut link = connection.link();
    drop(before);
    let _works_too = subscribe(&after, "next").await;
    assert!(connection.is_connected() && connection.is_settled());
    assert_eq!(link.borrow_and_update().losses, 0);
}

#[tokio::test]
async fn the_replacement_of_clients_goes_on_after_it_was_killed() {
    let server = Nats::start().await;
    let connection = connected(&config(server.url())).await;
    let node = Arc::clone(connection.child().node());
    node.kill();
    until("it is back", || {
        (node.view().restarts, &*node.view().status) == (1, "running")
    })
    .await;
    connection.client().drain().await.unwrap();
    until("there is another client", || connection.replacements() == 1).await;
}
