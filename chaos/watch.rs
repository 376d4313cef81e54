//! What routers say of themselves while a scenario runs: readiness, counters, memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use beamline_test_support::http_get;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const EVERY: Duration = Duration::from_millis(200);
/// Who takes longer to answer a probe is seen as not answering.
const PATIENCE: Duration = Duration::from_secs(2);

/// One look at `/readyz`: its status, or nothing when nobody answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) at: Instant,
    pub(crate) ready: Option<bool>,
}

/// Asks one router for as long as it lives.
#[derive(Debug)]
pub(crate) struct Watch {
    probes: Arc<Mutex<Vec<Probe>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(router: SocketAddr) -> Self {
        let probes: Arc<Mutex<Vec<Probe>>> = Arc::default();
        let notes = Arc::clone(&probes);
        let task = tokio::spawn(async move {
            loop {
                let at = Instant::now();
                let said = timeout(PATIENCE, http_get(router, "/readyz"))
                    .await
                    .ok()
                    .flatten();
                notes.lock().push(Probe {
                    at,
                    ready: said.map(|(code, _)| code == 200),
                });
                sleep(EVERY).await;
            }
        });
        Self { probes, task }
    }

    pub(crate) fn probes(&self) -> Vec<Probe> {
        self.probes.lock().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a router has taken in and answered, looked at again and again.
#[derive(Debug)]
pub(crate) struct Progress {
    notes: Arc<Mutex<Vec<Note>>>,
    task: JoinHandle<()>,
}

/// Two counters at a moment between these two.
#[derive(Debug, Clone, Copy)]
struct Note {
    from: Instant,
    to: Instant,
    received: f64,
    answered: f64,
}

impl Progress {
    pub(crate) fn start(router: SocketAddr) -> Self {
        let notes: Arc<Mutex<Vec<Note>>> = Arc::default();
        let taken = Arc::clone(&notes);
        let task = tokio::spawn(async move {
            loop {
                let from = Instant::now();
                if let Some(counters) = Counters::of(router).await {
                    let received = counters.get(RECEIVED);
                    let answered = counters.get(ANSWERED);
                    taken.lock().push(Note {
                        from,
                        to: Instant::now(),
                        received,
                        answered,
                    });
                }
                sleep(EVERY).await;
            }
        });
        Self { notes, task }
    }

    /// The most requests that were older than `age` and not answered, at any of the moments;
    /// nothing when there were not enough of them to tell.
    pub(crate) fn overdue(&self, age: Duration) -> Option<f64> {
        overdue(&self.notes.lock(), age)
    }
}

fn overdue(notes: &[Note], age: Duration) -> Option<f64> {
    let counts = notes.iter().filter_map(|now| {
        let old = notes.iter().rev().find(|old| old.to + age <= now.from)?;
        Some((old.received - now.answered).max(0.0))
    });
    counts.reduce(f64::max)
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const RECEIVED: &str = "router_requests_received_total";
const ANSWERED: &str = "router_requests_answered_total";
/// What is not zero while requests or calls hold anything.
const HELD: [&str; 4] = [
    "router_requests_in_flight",
    "router_requests_queued",
    "router_request_bytes",
    "extension_in_flight",
];

/// The counters of `/metrics` by name with all labels added up, and each for itself by its name
/// with its labels.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counters(BTreeMap<String, f64>);

impl Counters {
    pub(crate) async fn of(router: SocketAddr) -> Option<Self> {
        let (_, text) = timeout(PATIENCE, http_get(router, "/metrics"))
            .await
            .ok()??;
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ')?;
            let value = value.parse::<f64>().unwrap_or(0.0);
            if let Some((name, _labels)) = series.split_once('{') {
                *sums.entry(name.to_owned()).or_insert(0.0) += value;
            }
            *sums.entry(series.to_owned()).or_insert(0.0) += value;
        }
        Some(Self(sums))
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Tasks of the router's runtime.
    pub(crate) fn tasks(&self) -> f64 {
        self.get("router_tasks")
    }

    /// Requests that the router answered with `ok` or with this error, whether or not the answers
    /// arrived.
    pub(crate) fn answered_with(&self, outcome: &str) -> f64 {
        let label = format!("outcome=\"{outcome}\"");
        let of_outcome = |series: &str| series.starts_with(ANSWERED) && series.contains(&label);
        let counts = self.0.iter().filter(|(series, _)| of_outcome(series));
        counts.map(|(_, count)| count).sum()
    }

    /// Whether everything that was taken in is answered and nothing is held, and what does not add
    /// up.
    pub(crate) fn settled(&self) -> Result<(), String> {
        let received = self.get(RECEIVED);
        let answered = self.get(ANSWERED);
        // What a router does not show cannot be told to be zero.
        let held = HELD.map(|name| (name, self.0.get(name).copied().unwrap_or(f64::NAN)));
        let even =
            (received - answered).abs() < 0.5 && held.iter().all(|(_, count)| count.abs() < 0.5);
        even.then_some(())
            .ok_or_else(|| format!("received {received}, answered {answered}, and {held:?}"))
    }
}

/// Resident memory of a process now and at its highest, in MiB.
pub(crate) fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let figure = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
            .map(|kib| kib / 1024)
    };
    Some((figure("VmRSS:")?, figure("VmHWM:")?))
}

/// What a process has used of the processors so far.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    // User and system time, in hundredths of a second.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2);
    Duration::from_millis(
        fields
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>()
            * 10,
    )
}

#[test]
fn what_was_received_a_while_ago_and_is_not_answered_is_overdue() {
    let begun = Instant::now();
    let note = |second: u64, received: f64, answered: f64| {
        let from = begun + Duration::from_secs(second);
        Note {
            from,
            to: from + Duration::from_millis(1),
            received,
            answered,
        }
    };
    let age = Duration::from_secs(2);
    assert_eq!(
        overdue(
            &[note(0, 5.0, 0.0), note(1, 9.0, 3.0), note(3, 9.0, 5.0)],
            age
        ),
        Some(0.0)
    );
    assert_eq!(
        overdue(
            &[note(0, 5.0, 0.0), note(3, 9.0, 4.0), note(9, 9.0, 9.0)],
            age
        ),
        Some(1.0)
    );
    assert_eq!(overdue(&[note(0, 5.0, 0.0), note(1, 9.0, 4.0)], age), None);
}
