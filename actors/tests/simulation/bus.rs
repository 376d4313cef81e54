//! A bus on which calls end as the faults of the moment say, and that remembers them all.

use beamline_domain::record;
use std::collections::{BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::ports::{Answer, Call, TransportError};
use beamline_actors::testing::MemoryTransport;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::faults::End;
use crate::story::Story;
use crate::world::text;

#[derive(Debug)]
pub(crate) struct Bus {
    /// Kind and id by subject.
    owners: HashMap<String, (String, String)>,
    pub(crate) transport: Arc<MemoryTransport>,
    state: Mutex<State>,
    story: Story,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    /// How often it was taken away and not given back.
    away: usize,
    /// By the number of the fault; the last one counts.
    broken: Vec<(usize, Vec<String>, End)>,
    calls: Vec<Called>,
}

/// One call, as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) request_id: String,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
    /// The bus was away, and it was sent all the same.
    pub(crate) into_nothing: bool,
    pub(crate) panicked: bool,
}

impl Bus {
    pub(crate) fn new(seed: u64, records: &[Value], story: Story) -> Arc<Self> {
        let owned = |record: &Value| {
            let extension = record::parse(&record.to_string(), "beamline").unwrap();
            let owner = (text(record, "type").to_owned(), extension.id.clone());
            extension
                .subjects("beamline")
                .into_iter()
                .map(move |subject| (subject, owner.clone()))
        };
        let owners = records.iter().flat_map(owned).collect();
        let state = State {
            rng: Rng::with_seed(!seed),
            away: 0,
            broken: Vec::new(),
            calls: Vec::new(),
        };
        let bus = Arc::new(Self {
            owners,
            transport: MemoryTransport::new(),
            state: Mutex::new(state),
            story,
        });
        for subject in bus.owners.keys() {
            let calls = Arc::downgrade(&bus);
            bus.transport.handles(subject, move |call| {
                end_of(calls.upgrade().unwrap(), call).boxed()
            });
        }
        bus
    }

    pub(crate) fn set_away(&self, away: bool) {
        let mut state = self.state.lock();
        state.away = if away { state.away + 1 } else { state.away - 1 };
        self.transport.set_away(state.away > 0);
    }

    pub(crate) fn breaks(&self, fault: usize, subjects: &[String], end: End) {
        self.state
            .lock()
            .broken
            .push((fault, subjects.to_vec(), end));
    }

    pub(crate) fn mends(&self, fault: usize) {
        self.state
            .lock()
            .broken
            .retain(|(number, ..)| *number != fault);
    }

    /// Everybody who may be called.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.owners.values().map(|(_, id)| id.clone()).collect()
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.state.lock().calls.clone()
    }

    /// Takes note of a call and says how it ends and after how long.
    fn record(&self, call: &Call) -> (Option<End>, Duration) {
        let unknown = || ("nobody's".to_owned(), call.subject.to_string());
        let (kind, id) = self
            .owners
            .get(&*call.subject)
            .cloned()
            .unwrap_or_else(unknown);
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let mut state = self.state.lock();
        let broken = state
            .broken
            .iter()
            .rev()
            .find(|(_, subjects, _)| subjects.iter().any(|s| **s == *call.subject));
        let mut end = broken.map(|(.., end)| *end);
        if end == Some(End::Panic) && state.rng.u32(0..3) > 0 {
            end = None;
        }
        self.story.tell(|| {
            format!(
                "{} attempt {} of {id} ({}): {end:?}",
                text(&body, "request_id"),
                call.attempt,
                call.subject
            )
        });
        let called = Called {
            kind,
            id,
            request_id: text(&body, "request_id").to_owned(),
            attempt: call.attempt,
            at: Instant::now(),
            timeout: call.timeout,
            into_nothing: state.away > 0,
            panicked: end == Some(End::Panic),
        };
        state.calls.push(called);
        let takes = Duration::from_micros(state.rng.u64(500..15_000));
        (end, takes)
    }
}

async fn end_of(bus: Arc<Bus>, call: Call) -> Result<Answer, TransportError> {
    let (end, takes) = bus.record(&call);
    let takes = match end {
        Some(End::Silent) => Duration::MAX,
        Some(End::Slow(takes)) => takes,
        _ => takes,
    };
    sleep(takes.min(call.timeout)).await;
    // An answer that comes while the bus is away is lost.
    if bus.state.lock().away > 0 {
        return Err(TransportError::NotConnected);
    }
    if takes >= call.timeout {
        return Err(TransportError::Timeout);
    }
    let kind = bus
        .owners
        .get(&*call.subject)
        .map(|(kind, _)| kind.as_str())
        .unwrap_or_default();
    answer(kind, end)
}

fn answer(kind: &str, end: Option<End>) -> Result<Answer, TransportError> {
    let body = match (end, kind) {
        (Some(End::NoResponders), _) => return Err(TransportError::NoResponders),
        // Without the words of a panic hook: there are thousands.
        (Some(End::Panic), _) => resume_unwind(Box::new("a panic of the simulation")),
        (Some(End::Malformed), _) => json!([]),
        (Some(End::Error { code, retryable }), _) => {
            json!({"error": {"code": code, "message": "m", "retryable": retryable}})
        }
        (Some(End::AsksToWait { code }), _) => {
            json!({"error": {"code": code, "message": "m", "retry_after_ms": 1_500}})
        }
        (Some(End::Reject), "validator") => json!({"status": "reject", "reason": "no"}),
        (_, "validator") => json!({"status": "ok"}),
        (_, "provider") => json!({"output": "an answer"}),
        _ => json!({"payload": {"payload": "changed"}, "metadata": {"seen": true}}),
    };
    Ok(Answer {
        body: Bytes::from(body.to_string()),
        ..Answer::default()
    })
}
