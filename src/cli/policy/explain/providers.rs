//! Who gets the request, and what the others would get.

use super::picture::Tone;
use super::told::{Order, Provider, Told};
use crate::cli::{table, text};

/// One row for each provider; the one that would be chosen is marked.
pub(super) fn table(told: &Told, colour: bool) -> String {
    let weighted = told.pipeline.order == Order::Weighted;
    let header: &[&str] = match weighted {
        true => &["  PROVIDER", "VERSION", "WEIGHT", " SHARE", "USUALLY", ""],
        false => &["  PROVIDER", "VERSION", "USUALLY", ""],
    };
    let mut table = table::with_header(header, &["WEIGHT", "USUALLY"]);
    let chosen = told.chosen().map(|provider| provider.provider_id.as_str());
    for provider in &told.pipeline.providers {
        let mark = if chosen == Some(&provider.provider_id) {
            '▶'
        } else {
            ' '
        };
        let version = provider.call.as_ref().map_or("-", |call| &call.version);
        let mut cells = vec![
            text::plain(&format!("{mark} {}", provider.provider_id)),
            text::plain(version),
        ];
        if weighted && provider.fallback_only {
            cells.extend(["-".to_owned(), String::new()]);
        } else if weighted {
            let share = format!(
                "{:>6}  {}",
                text::percentage(provider.share),
                bar(provider.share)
            );
            cells.extend([provider.weight.to_string(), share]);
        }
        let usual = provider
            .call
            .as_ref()
            .and_then(|call| call.usual_latency_ms);
        cells.extend([
            usual.map_or_else(|| "-".to_owned(), text::latency),
            text::plain(&note(provider)),
        ]);
        table.add_row(cells);
    }
    let lines = table::lines(&table).into_iter();
    let lines = lines.map(|line| {
        if line.starts_with('▶') {
            Tone::Strong.paint(&line, colour)
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Who would be chosen, and by what.
pub(super) fn why(told: &Told) -> String {
    let Some((decision, chosen)) = told.decision.as_ref().zip(told.chosen()) else {
        return match &told.blocked_by {
            Some(id) => format!("not reached, {id} ended it"),
            None => "none can be chosen".to_owned(),
        };
    };
    let id = &chosen.provider_id;
    let others = told
        .pipeline
        .providers
        .iter()
        .filter(|other| other.share > 0.0);
    match (decision.reason.as_str(), told.pipeline.order) {
        ("sticky", _) => format!("{id}, because the session has it"),
        ("weighted", Order::Priority) => format!("{id}, the first in the list that can be called"),
        ("weighted", Order::Weighted) if others.count() == 1 => {
            format!("{id}, the only one that can be chosen")
        }
        ("weighted", Order::Weighted) => {
            format!(
                "{id} most likely: chosen by weight, {} of such requests",
                text::percentage(chosen.share)
            )
        }
        ("fallback", Order::Priority) => {
            format!("{id}, the next in the list, because what stands before it is excluded")
        }
        ("fallback", Order::Weighted) => {
            format!("{id} as a fallback, because what has weight is excluded")
        }
        (reason, _) => format!("{id} ({reason})"),
    }
}

const BAR: usize = 10;

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    // Something is not nothing.
    let full = if share > 0.0 { full.max(1) } else { 0 };
    format!(
        "{}{}",
        "█".repeat(full),
        "░".repeat(BAR.saturating_sub(full))
    )
}

fn note(provider: &Provider) -> String {
    let mut notes = Vec::new();
    notes.extend(
        provider
            .excluded
            .as_ref()
            .map(|why| format!("excluded: {why}")),
    );
    if provider.fallback_only {
        notes.push("only for fallbacks".to_owned());
    }
    if let Some(call) = &provider.call {
        notes.extend(
            call.version_rule
                .as_ref()
                .map(|rule| format!("chosen by {rule}")),
        );
        notes.extend(
            call.instance
                .as_ref()
                .map(|instance| format!("on {instance}")),
        );
    }
    notes.join(", ")
}
