use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use beamline_actors::ports::{Answer, Call, Transport, TransportError};
use beamline_bus::headers;
use beamline_contract::trace::Carried;
use beamline_test_support::{Nats, TcpProxy, until, within};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::edge::nats::forgeries::Forgery;
use crate::edge::nats::testing::{self, LateLink, config, subscribe};
use crate::edge::nats::{Connection, NatsTransport};

const SUBJECT: &str = "beamline.ext.pre.normalize_text.v1";
/// Longer than the limit of every test.
const ENDLESS: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

fn call(timeout: Duration) -> Call {
    Call {
        subject: SUBJECT.into(),
        body: Bytes::from_static(br#"{"payload":"Hi"}"#),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        carried: Carried::default(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        tenant_id: "acme".into(),
        timeout,
        attempt: 2,
    }
}

async fn transport(url: &str) -> (NatsTransport, Connection) {
    testing::transport(&config(url)).await
}

async fn listen(server: &Nats) -> (Client, Subscriber) {
    let client = server.client().await;
    let subscriber = subscribe(&client, SUBJECT).await;
    (client, subscriber)
}

/// Answers every request with what `answer` makes of it.
async fn respond(
    server: &Nats,
    answer: impl Fn(&Message) -> (HeaderMap, Bytes) + Send + 'static,
) -> AbortOnDropHandle<()> {
    let (client, mut requests) = listen(server).await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let (headers, body) = answer(&request);
            client
                .publish_with_headers(request.reply.unwrap(), headers, body)
                .await
                .unwrap();
        }
    }))
}

async fn ended(transport: &NatsTransport, call: Call) -> Result<Answer, TransportError> {
    within("the call ends", transport.ask(call)).await
}

#[tokio::test]
async fn a_call_carries_its_headers_and_brings_the_answer() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let (client, mut requests) = listen(&server).await;
    let sent_at = SystemTime::now();
    let pending = tokio::spawn(transport.ask(call(ENDLESS)));

    let request = within("the request arrives", requests.next())
        .await
        .unwrap();
    assert_eq!(&request.payload[..], br#"{"payload":"Hi"}"#);
    let received = request.headers.clone().unwrap();
    let expected = [
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("tenant_id", "acme"),
        ("Router-Timeout-Ms", "600000"),
        ("Router-Attempt", "2"),
    ];
    for (name, value) in expected {
        assert_eq!(headers::text(&received, name), Some(value), "{name}");
    }
    let deadline = headers::text(&received, "Router-Deadline").unwrap();
    let deadline = humantime::parse_rfc3339(deadline).unwrap();
    assert!(
        deadline + Duration::from_millis(1) >= sent_at + ENDLESS
            && deadline <= SystemTime::now() + ENDLESS
    );
    assert_eq!(received.len(), 6);

    client
        .publish(request.reply.unwrap(), "{}".into())
        .await
        .unwrap();
    let answer = within("the answer arrives", pending)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&answer.body[..], answer.service_error), (&b"{}"[..], None));
    assert_eq!(transport.waiting(), 0);
}

#[tokio::test]
async fn calls_side_by_side_get_their_own_answers() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let _echo = respond(&server, |request| {
        (HeaderMap::new(), request.payload.clone())
    })
    .await;
    let mut calls = JoinSet::new();
    for n in 0..500 {
        let body = Bytes::from(n.to_string());
        let answer = transport.ask(Call {
            body: body.clone(),
            ..call(ENDLESS)
        });
        calls.spawn(async move { (body, answer.await) });
    }
    for (body, answer) in within("all calls end", calls.join_all()).await {
        assert_eq!(answer.unwrap().body, body);
    }
}

#[tokio::test]
async fn nobody_listening_is_told_at_once() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    assert_eq!(
        ended(&transport, call(ENDLESS)).await.unwrap_err(),
        TransportError::NoResponders
    );
}

#[tokio::test]
async fn a_silent_extension_times_out_and_leaves_nothing_behind() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let (_client, _silent) = listen(&server).await;
    assert_eq!(
        ended(&transport, call(SHORT)).await.unwrap_err(),
        TransportError::Timeout
    );
    // A caller that goes away in the middle.
    let abandoned = transport.ask(call(ENDLESS));
    assert!(abandoned.now_or_never().is_none());
    assert_eq!(transport.waiting(), 0);
}

#[tokio::test]
async fn late_and_double_answers_reach_nobody() {
    let server = Nats::start().await;
    let (transport, connection) = transport(server.url()).await;
    let (client, mut requests) = listen(&server).await;
    assert_eq!(
        ended(&transport, call(SHORT)).await.unwrap_err(),
        TransportError::Timeout
    );
    let pending = tokio::spawn(transport.ask(call(ENDLESS)));
    let mut replies = Vec::new();
    for _ in 0..2 {
        replies.push(
            within("the request arrives", requests.next())
                .await
                .unwrap()
                .reply
                .unwrap(),
        );
    }
    client
        .publish(replies[0].clone(), "late".into())
        .await
        .unwrap();
    client
        .publish(replies[1].clone(), "right".into())
        .await
        .unwrap();
    client
        .publish(replies[1].clone(), "double".into())
        .await
        .unwrap();
    assert_eq!(
        &within("the answer arrives", pending)
            .await
            .unwrap()
            .unwrap()
            .body[..],
        b"right"
    );
    let forgeries = connection.forgeries();
    until("both are counted", || {
        (
            forgeries.late_answers(),
            forgeries.of(Forgery::SecondAnswer),
        ) == (1, 1)
    })
    .await;
    assert_eq!(forgeries.all(), 1, "a late answer is no forgery");
}

/// A server whose only user lacks a permission.
async fn server_that_denies(what: &str, subject: &str) -> Nats {
    let permissions = format!("{{{what}: {{deny: [\"{subject}\"]}}}}");
    let user = format!("{{user: u, password: p, permissions: {permissions}}}");
    Nats::start_configured(&format!(
        "authorization {{users: [{user}]}}\nno_auth_user: u\n"
    ))
    .await
}

#[tokio::test]
async fn a_call_that_the_server_denies_ends_at_once_and_blames_the_permission() {
    let server = server_that_denies("publish", "beamline.ext.pre.>").await;
    let (transport, connection) = transport(server.url()).await;
    let refused = ended(&transport, call(ENDLESS)).await.unwrap_err();
    assert!(
        matches!(&refused, TransportError::Refused(text) if text.contains("publish")),
        "{refused:?}"
    );
    assert!(connection.is_connected());
    let other = Call {
        subject: "beamline.ext.post.mask_pii.v1".into(),
        ..call(ENDLESS)
    };
    assert_eq!(
        ended(&transport, other).await.unwrap_err(),
        TransportError::NoResponders
    );
}

#[tokio::test]
async fn a_subscription_that_the_server_denies_is_known() {
    let server = server_that_denies("subscribe", "beamline.router.v1.route").await;
    let (_transport, connection) = transport(server.url()).await;
    let _allowed = connection
        .client()
        .subscribe("beamline.router.v1.decide")
        .await
        .unwrap();
    let _in_vain = connection
        .client()
        .subscribe("beamline.router.v1.route")
        .await
        .unwrap();
    until("the denial is known", || connection.subscription_denied()).await;
    assert_eq!(
        connection.denied(),
        ["subscribe to beamline.router.v1.route"]
    );
}

#[tokio::test]
async fn a_server_killed_during_a_call_ends_the_call() {
    let mut server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let (_client, mut requests) = listen(&server).await;
    let pending = tokio::spawn(transport.ask(call(ENDLESS)));
    within("the request arrives", requests.next())
        .await
        .unwrap();
    server.kill();
    assert_eq!(
        within("the call ends", pending).await.unwrap().unwrap_err(),
        TransportError::NotConnected
    );
    assert!(!transport.is_connected());
    assert_eq!(transport.waiting(), 0);
}

#[tokio::test]
async fn what_is_refused_during_an_outage_is_never_sent() {
    let server = Nats::start().await;
    let mut wire = TcpProxy::start(server.address()).await;
    let (transport, connection) = transport(&wire.nats_url()).await;
    let served = Arc::new(AtomicUsize::new(0));
    let _responder = respond(&server, {
        let served = Arc::clone(&served);
        move |_| {
            (
                HeaderMap::new(),
                served.fetch_add(1, Ordering::Relaxed).to_string().into(),
            )
        }
    })
    .await;
    wire.cut().await;
    until("the loss is noticed", || !transport.is_connected()).await;
    for _ in 0..100 {
        assert_eq!(
            ended(&transport, call(ENDLESS)).await.unwrap_err(),
            TransportError::NotConnected
        );
    }
    wire.restore();
    until("the connection is back", || transport.is_connected()).await;
    // On one connection the order holds: anything that was kept would have come before this.
    assert_eq!(
        &ended(&transport, call(ENDLESS)).await.unwrap().body[..],
        b"0"
    );
    assert_eq!(connection.reconnects(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_around_a_crash_all_end() {
    let mut server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let (_client, mut requests) = listen(&server).await;
    let mut calls = JoinSet::new();
    for n in 0..10_000 {
        calls.spawn(transport.ask(call(ENDLESS)));
        if n == 1000 {
            within("a request arrives", requests.next()).await.unwrap();
            server.kill();
        }
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for outcome in within("all calls end", calls.join_all()).await {
        assert_eq!(outcome.unwrap_err(), TransportError::NotConnected);
    }
    assert_eq!(transport.waiting(), 0);
}

#[tokio::test]
async fn a_frozen_server_is_not_the_fault_of_the_extension() {
    let server = Nats::start().await;
    let (transport, connection) = transport(server.url()).await;
    let _echo = respond(&server, |request| {
        (HeaderMap::new(), request.payload.clone())
    })
    .await;
    assert!(ended(&transport, call(ENDLESS)).await.is_ok());
    server.pause().await;
    // Bodies that fill the sockets and then the queue, where calls wait for a place.
    let body = Bytes::from(vec![b'x'; 64 * 1024]);
    let mut calls = JoinSet::new();
    for _ in 0..3000 {
        calls.spawn(transport.ask(Call {
            body: body.clone(),
            ..call(SHORT)
        }));
    }
    for outcome in within("all calls end", calls.join_all()).await {
        // Three thousand at once may hold this process up, and then it cannot tell.
        let error = outcome.unwrap_err();
        assert!(
            matches!(
                error,
                TransportError::NotConnected | TransportError::BusLate
            ),
            "{error:?}"
        );
    }
    assert_eq!(
        connection.link().borrow().losses,
        0,
        "found before the pings"
    );
    server.resume();
    let works = async {
        while transport.ask(call(SHORT)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("calls work again", works).await;
}

#[tokio::test]
async fn a_late_bus_is_not_the_fault_of_the_extension() {
    let server = Nats::start().await;
    let link = LateLink::to(&server).await;
    let (transport, _connection) = transport(&link.url).await;
    let _echo = respond(&server, |request| {
        (HeaderMap::new(), request.payload.clone())
    })
    .await;
    assert!(ended(&transport, call(ENDLESS)).await.is_ok());
    link.lag(SHORT * 2);
    // Answers to others come all the while.
    let others = transport.clone();
    let _others = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut calls = JoinSet::new();
        loop {
            calls.spawn(others.ask(call(ENDLESS)));
            sleep(SHORT / 40).await;
        }
    }));
    assert!(
        ended(&transport, call(ENDLESS)).await.is_ok(),
        "it answers, only late"
    );
    let outcomes = join_all((0..10).map(|_| ended(&transport, call(SHORT)))).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome.as_ref().unwrap_err() == TransportError::BusLate),
        "{outcomes:?}"
    );
    // One that is always that far away tells nothing by it.
    transport.trips_take(SHORT * 2);
    assert_eq!(
        ended(&transport, call(SHORT)).await.unwrap_err(),
        TransportError::Timeout
    );
    link.lag(Duration::ZERO);
    let works = async { while transport.ask(call(SHORT)).await.is_err() {} };
    within("calls work again", works).await;
}

#[tokio::test]
async fn what_the_bus_cannot_carry_is_not_sent() {
    let server = Nats::start().await;
    let (transport, connection) = transport(server.url()).await;
    let _echo = respond(&server, |request| {
        (
            HeaderMap::new(),
            Bytes::from(request.payload.len().to_string()),
        )
    })
    .await;
    let limit = connection.client().max_payload();
    let too_large = Call {
        body: Bytes::from(vec![b'x'; limit]),
        ..call(ENDLESS)
    };
    let error = ended(&transport, too_large).await.unwrap_err();
    let TransportError::TooLarge { size, limit: room } = error else {
        panic!("{error}")
    };
    assert!(
        size == limit && room < limit && room > limit - 512,
        "{size} {room}"
    );
    let largest = Call {
        body: Bytes::from(vec![b'x'; transport.max_body()]),
        ..call(ENDLESS)
    };
    let answer = ended(&transport, largest).await.unwrap();
    assert_eq!(
        &answer.body[..],
        transport.max_body().to_string().as_bytes()
    );
}

#[tokio::test]
async fn service_errors_are_read_in_any_case() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(Headers, Option<u16>, &str); 4] = [
        (
            &[
                ("Nats-Service-Error", "no model"),
                ("Nats-Service-Error-Code", "503"),
            ],
            Some(503),
            "no model",
        ),
        (
            &[
                ("nats-service-error", "no model"),
                ("NATS-SERVICE-ERROR-CODE", "400"),
            ],
            Some(400),
            "no model",
        ),
        (&[("Nats-Service-Error-Code", "99999")], None, ""),
        (&[("Nats-Service-Error", "x")], None, "x"),
    ];
    for (given, code, text) in cases {
        let responder = respond(&server, move |_| {
            let headers = given
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            (headers, Bytes::new())
        })
        .await;
        let answer = ended(&transport, call(ENDLESS)).await.unwrap();
        assert_eq!(
            answer.service_error,
            Some((code, text.to_owned())),
            "{given:?}"
        );
        responder.abort();
        let _ = within("the responder ends", responder).await;
    }
}

#[tokio::test]
async fn a_wait_is_asked_for_in_milliseconds_or_seconds() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(Headers, Option<Duration>); 10] = [
        (&[("Retry-After", "3")], Some(Duration::from_secs(3))),
        (&[("retry-after", " 0 ")], Some(Duration::ZERO)),
        (
            &[("retry_after_ms", "250")],
            Some(Duration::from_millis(250)),
        ),
        (
            &[("Retry-After", "1"), ("Retry_After_Ms", "750")],
            Some(Duration::from_millis(750)),
        ),
        (
            &[("retry_after_ms", "soon"), ("Retry-After", "2")],
            Some(Duration::from_secs(2)),
        ),
        (
            &[("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT")],
            Some(Duration::ZERO),
        ),
        (
            &[("Retry-After", "-1"), ("retry-after-ms", "1.5")],
            Some(Duration::from_micros(1_500)),
        ),
        (&[("Retry-After", "0.25")], Some(Duration::from_millis(250))),
        (&[("Retry-After", "-1")], None),
        (&[("Retry-After", "soon")], None),
    ];
    for (given, wait) in cases {
        let responder = respond(&server, move |_| {
            let headers = given
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            (headers, Bytes::from_static(b"{}"))
        })
        .await;
        let answer = ended(&transport, call(ENDLESS)).await.unwrap();
        assert_eq!(answer.retry_after, wait, "{given:?}");
        responder.abort();
        let _ = within("the responder ends", responder).await;
    }
}

#[tokio::test]
async fn outside_text_that_cannot_travel_is_refused() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let (_client, mut requests) = listen(&server).await;
    let evil = "acme\r\nRouter-Attempt: 9";
    let mut calls = vec![
        Call {
            tenant_id: evil.into(),
            ..call(ENDLESS)
        },
        Call {
            trace_id: evil.into(),
            ..call(ENDLESS)
        },
        Call {
            traceparent: evil.into(),
            carried: Carried::default(),
            ..call(ENDLESS)
        },
    ];
    let subjects = [
        "",
        ".",
        "a..b",
        ".a",
        "a.",
        "a b",
        "a\r\nPUB x 0\r\n\r\n",
        "beamline.ext.>",
        "beamline.*",
        "a\0",
    ];
    calls.extend(subjects.map(|subject| Call {
        subject: subject.into(),
        ..call(ENDLESS)
    }));
    for call in calls {
        let error = ended(&transport, call).await.unwrap_err();
        let TransportError::Refused(sentence) = error else {
            panic!("{error}")
        };
        assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    }
    assert!(requests.next().now_or_never().is_none());
}

#[tokio::test]
async fn extreme_timeouts_do_no_harm() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    assert_eq!(
        ended(&transport, call(Duration::MAX)).await.unwrap_err(),
        TransportError::NoResponders
    );
    let (_client, _silent) = listen(&server).await;
    assert_eq!(
        ended(&transport, call(Duration::ZERO)).await.unwrap_err(),
        TransportError::Timeout
    );
}

#[tokio::test]
async fn after_the_end_nothing_is_called() {
    let server = Nats::start().await;
    let (transport, connection) = transport(server.url()).await;
    let (_client, mut requests) = listen(&server).await;
    let pending = tokio::spawn(transport.ask(call(ENDLESS)));
    within("the request arrives", requests.next())
        .await
        .unwrap();
    assert!(connection.close().await);
    assert_eq!(
        within("the call ends", pending).await.unwrap().unwrap_err(),
        TransportError::NotConnected
    );
    assert_eq!(
        ended(&transport, call(ENDLESS)).await.unwrap_err(),
        TransportError::NotConnected
    );
}

#[tokio::test]
async fn a_ping_asks_the_service_by_its_name_and_silence_is_an_answer() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(server.url()).await;
    let ping = |limit| within("the ping ends", transport.ping("normalize_text", limit));
    assert_eq!(ping(ENDLESS).await, Ok(false), "nobody listens");

    let client = server.client().await;
    let mut pings = subscribe(&client, "$SRV.PING.normalize_text").await;
    assert_eq!(ping(SHORT).await, Ok(false), "who listens says nothing");
    within("the ping arrives", pings.next()).await.unwrap();
    let answering = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(asked) = pings.next().await {
            client
                .publish(asked.reply.unwrap(), Bytes::from_static(b"{}"))
                .await
                .unwrap();
        }
    }));
    assert_eq!(ping(ENDLESS).await, Ok(true));
    drop(answering);

    let refused = within("the ping ends", transport.ping("a b", ENDLESS)).await;
    assert!(
        matches!(refused, Err(TransportError::Refused(_))),
        "{refused:?}"
    );
}
