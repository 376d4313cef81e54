//! Where everything runs and with which config: what only `--detail verbose` shows.

use super::told::{Step, Told};
use crate::cli::{json, table, text};

/// One row for each extension that would be called.
pub(super) fn table(told: &Told) -> String {
    let mut table = table::with_header(&["EXTENSION", "SUBJECT", "CONFIG"], &[]);
    for step in steps(told) {
        let config = step
            .config
            .as_ref()
            .map_or_else(|| "{}".to_owned(), |config| json::compact(config.get()));
        table.add_row([
            text::plain(&step.id),
            text::plain(&step.subject),
            text::plain(&config),
        ]);
    }
    table::text(&table)
}

/// One row for each instance; nothing where no extension has any.
pub(super) fn instances(told: &Told) -> String {
    let mut table = table::with_header(
        &["EXTENSION", "INSTANCE", "WEIGHT", "ENABLED", "HEALTH"],
        &["WEIGHT"],
    );
    for step in steps(told) {
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

fn steps(told: &Told) -> impl Iterator<Item = &Step> {
    told.guardrails()
        .chain(told.chosen().and_then(|chosen| chosen.call.as_ref()))
}
