//! The table, and whether the promises hold.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::generator::{Clients, Run};

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) level: f64,
    pub(crate) clients: Clients,
    pub(crate) goodput: f64,
    pub(crate) served: usize,
    pub(crate) refused: usize,
    pub(crate) refusals: usize,
    pub(crate) failed: usize,
    pub(crate) lost: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) refused_p99: Duration,
    /// Processor time of the router.
    pub(crate) cpu: Duration,
    pub(crate) recovery: Duration,
    /// In MiB.
    pub(crate) memory: u64,
}

impl Row {
    pub(crate) const HEADER: &str = "load          sent   goodput/s   served  refused  failed  lost    p50 ms    p99 ms  refused p99 ms  recovery s  cpu s  MiB";

    pub(crate) fn of(run: &Run) -> Self {
        Self {
            level: 0.0,
            clients: Clients::Patient,
            goodput: run.served as f64 / run.seconds,
            served: run.served,
            refused: run.refused,
            refusals: run.refusals,
            failed: run.failed,
            lost: run.lost,
            p50: run.p50,
            p99: run.p99,
            refused_p99: run.refused_p99,
            cpu: Duration::ZERO,
            recovery: Duration::ZERO,
            memory: 0,
        }
    }

    fn sent(&self) -> usize {
        self.served + self.refused + self.failed + self.lost
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let retries = if self.clients == Clients::RetryingThrice {
            "+r"
        } else {
            ""
        };
        write!(
            out,
            "{:<8} {:>9} {:>11.0} {:>8} {:>8} {:>7} {:>5} {:>9.1} {:>9.1} {:>15.1} {:>11.2} {:>6.1} {:>4}",
            format!("{}x{retries}", self.level),
            self.sent(),
            self.goodput,
            self.served,
            self.refused,
            self.failed,
            self.lost,
            ms(self.p50),
            ms(self.p99),
            ms(self.refused_p99),
            self.recovery.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.memory,
        )
    }
}

/// What was measured, for programs.
pub(crate) fn document(capacity: f64, rows: &[Row]) -> Value {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let levels = rows.iter().map(|row| {
        json!({
            "load": row.level, "retries": row.clients == Clients::RetryingThrice, "sent": row.sent(),
            "goodput_per_s": row.goodput, "served": row.served, "refused": row.refused, "failed": row.failed,
            "lost": row.lost, "p50_ms": ms(row.p50), "p99_ms": ms(row.p99), "refused_p99_ms": ms(row.refused_p99),
            "recovery_s": row.recovery.as_secs_f64(), "router_cpu_s": row.cpu.as_secs_f64(), "router_mib": row.memory,
        })
    });
    json!({"capacity_per_s": capacity, "levels": levels.collect::<Vec<_>>()})
}

/// Prints what was promised and what was measured, as ratios.
pub(crate) fn verdict(rows: &[Row]) {
    let Some(unloaded) = rows.first() else { return };
    let peak = rows.iter().map(|row| row.goodput).fold(0.0, f64::max);
    println!();
    for row in rows.iter().filter(|row| row.level >= 10.0) {
        let retries = if row.clients == Clients::RetryingThrice {
            " with three retries at once"
        } else {
            ""
        };
        println!("at {}x{retries}:", row.level);
        say(
            "  goodput of the peak, at least 90 %",
            row.goodput / peak * 100.0,
            row.goodput >= peak * 0.9,
        );
        let slower = row.p99.as_secs_f64() / unloaded.p99.as_secs_f64() * 100.0;
        say(
            "  p99 of accepted of the unloaded p99, at most 200 %",
            slower,
            slower <= 200.0,
        );
        println!(
            "  recovery {:.2} s, at most 5 s: {}",
            row.recovery.as_secs_f64(),
            word(row.recovery.as_secs() < 5)
        );
    }
    if let [_, at_capacity, .., patient, retrying] = rows {
        // The last two served about the same and differ in what they refused.
        let served = at_capacity.cpu.as_secs_f64() / at_capacity.served.max(1) as f64;
        let more_served = retrying.served as f64 - patient.served as f64;
        let more_cpu =
            retrying.cpu.as_secs_f64() - patient.cpu.as_secs_f64() - served * more_served;
        let more_refused = retrying.refusals.saturating_sub(patient.refusals).max(1) as f64;
        let ratio = more_cpu / more_refused / served * 100.0;
        say(
            "cost of a refusal of that of a served request, at most 5 %",
            ratio,
            ratio <= 5.0,
        );
    }
    let (lost, failed): (usize, usize) = rows.iter().fold((0, 0), |(lost, failed), row| {
        (lost + row.lost, failed + row.failed)
    });
    println!(
        "never answered: {lost}, failed otherwise: {failed}: {}",
        word(lost + failed == 0)
    );
}

fn say(what: &str, percent: f64, holds: bool) {
    println!("{what}: {percent:.1} %: {}", word(holds));
}

fn word(holds: bool) -> &'static str {
    if holds { "holds" } else { "DOES NOT HOLD" }
}
