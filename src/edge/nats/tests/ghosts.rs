//! Calls whose callers were answered long ago must not be executed: not by this router's fault
//! after an outage, and not by that of a server which hung with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use beamline_actors::ports::{Answer, Call, Transport, TransportError};
use beamline_contract::trace::Carried;
use beamline_extension::{CallContext, Edit, Extension, Message, Running, Settings};
use beamline_test_support::{Nats, until, within};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use crate::edge::nats::NatsTransport;
use crate::edge::nats::testing::{config, transport};

const SUBJECT: &str = "beamline.ext.pre.clean.v1";
/// Longer than the client needs to notice that a server hangs, so that nothing but the deadline
/// ends these calls.
const SHORT: Duration = Duration::from_millis(300);
/// Clocks may differ by so much; the extension believes only in deadlines that are older.
const CLOCK_SKEW: Duration = Duration::from_secs(1);
/// More than the client queues (2,048), so that some of them are never even handed to it.
const CALLS: usize = 3_000;

fn call(id: &str, timeout: Duration) -> Call {
    let body = format!(r#"{{"request_id": "{id}", "payload": {{"payload": 1}}}}"#);
    Call {
        subject: SUBJECT.into(),
        body: Bytes::from(body),
        traceparent: "".into(),
        carried: Carried::default(),
        trace_id: "t".into(),
        tenant_id: "acme".into(),
        timeout,
        attempt: 1,
    }
}

/// Remembers whom it did work for.
struct Worker {
    worked: Arc<Mutex<Vec<String>>>,
    running: Running,
}

impl Worker {
    async fn start(server: &Nats) -> Self {
        let worked: Arc<Mutex<Vec<String>>> = Arc::default();
        let remember = Arc::clone(&worked);
        let extension = Extension::pre("clean", move |_: Message, call: CallContext| {
            remember.lock().push(call.request_id);
            std::future::ready(Ok(Edit::unchanged()))
        });
        Self {
            worked,
            running: extension
                .serve(&Settings::for_url(server.url()))
                .await
                .unwrap(),
        }
    }

    fn worked_for(&self, what: &str) -> usize {
        self.worked
            .lock()
            .iter()
            .filter(|id| id.starts_with(what))
            .count()
    }
}

/// Calls until one is answered. On one connection the order holds: what was kept has come before
/// that.
async fn until_answered(transport: &NatsTransport) {
    let works = async {
        while transport
            .ask(call("after", Duration::from_secs(5)))
            .await
            .is_err()
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("calls work again", works).await;
}

fn start(transport: &NatsTransport, calls: usize) -> JoinSet<Result<Answer, TransportError>> {
    let mut under_way = JoinSet::new();
    for n in 0..calls {
        under_way.spawn(transport.ask(call(&format!("ghost-{n}"), SHORT)));
    }
    under_way
}

/// Thousands of calls at once may hold this process up, and then it cannot tell a lost bus from a
/// late one.
fn assert_bus_fault(error: &TransportError) {
    assert!(
        matches!(
            error,
            TransportError::NotConnected | TransportError::BusLate
        ),
        "{error:?}"
    );
}

async fn until_past(deadline: SystemTime) {
    until("the deadlines are past", || SystemTime::now() > deadline).await;
}

#[tokio::test]
async fn what_a_hanging_server_kept_is_dropped_when_it_goes_on() {
    let server = Nats::start().await;
    let worker = Worker::start(&server).await;
    let (transport, connection) = transport(&config(server.url())).await;
    until_answered(&transport).await;

    server.pause().await;
    let under_way = start(&transport, CALLS);
    for ended in within("all calls end", under_way.join_all()).await {
        assert_bus_fault(&ended.unwrap_err());
    }
    until_past(SystemTime::now() + CLOCK_SKEW).await;
    server.resume();
    until_answered(&transport).await;

    assert_eq!(
        connection.link().borrow().losses,
        0,
        "it is the same connection: what was written to it arrives"
    );
    let expired = worker.running.counts().expired;
    assert!(expired > 0, "some did reach the extension");
    assert_eq!(worker.worked_for("ghost"), 0, "{expired} were dropped");
    assert_eq!(transport.waiting(), 0);
}

#[tokio::test]
async fn what_was_queued_when_the_server_died_is_not_executed_after_its_restart() {
    let mut server = Nats::start().await;
    let worker = Worker::start(&server).await;
    let (transport, _connection) = transport(&config(server.url())).await;
    until_answered(&transport).await;

    let under_way = start(&transport, CALLS);
    until("calls are under way", || transport.waiting() > 0).await;
    server.kill();
    let answered = AtomicUsize::new(0);
    for ended in within("all calls end", under_way.join_all()).await {
        match ended {
            Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
            Err(error) => assert_bus_fault(&error),
        }
    }
    until("the loss is noticed", || !transport.is_connected()).await;
    for n in 0..CALLS {
        let refused = transport
            .ask(call(&format!("ghost-refused-{n}"), Duration::from_secs(60)))
            .await;
        assert_eq!(refused.unwrap_err(), TransportError::NotConnected);
    }
    // The calls ended with the server, before their time.
    until_past(SystemTime::now() + SHORT + CLOCK_SKEW).await;
    let before = worker.worked_for("ghost");
    assert!(before >= answered.into_inner());

    server.restart().await;
    until("the connection is back", || transport.is_connected()).await;
    yield_now().await;
    until_answered(&transport).await;
    assert_eq!(
        worker.worked_for("ghost"),
        before,
        "nothing of what was kept was executed"
    );
    assert_eq!(
        worker.worked_for("ghost-refused"),
        0,
        "and nothing that was refused was sent"
    );
    assert_eq!(transport.waiting(), 0);
}
