//! Clients: a closed loop that finds out what the router can do, and an open one that does not
//! care.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::world::World;

#[derive(Debug)]
pub(crate) struct Generator {
    sender: Client,
    /// A connection of its own, so that answers do not wait behind requests.
    receiver: Client,
}

/// What is asked, over and over.
#[derive(Debug)]
pub(crate) struct Request {
    subject: &'static str,
    body: &'static [u8],
}

/// A pre-processor, a validator, a provider and a post-processor are called.
pub(crate) const ROUTE: Request = Request {
    subject: "beamline.router.v1.route",
    body: br#"{"version": "1", "tenant_id": "acme", "request_id": "r-1", "timeout_ms": 5000,
    "message": {"message_id": "m-1", "message_type": "chat", "payload": "What is the capital of France?"}}"#,
};

/// Nobody is called; the provider is one that the caller reaches itself.
pub(crate) const DECIDE: Request = Request {
    subject: "beamline.router.v1.decide",
    body: br#"{"version": "1", "tenant_id": "acme", "request_id": "r-1", "timeout_ms": 5000, "policy_id": "choice",
    "message": {"message_id": "m-1", "message_type": "chat", "payload": "What is the capital of France?"}}"#,
};

/// When a closed loop ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    Sent(usize),
}

/// What a closed loop got.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) served: usize,
    /// Refused, failed otherwise, or never answered.
    pub(crate) failed: usize,
    seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    /// A refusal is an end.
    Patient,
    /// A refusal is sent again at once, three times.
    RetryingThrice,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) served: usize,
    pub(crate) refused: usize,
    /// All refusals, those that were sent again among them.
    pub(crate) refusals: usize,
    /// Other errors.
    pub(crate) failed: usize,
    /// Never answered.
    pub(crate) lost: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) refused_p99: Duration,
}

/// Answers that have not come by then do not come.
const PATIENCE: Duration = Duration::from_secs(6);
const TICK: Duration = Duration::from_millis(1);
const RETRIES: u8 = 3;

impl Generator {
    pub(crate) async fn connect(world: &World) -> Self {
        let receiver = async_nats::ConnectOptions::new()
            .subscription_capacity(1 << 20)
            .connect(&world.url)
            .await;
        Self {
            sender: world.client.clone(),
            receiver: receiver.expect("nats-server"),
        }
    }

    /// So many clients, each of which sends its next request when it has an answer.
    pub(crate) async fn closed_loop(
        &self,
        request: &'static Request,
        clients: usize,
        until: Until,
    ) -> Done {
        let begun = Instant::now();
        let sent = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(closed_client(
                self.sender.clone(),
                request,
                until,
                begun,
                Arc::clone(&sent),
            ));
        }
        let mut done = Done {
            served: 0,
            failed: 0,
            seconds: 0.0,
        };
        while let Some(client) = running.join_next().await {
            let (served, failed) = client.expect("a client");
            done.served += served;
            done.failed += failed;
        }
        done.seconds = begun.elapsed().as_secs_f64();
        done
    }

    /// Sends so many requests a second, whatever comes back.
    pub(crate) async fn open_loop(&self, rate: f64, time: Duration, clients: Clients) -> Run {
        let inbox = self.receiver.new_inbox();
        let answers = self
            .receiver
            .subscribe(format!("{inbox}.*"))
            .await
            .expect("a subscription");
        self.receiver.flush().await.expect("flushed");
        let total = (rate * time.as_secs_f64()) as usize;
        let begun = Instant::now();
        let collecting = tokio::spawn(collect(
            answers,
            self.sender.clone(),
            inbox.clone(),
            total,
            begun,
            rate,
            clients,
        ));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        while sent < total {
            ticks.tick().await;
            let due = ((begun.elapsed().as_secs_f64() * rate) as usize).min(total);
            while sent < due {
                let reply = format!("{inbox}.{sent}");
                self.sender
                    .publish_with_reply(ROUTE.subject, reply, Bytes::from_static(ROUTE.body))
                    .await
                    .expect("published");
                sent += 1;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        Run {
            seconds,
            ..collecting.await.expect("no panic")
        }
    }

    /// Time until requests are served as without load, five in a row.
    pub(crate) async fn recovery(&self, usual: Duration) -> Duration {
        let begun = Instant::now();
        let mut recovered_at = begun;
        let mut good = 0;
        while good < 5 && begun.elapsed() < Duration::from_secs(30) {
            let asked = Instant::now();
            let served = is_answered(&self.sender, &ROUTE).await;
            good = if served && asked.elapsed() <= usual * 2 {
                good + 1
            } else {
                0
            };
            if good <= 1 {
                recovered_at = asked;
            }
        }
        recovered_at - begun
    }
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.served as f64 / self.seconds
    }
}

/// How many of its requests were served, and how many were not.
async fn closed_client(
    client: Client,
    request: &Request,
    until: Until,
    begun: Instant,
    sent: Arc<AtomicUsize>,
) -> (usize, usize) {
    let mut served = 0;
    let mut failed = 0;
    loop {
        let is_over = match until {
            Until::Elapsed(time) => begun.elapsed() >= time,
            Until::Sent(total) => sent.fetch_add(1, Ordering::Relaxed) >= total,
        };
        if is_over {
            return (served, failed);
        }
        if is_answered(&client, request).await {
            served += 1;
        } else {
            failed += 1;
        }
    }
}

async fn is_answered(client: &Client, request: &Request) -> bool {
    let body = Bytes::from_static(request.body);
    match timeout(PATIENCE, client.request(request.subject, body)).await {
        Ok(Ok(answer)) => is_served(&answer.payload),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Reads answers until all have come, or none for too long. A request counts from the time at which
/// it was due, so that a generator that falls behind does not hide what it waited for.
async fn collect(
    mut answers: Subscriber,
    sender: Client,
    inbox: String,
    total: usize,
    begun: Instant,
    rate: f64,
    clients: Clients,
) -> Run {
    let mut tries = vec![0_u8; total];
    let mut served = Vec::new();
    let mut refused = Vec::new();
    let mut failed = 0;
    while served.len() + refused.len() + failed < total {
        let Ok(Some(answer)) = timeout(PATIENCE, answers.next()).await else {
            break;
        };
        let number: usize = answer
            .subject
            .rsplit('.')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        let took = begun
            .elapsed()
            .saturating_sub(Duration::from_secs_f64(number as f64 / rate));
        if is_served(&answer.payload) {
            served.push(took);
        } else if !is_refused(&answer.payload) {
            failed += 1;
        } else if clients == Clients::RetryingThrice && tries[number] < RETRIES {
            tries[number] += 1;
            let reply = format!("{inbox}.{number}");
            sender
                .publish_with_reply(ROUTE.subject, reply, Bytes::from_static(ROUTE.body))
                .await
                .expect("published");
        } else {
            refused.push(took);
        }
    }
    let lost = total - served.len() - refused.len() - failed;
    served.sort();
    refused.sort();
    let at = |sorted: &[Duration], part: usize| {
        sorted
            .get(sorted.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    Run {
        seconds: 0.0,
        served: served.len(),
        refused: refused.len(),
        refusals: refused.len() + tries.iter().map(|tries| usize::from(*tries)).sum::<usize>(),
        failed,
        lost,
        p50: at(&served, 50),
        p99: at(&served, 99),
        refused_p99: at(&refused, 99),
    }
}

fn is_served(body: &[u8]) -> bool {
    body.starts_with(br#"{"ok":true"#)
}

fn is_refused(body: &[u8]) -> bool {
    let code = br#""code":"overloaded""#;
    body.windows(code.len()).any(|window| window == code)
}
