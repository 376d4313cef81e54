//! What stands in the boxes of the picture.

use std::time::Duration;

use beamline_contract::admin::{DryRunResult, PlannedInstance, PlannedStep};
use beamline_contract::answer::ExtensionReport;
use beamline_contract::record::Kind;

use super::picture::{Cell, Tone, Wave};
use super::providers::chosen;
use crate::cli::detail::Detail;
use crate::cli::view::text;

/// The pipeline from top to bottom.
pub(super) fn waves(run: &DryRunResult<'_>, detail: Detail) -> Vec<Wave> {
    let pipeline = &run.pipeline;
    let validators = match pipeline.validators.as_slice() {
        [_] => "validator",
        _ => "validators",
    };
    let judges = match pipeline.output_validators.as_slice() {
        [_] => "output validator",
        _ => "output validators",
    };
    let mut waves = Vec::new();
    for steps in &pipeline.pre {
        waves.push(("pre", cells(steps, run, detail)));
    }
    waves.push((validators, cells(&pipeline.validators, run, detail)));
    waves.push(("provider", vec![provider(run, detail)]));
    for steps in &pipeline.post {
        waves.push(("post", cells(steps, run, detail)));
    }
    waves.push((judges, cells(&pipeline.output_validators, run, detail)));
    waves.retain(|(_, cells)| !cells.is_empty());
    let numbered = waves.into_iter().enumerate();
    numbered
        .map(|(index, (title, cells))| Wave {
            title: format!("{} {title}", index + 1),
            cells,
        })
        .collect()
}

fn cells(steps: &[PlannedStep<'_>], run: &DryRunResult<'_>, detail: Detail) -> Vec<Cell> {
    steps
        .iter()
        .map(|step| extension(step, run, detail))
        .collect()
}

/// Milliseconds of the wire.
pub(super) fn time(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or(Duration::MAX)
}

fn extension(step: &PlannedStep<'_>, run: &DryRunResult<'_>, detail: Detail) -> Cell {
    let mut cell = called(step, detail);
    if run.called_extensions {
        cell.notes.push(match report(step, run) {
            Some(report) => outcome(report),
            None => (Tone::Doubtful, "not called".to_owned()),
        });
    }
    cell
}

/// What happened to an extension that was called.
fn report<'r>(
    step: &PlannedStep<'_>,
    run: &'r DryRunResult<'_>,
) -> Option<&'r ExtensionReport<'r>> {
    let reports = match step.kind.known() {
        Some(Kind::Post) => &run.post_processors_executed,
        Some(Kind::Pre | Kind::Validator | Kind::Provider) | None => &run.executed_extensions,
    };
    reports.iter().find(|report| report.id == step.id)
}

fn provider(run: &DryRunResult<'_>, detail: Detail) -> Cell {
    let Some(chosen) = chosen(run) else {
        let why = if run.blocked_by.is_some() {
            "not reached"
        } else {
            "none can be chosen"
        };
        return Cell {
            name: why.to_owned(),
            ..Cell::default()
        };
    };
    match &chosen.call {
        Some(call) => called(call, detail),
        None => Cell {
            name: text::plain(&chosen.chance.provider_id),
            ..Cell::default()
        },
    }
}

/// An extension and how it would be called.
fn called(step: &PlannedStep<'_>, detail: Detail) -> Cell {
    let mut cell = Cell {
        name: text::plain(&format!("{} {}", step.id, step.version)),
        ..Cell::default()
    };
    if detail > Detail::Minimal {
        cell.phrases = phrases(step);
    }
    if !step.available {
        cell.notes.push((Tone::Bad, "circuit open".to_owned()));
    }
    let out_of_use = step.instances.iter().filter_map(out_of_use);
    cell.notes
        .extend(out_of_use.map(|sentence| (Tone::Doubtful, sentence)));
    cell
}

fn out_of_use(instance: &PlannedInstance<'_>) -> Option<String> {
    let why = match (instance.enabled, instance.healthy) {
        (true, true) => return None,
        (true, false) => "unhealthy",
        (false, _) => "disabled",
    };
    Some(text::plain(&format!("{} is {why}", instance.instance_id)))
}

fn phrases(step: &PlannedStep<'_>) -> Vec<String> {
    let mut phrases = Vec::new();
    if let Some(rule) = &step.version_rule {
        phrases.push(format!("chosen by {rule}"));
    }
    if let Some(instance) = &step.instance {
        phrases.push(match step.instances.len() {
            0 | 1 => format!("on {instance}"),
            many => format!("on {instance}, one of {many}"),
        });
    }
    phrases.extend(step.mode.as_deref().map(str::to_owned));
    phrases.extend(step.on_fail.as_deref().map(on_fail));
    phrases.push(format!("limit {}", text::limit(time(step.timeout_ms))));
    phrases.push(match step.usual_latency_ms {
        Some(usual) => format!("usually {}", text::latency(usual)),
        None => "not called yet".to_owned(),
    });
    phrases.iter().map(|phrase| text::plain(phrase)).collect()
}

fn on_fail(word: &str) -> String {
    match word {
        "block" => "can block",
        "warn" => "only warns",
        "ignore" => "only reports",
        other => other,
    }
    .to_owned()
}

fn outcome(report: &ExtensionReport<'_>) -> (Tone, String) {
    let (tone, mark) = match &*report.status {
        "success" => (Tone::Good, '✓'),
        "warned" | "skipped" | "cancelled" => (Tone::Doubtful, '!'),
        _ => (Tone::Bad, '✗'),
    };
    let attempts = if report.attempts > 1 {
        format!(", {} attempts", report.attempts)
    } else {
        String::new()
    };
    let time = match &*report.status {
        "skipped" => String::new(),
        _ => format!(" in {}{attempts}", text::latency(report.latency_ms)),
    };
    (
        tone,
        text::plain(&format!("{mark} {}{time}", report.status)),
    )
}
