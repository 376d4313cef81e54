//! Who gets the request, and what the others would get.

use beamline_contract::admin::{DryRunResult, PlannedProvider};

use super::picture::Tone;
use crate::cli::view::{table, text};

const WEIGHTED: [&str; 6] = ["  PROVIDER", "VERSION", "WEIGHT", " SHARE", "USUALLY", ""];
const PRIORITY: [&str; 4] = ["  PROVIDER", "VERSION", "USUALLY", ""];

/// The provider that would get the request.
pub(super) fn chosen<'r>(run: &'r DryRunResult<'_>) -> Option<&'r PlannedProvider<'r>> {
    let decision = run.decision.as_ref()?;
    run.pipeline
        .providers
        .iter()
        .find(|provider| provider.chance.provider_id == decision.provider_id)
}

/// One row for each provider; the one that would be chosen is marked.
pub(super) fn table(run: &DryRunResult<'_>, colour: bool) -> String {
    let weighted = is_weighted(run);
    let header: &[&str] = if weighted { &WEIGHTED } else { &PRIORITY };
    let mut table = table::with_header(header, &["WEIGHT", "USUALLY"]);
    let chosen = chosen(run).map(|provider| &provider.chance.provider_id);
    for provider in &run.pipeline.providers {
        let is_chosen = chosen == Some(&provider.chance.provider_id);
        table.add_row(cells(provider, is_chosen, weighted));
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

fn is_weighted(run: &DryRunResult<'_>) -> bool {
    run.pipeline.order == "weighted"
}

fn cells(provider: &PlannedProvider<'_>, is_chosen: bool, weighted: bool) -> Vec<String> {
    let PlannedProvider { chance, call } = provider;
    let mark = if is_chosen { '▶' } else { ' ' };
    let version = call.as_ref().map_or("-", |call| &call.version);
    let mut cells = vec![
        text::plain(&format!("{mark} {}", chance.provider_id)),
        text::plain(version),
    ];
    if weighted && chance.fallback_only {
        cells.extend(["-".to_owned(), String::new()]);
    } else if weighted {
        let percentage = text::percentage(chance.share);
        let share = format!("{percentage:>6}  {}", bar(chance.share));
        cells.extend([chance.weight.to_string(), share]);
    }
    let usual = call.as_ref().and_then(|call| call.usual_latency_ms);
    cells.extend([
        usual.map_or_else(|| "-".to_owned(), text::latency),
        text::plain(&note(provider)),
    ]);
    cells
}

/// Who would be chosen, and by what.
pub(super) fn why(run: &DryRunResult<'_>) -> String {
    let Some((decision, chosen)) = run.decision.as_ref().zip(chosen(run)) else {
        return match &run.blocked_by {
            Some(id) => format!("not reached, {id} ended it"),
            None => "none can be chosen".to_owned(),
        };
    };
    let id = &chosen.chance.provider_id;
    let providers = run.pipeline.providers.iter();
    let with_share = providers.filter(|provider| provider.chance.share > 0.0);
    match (&*decision.reason, is_weighted(run)) {
        ("sticky", _) => format!("{id}, because the session has it"),
        ("weighted", false) => format!("{id}, the first in the list that can be called"),
        ("weighted", true) if with_share.count() == 1 => {
            format!("{id}, the only one that can be chosen")
        }
        ("weighted", true) => {
            format!(
                "{id} most likely: chosen by weight, {} of such requests",
                text::percentage(chosen.chance.share)
            )
        }
        ("fallback", false) => {
            format!("{id}, the next in the list, because what stands before it is excluded")
        }
        ("fallback", true) => {
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

fn note(provider: &PlannedProvider<'_>) -> String {
    let mut notes = Vec::new();
    if let Some(why) = &provider.chance.excluded {
        notes.push(format!("excluded: {why}"));
    }
    if provider.chance.fallback_only {
        notes.push("only for fallbacks".to_owned());
    }
    if let Some(call) = &provider.call {
        let rule = call.version_rule.as_ref();
        notes.extend(rule.map(|rule| format!("chosen by {rule}")));
        let instance = call.instance.as_ref();
        notes.extend(instance.map(|instance| format!("on {instance}")));
    }
    notes.join(", ")
}
