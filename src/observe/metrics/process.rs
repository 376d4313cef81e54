//! The figures of this process, under the names that all client libraries give them.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::table;

#[derive(Debug)]
pub(crate) struct Process {
    started: Duration,
}

impl Process {
    pub(crate) fn started_now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            started: since.unwrap_or_default(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let started = ConstGauge::new(self.started.as_secs_f64());
        table::PROCESS_START.encode(&mut encoder, started)?;
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds = seconds(usage.user_time()) + seconds(usage.system_time());
            table::PROCESS_CPU.encode(&mut encoder, ConstCounter::new(seconds))?;
        }
        let status = fs::read_to_string("/proc/self/status");
        if let Some(bytes) = status.ok().as_deref().and_then(resident) {
            table::PROCESS_MEMORY.encode(&mut encoder, gauge(bytes))?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // Without the one that lists them.
            let open = files.count().saturating_sub(1) as u64;
            table::PROCESS_FILES.encode(&mut encoder, gauge(open))?;
        }
        if let Ok((most, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            table::PROCESS_MOST_FILES.encode(&mut encoder, gauge(most))?;
        }
        Ok(())
    }
}

pub(crate) fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// Bytes in memory.
fn resident(status: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
