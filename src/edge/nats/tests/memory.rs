//! What a call leaves behind whose answer never comes.

use std::time::Duration;

use async_nats::Request;
use beamline_actors::ports::Call;
use beamline_contract::trace::Carried;
use beamline_test_support::{Nats, within};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::edge::nats::testing::{config, subscribe, transport};

const SUBJECT: &str = "beamline.ext.pre.silent.v1";
const TIMEOUT: Duration = Duration::from_millis(50);
/// Side by side; many more would wait for a place in the client's queue (2,048).
const AT_ONCE: usize = 1_000;

fn call() -> Call {
    Call {
        subject: SUBJECT.into(),
        body: Bytes::from_static(b"{}"),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        carried: Carried::default(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        tenant_id: "acme".into(),
        timeout: TIMEOUT,
        attempt: 1,
    }
}

/// Times out so many calls, some at a time.
async fn time_out<F: Future<Output = bool>>(calls: usize, one: impl Fn() -> F) {
    for _ in 0..calls / AT_ONCE {
        let mut round: FuturesUnordered<F> = (0..AT_ONCE).map(|_| one()).collect();
        while let Some(timed_out) = within("a call ends", round.next()).await {
            assert!(timed_out);
        }
    }
}

#[tokio::test]
async fn after_many_timeouts_nobody_is_waited_for() {
    let server = Nats::start().await;
    let (transport, _connection) = transport(&config(server.url())).await;
    let client = server.client().await;
    let _silent = subscribe(&client, SUBJECT).await;
    // On a busy machine the server may seem to hang; that ends a call as well.
    time_out(5 * AT_ONCE, || async {
        transport.ask(call()).await.is_err()
    })
    .await;
    assert_eq!(transport.waiting(), 0);
}

/// Not a test but a measurement: `cargo test --lib -- --ignored memory_of_timed_out_calls
/// --nocapture`.
#[tokio::test]
#[ignore = "takes two minutes; prints the table of docs/decisions/0010-retry-budgets.md"]
async fn memory_of_timed_out_calls() {
    const ROUNDS: usize = 6;
    const PER_ROUND: usize = 100_000;
    let server = Nats::start().await;
    let (transport, _connection) = transport(&config(server.url())).await;
    let listening = server.client().await;
    let mut silent = subscribe(&listening, SUBJECT).await;
    let _drain = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        while silent.next().await.is_some() {}
    }));
    println!(
        "| timed-out calls | this transport, RSS in MiB | async-nats `send_request`, RSS in MiB |"
    );
    let own = measure(ROUNDS, PER_ROUND, || async {
        transport.ask(call()).await.is_err()
    })
    .await;
    assert_eq!(transport.waiting(), 0);
    let client = server.client().await;
    let theirs = measure(ROUNDS, PER_ROUND, || async {
        let request = Request::new()
            .payload(Bytes::from_static(b"{}"))
            .timeout(Some(TIMEOUT));
        client.send_request(SUBJECT, request).await.is_err()
    })
    .await;
    for (round, (own, theirs)) in own.iter().zip(&theirs).enumerate() {
        println!("| {} | {own:.1} | {theirs:.1} |", round * PER_ROUND);
    }
}

/// Resident memory before, and after each round.
async fn measure<F: Future<Output = bool>>(
    rounds: usize,
    calls: usize,
    one: impl Fn() -> F,
) -> Vec<f64> {
    // The first calls fill pools and queues that stay.
    time_out(5 * AT_ONCE, &one).await;
    let mut table = vec![resident()];
    for _ in 0..rounds {
        time_out(calls, &one).await;
        table.push(resident());
    }
    table
}

/// MiB of this process.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}
