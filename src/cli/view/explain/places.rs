//! Where everything runs and with which config: what only `--detail verbose` shows.

use beamline_contract::admin::{DryRunResult, PlannedStep};

use super::providers::chosen;
use super::report::guardrails;
use crate::cli::view::look::Look;
use crate::cli::view::{json, table, text};

/// One row for each extension that would be called.
pub(super) fn table(run: &DryRunResult<'_>) -> String {
    let mut table = table::with_header(&["EXTENSION", "SUBJECT", "CONFIG"], &[]);
    for step in steps(run) {
        let config = json::compact(&step.config.to_json());
        table.add_row([
            text::plain(&step.id),
            text::plain(&step.subject),
            text::plain(&config),
        ]);
    }
    // Half a subject or config is none, however narrow the terminal is.
    table.drawn(Look::PLAIN).join("\n")
}

/// One row for each instance; nothing where no extension has any.
pub(super) fn instances(run: &DryRunResult<'_>) -> String {
    let mut table = table::with_header(
        &["EXTENSION", "INSTANCE", "WEIGHT", "ENABLED", "HEALTH"],
        &["WEIGHT"],
    );
    for step in steps(run) {
        for instance in &step.instances {
            table.add_row([
                text::plain(&step.id),
                text::plain(&instance.instance_id),
                instance.weight.to_string(),
                (if instance.enabled { "yes" } else { "no" }).to_owned(),
                (if instance.healthy {
                    "healthy"
                } else {
                    "unhealthy"
                })
                .to_owned(),
            ]);
        }
    }
    if table.is_empty() {
        String::new()
    } else {
        table::text(&table)
    }
}

fn steps<'r>(run: &'r DryRunResult<'_>) -> impl Iterator<Item = &'r PlannedStep<'r>> {
    let provider = chosen(run).and_then(|chosen| chosen.call.as_ref());
    guardrails(run).chain(provider)
}
