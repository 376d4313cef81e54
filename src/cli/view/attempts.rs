//! The attempts at providers, as a router's answer lists them, whether it went well or not.

use beamline_contract::answer::AttemptReport;

use super::{table, text};

/// Nothing when there is no story: one attempt is told elsewhere.
pub(in crate::cli) fn text(attempts: &[AttemptReport<'_>]) -> Option<String> {
    if attempts.len() < 2 && attempts.iter().all(|attempt| attempt.reason != "fallback") {
        return None;
    }
    let instances = attempts.iter().any(|attempt| attempt.instance.is_some());
    let mut header = vec![
        "ATTEMPT", "PROVIDER", "VERSION", "WHY", "STATUS", "WAITED", "LATENCY",
    ];
    if instances {
        header.insert(3, "INSTANCE");
    }
    let mut table = table::with_header(&header, &["ATTEMPT", "WAITED", "LATENCY"])
        .sparing(&["VERSION", "WAITED", "INSTANCE"]);
    for (position, attempt) in attempts.iter().enumerate() {
        let rule = attempt.rule.map_or_else(String::new, |rule| {
            format!(", rule {}", rule.saturating_add(1))
        });
        let error = attempt
            .error_type
            .as_ref()
            .filter(|error| **error != attempt.status);
        let error = error.map_or_else(String::new, |error| format!(" ({error})"));
        let waited = if attempt.waited_ms > 0.0 {
            text::latency(attempt.waited_ms)
        } else {
            "-".to_owned()
        };
        let mut row = vec![
            (position + 1).to_string(),
            text::plain(&attempt.provider_id),
            text::or_dash(Some(&attempt.version)),
            text::plain(&format!("{}{rule}", attempt.reason)),
            text::plain(&format!("{}{error}", attempt.status)),
            waited,
            text::latency(attempt.latency_ms),
        ];
        if instances {
            row.insert(3, text::or_dash(attempt.instance.as_deref()));
        }
        table.add_row(row);
    }
    Some(table::text(&table))
}
