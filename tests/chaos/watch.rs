//! What routers say of themselves while a scenario runs: readiness, counters, memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::http_get;

const EVERY: Duration = Duration::from_millis(200);
/// Who takes longer to answer a probe is seen as not answering.
const PATIENCE: Duration = Duration::from_secs(2);

/// One look at `/readyz`: its status, or nothing when nobody answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) at: Instant,
    pub(super) ready: Option<bool>,
}

/// Asks one router for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    probes: Arc<Mutex<Vec<Probe>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(router: SocketAddr) -> Self {
        let probes: Arc<Mutex<Vec<Probe>>> = Arc::default();
        let notes = Arc::clone(&probes);
        let task = tokio::spawn(async move {
            loop {
                let at = Instant::now();
                let said = timeout(PATIENCE, http_get(router, "/readyz")).await.ok().flatten();
                notes.lock().push(Probe { at, ready: said.map(|(code, _)| code == 200) });
                sleep(EVERY).await;
            }
        });
        Self { probes, task }
    }

    pub(super) fn probes(&self) -> Vec<Probe> {
        self.probes.lock().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The counters of `/metrics` by name, all labels added up.
#[derive(Debug, Default, Clone)]
pub(super) struct Counters(BTreeMap<String, f64>);

impl Counters {
    pub(super) async fn of(router: SocketAddr) -> Option<Self> {
        let (_, text) = timeout(PATIENCE, http_get(router, "/metrics")).await.ok()??;
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.split('{').next().unwrap_or(name);
            *sums.entry(name.to_owned()).or_insert(0.0) += value.parse::<f64>().unwrap_or(0.0);
        }
        Some(Self(sums))
    }

    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Tasks of the router's runtime.
    pub(super) fn tasks(&self) -> f64 {
        self.get("router_tasks")
    }

    /// Whether everything that was taken in is answered, and what does not add up.
    pub(super) fn settled(&self) -> Result<(), String> {
        let (received, answered, in_flight) = (
            self.get("router_requests_received_total"),
            self.get("router_requests_answered_total"),
            self.get("router_requests_in_flight"),
        );
        let even = (received - answered).abs() < 0.5 && in_flight.abs() < 0.5;
        even.then_some(()).ok_or_else(|| format!("received {received}, answered {answered}, in flight {in_flight}"))
    }
}

/// Resident memory of a process now and at its highest, in MiB.
pub(super) fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let figure = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    Some((figure("VmRSS:")?, figure("VmHWM:")?))
}

/// What a process has used of the processors so far.
pub(super) fn cpu_time(pid: u32) -> Duration {
    // User and system time, in hundredths of a second.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}
