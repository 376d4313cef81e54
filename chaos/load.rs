//! The gateway: sends requests at a given rate, open loop, and keeps every answer to each of them.
//!
//! Each request has a reply subject of its own for the whole scenario, so that a late or a second
//! answer is seen too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, StatusCode};
use beamline_test_support::{LIMIT, Part};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::traffic::{Class, DEADLINE};

/// A request, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) class: &'static Class,
    pub(crate) at: Instant,
    /// Which try of the client this is, from 0.
    pub(crate) attempt: u32,
    pub(crate) answers: Vec<Answer>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    /// `ok`, or the code of the error.
    pub(crate) code: String,
    pub(crate) degraded: bool,
    pub(crate) provider: Option<String>,
    pub(crate) body: Option<Value>,
}

impl Sent {
    /// The first answer says that all went well.
    pub(crate) fn served(&self) -> bool {
        self.code() == Some("ok")
    }

    pub(crate) fn code(&self) -> Option<&str> {
        self.answers.first().map(|answer| answer.code.as_str())
    }

    pub(crate) fn took(&self) -> Option<Duration> {
        self.answers.first().map(|answer| answer.at - self.at)
    }
}

/// Load under way. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    client: Client,
    inbox: String,
    classes: &'static [Class],
    /// Requests a second, as bits.
    rate: AtomicU64,
    stopped: AtomicBool,
    /// Further tries of a request that was refused or failed.
    retries: u32,
    sent: Mutex<Vec<Sent>>,
    again: Mutex<Vec<(&'static Class, u32)>>,
    /// When and for how long this program itself was held up.
    lags: Mutex<Vec<(Instant, Duration)>>,
}

const TICK: Duration = Duration::from_millis(5);
/// Longer than this is felt in what is measured.
const HELD_UP: Duration = Duration::from_millis(50);
/// A client that takes longer to accept a request than this has no server.
const ACCEPT_LIMIT: Duration = Duration::from_millis(50);

impl Load {
    pub(crate) async fn start(
        url: &str,
        classes: &'static [Class],
        rate: f64,
        retries: u32,
    ) -> Self {
        let client = connect(url, Part::Tester).await;
        let inbox = client.new_inbox();
        let mut answers = client
            .subscribe(format!("{inbox}.*"))
            .await
            .expect("a subscription");
        client.flush().await.expect("flushed");
        let shared = Arc::new(Shared {
            client,
            inbox,
            classes,
            rate: AtomicU64::new(rate.to_bits()),
            stopped: AtomicBool::new(false),
            retries,
            sent: Mutex::default(),
            again: Mutex::default(),
            lags: Mutex::default(),
        });
        let reads = Arc::clone(&shared);
        let reader = tokio::spawn(async move {
            while let Some(message) = answers.next().await {
                reads.answered(&message);
            }
        });
        let sender = tokio::spawn(Arc::clone(&shared).send());
        Self {
            shared,
            tasks: [reader, sender],
        }
    }

    pub(crate) fn set_rate(&self, rate: f64) {
        self.shared.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Sends nothing more, and waits until everything is answered or nothing can come any more.
    pub(crate) async fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let limit = Instant::now() + DEADLINE + Duration::from_secs(2);
        while Instant::now() < limit
            && self
                .shared
                .sent
                .lock()
                .iter()
                .any(|sent| sent.answers.is_empty())
        {
            sleep(TICK).await;
        }
        // What was answered twice has arrived when this has.
        let _server_away = timeout(Duration::from_secs(2), self.shared.client.flush()).await;
        sleep(Duration::from_millis(100)).await;
    }

    /// Everything that was sent so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.shared.sent.lock().clone()
    }

    /// Looks at what was sent since then, without copying it.
    pub(crate) fn since<R>(&self, then: Instant, look: impl FnOnce(&[Sent]) -> R) -> R {
        let all = self.shared.sent.lock();
        look(&all[all.partition_point(|sent| sent.at < then)..])
    }

    /// What 99 in 100 of these took at most, of all that were sent in a time. While this program
    /// itself was held up, nobody can tell how long anything took.
    pub(crate) fn p99(&self, from: Instant, to: Instant, of: impl Fn(&Sent) -> bool) -> Duration {
        let lags = self.lags();
        let held_up = |sent: &Sent, took: Duration| {
            let after = lags.partition_point(|(at, _)| *at < sent.at);
            lags[after..]
                .iter()
                .take_while(|(at, lag)| *at <= sent.at + took + *lag)
                .any(|(_, lag)| *lag > HELD_UP)
        };
        self.since(from, |sent| {
            let sent = sent.iter().filter(|sent| sent.at < to && of(sent));
            let timed = sent.filter_map(|sent| Some((sent, sent.took()?)));
            let mut took: Vec<Duration> = timed
                .filter(|(sent, took)| !held_up(sent, *took))
                .map(|(_, took)| took)
                .collect();
            took.sort();
            took.get(took.len() * 99 / 100).copied().unwrap_or_default()
        })
    }

    pub(crate) fn lags(&self) -> Vec<(Instant, Duration)> {
        self.shared.lags.lock().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    async fn send(self: Arc<Self>) {
        let mut due = 0.0;
        let mut next = 0;
        let mut last = Instant::now();
        while !self.stopped.load(Ordering::Relaxed) {
            sleep(TICK).await;
            let now = Instant::now();
            let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
            let passed = now - last;
            last = now;
            if passed > TICK * 4 {
                self.lags.lock().push((now, passed));
            }
            due += passed.as_secs_f64() * rate;
            while due >= 1.0 {
                due -= 1.0;
                self.send_one(&self.classes[next % self.classes.len()], 0)
                    .await;
                next += 1;
            }
            let again = std::mem::take(&mut *self.again.lock());
            for (class, attempt) in again {
                self.send_one(class, attempt).await;
            }
        }
    }

    /// A gateway without a server sends nothing: what its client kept would come out of order and
    /// too late.
    async fn send_one(&self, class: &'static Class, attempt: u32) {
        if self.client.connection_state() != State::Connected {
            return;
        }
        let number = {
            let mut sent = self.sent.lock();
            sent.push(Sent {
                class,
                at: Instant::now(),
                attempt,
                answers: Vec::new(),
            });
            sent.len() - 1
        };
        let subject = format!("beamline.router.v1.{}", class.operation);
        let body = class.request(number);
        let reply = format!("{}.{number}", self.inbox);
        let mut headers = HeaderMap::new();
        let deadline = humantime::format_rfc3339_millis(SystemTime::now() + DEADLINE);
        headers.insert("Router-Deadline", deadline.to_string());
        let sending = self.client.publish_with_reply_and_headers(
            subject,
            reply,
            headers,
            body.to_string().into(),
        );
        if !matches!(timeout(ACCEPT_LIMIT, sending).await, Ok(Ok(()))) {
            self.note(number, "unsent".to_owned(), None);
        }
    }

    fn answered(&self, message: &async_nats::Message) {
        let number = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number");
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return self.note(number, "nobody_subscribed".to_owned(), None);
        }
        let body: Value = serde_json::from_slice(&message.payload)
            .unwrap_or_else(|_| json!({"error": {"code": "not_json"}}));
        let code = if body["ok"] == true {
            "ok"
        } else {
            body["error"]["code"].as_str().unwrap_or("no_code")
        };
        self.note(number, code.to_owned(), Some(body));
    }

    fn note(&self, number: usize, code: String, body: Option<Value>) {
        let (retry, class, attempt) = {
            let mut all = self.sent.lock();
            let sent = &mut all[number];
            let degraded = body.as_ref().is_some_and(|body| {
                body["degraded"]
                    .as_array()
                    .is_some_and(|list| !list.is_empty())
            });
            let provider = body
                .as_ref()
                .and_then(|body| body["response"]["provider_id"].as_str())
                .map(str::to_owned);
            let retry = sent.answers.is_empty() && code != "ok" && sent.attempt < self.retries;
            // A request that was refused at the door was not read.
            let named = body
                .as_ref()
                .and_then(|body| body["context"]["request_id"].as_str());
            let wrong = named.is_some_and(|id| id != class_id(number));
            let code = if wrong {
                "answer_to_another".to_owned()
            } else {
                code
            };
            let body = body.filter(|_| code != "ok");
            sent.answers.push(Answer {
                at: Instant::now(),
                code,
                degraded,
                provider,
                body,
            });
            (retry, sent.class, sent.attempt)
        };
        if retry {
            self.again.lock().push((class, attempt + 1));
        }
    }
}

/// The id of a request by its number.
pub(crate) fn class_id(number: usize) -> String {
    format!("chaos-{number}")
}

/// A connection that notices soon that its server is gone, and that it is back.
pub(crate) async fn connect(url: &str, part: Part) -> Client {
    let options = part
        .options()
        .ping_interval(Duration::from_secs(1))
        .reconnect_delay_callback(|_| Duration::from_millis(100));
    timeout(LIMIT, options.connect(url))
        .await
        .expect("an answer in time")
        .expect("the server answers")
}
