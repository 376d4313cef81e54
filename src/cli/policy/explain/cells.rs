//! What stands in the boxes of the picture.

use std::time::Duration;

use super::Detail;
use super::picture::{Cell, Tone, Wave};
use super::told::{Report, Step, Told};
use crate::cli::text;

/// The pipeline from top to bottom.
pub(super) fn waves(told: &Told, detail: Detail) -> Vec<Wave> {
    let cells = |steps: &[Step]| {
        steps
            .iter()
            .map(|step| extension(step, told, detail))
            .collect::<Vec<_>>()
    };
    let pipeline = &told.pipeline;
    let mut waves: Vec<(&str, Vec<Cell>)> = pipeline
        .pre
        .iter()
        .map(|wave| ("pre", cells(wave)))
        .collect();
    waves.push((
        if pipeline.validators.len() == 1 {
            "validator"
        } else {
            "validators"
        },
        cells(&pipeline.validators),
    ));
    waves.push(("provider", vec![provider(told, detail)]));
    waves.extend(pipeline.post.iter().map(|wave| ("post", cells(wave))));
    waves.retain(|(_, cells)| !cells.is_empty());
    let numbered = waves.into_iter().enumerate();
    numbered
        .map(|(index, (title, cells))| Wave {
            title: format!("{} {title}", index + 1),
            cells,
        })
        .collect()
}

/// Milliseconds of the wire.
pub(super) fn time(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or(Duration::MAX)
}

fn extension(step: &Step, told: &Told, detail: Detail) -> Cell {
    let mut cell = called(step, detail);
    if told.called_extensions {
        cell.notes.push(
            told.report(step)
                .map_or_else(|| (Tone::Doubtful, "not called".to_owned()), outcome),
        );
    }
    cell
}

fn provider(told: &Told, detail: Detail) -> Cell {
    let Some(chosen) = told.chosen() else {
        let why = if told.blocked_by.is_some() {
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
            name: text::plain(&chosen.provider_id),
            ..Cell::default()
        },
    }
}

/// An extension and how it would be called.
fn called(step: &Step, detail: Detail) -> Cell {
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
    let bad = step.instances.iter().filter_map(|instance| {
        let what = if instance.enabled {
            "unhealthy"
        } else {
            "disabled"
        };
        (!instance.enabled || !instance.healthy)
            .then(|| text::plain(&format!("{} is {what}", instance.instance_id)))
    });
    cell.notes
        .extend(bad.map(|sentence| (Tone::Doubtful, sentence)));
    cell
}

fn phrases(step: &Step) -> Vec<String> {
    let mut phrases = Vec::new();
    phrases.extend(
        step.version_rule
            .as_ref()
            .map(|rule| format!("chosen by {rule}")),
    );
    phrases.extend(
        step.instance
            .as_ref()
            .map(|instance| match step.instances.len() {
                0 | 1 => format!("on {instance}"),
                many => format!("on {instance}, one of {many}"),
            }),
    );
    phrases.extend(step.mode.clone());
    phrases.extend(step.on_fail.as_deref().map(|on_fail| {
        match on_fail {
            "block" => "can block",
            "warn" => "only warns",
            "ignore" => "only reports",
            other => other,
        }
        .to_owned()
    }));
    phrases.push(format!("limit {}", text::limit(time(step.timeout_ms))));
    phrases.push(match step.usual_latency_ms {
        Some(usual) => format!("usually {}", text::latency(usual)),
        None => "not called yet".to_owned(),
    });
    phrases.iter().map(|phrase| text::plain(phrase)).collect()
}

fn outcome(report: &Report) -> (Tone, String) {
    let (tone, mark) = match report.status.as_str() {
        "success" => (Tone::Good, '✓'),
        "warned" | "skipped" | "cancelled" => (Tone::Doubtful, '!'),
        _ => (Tone::Bad, '✗'),
    };
    let attempts = if report.attempts > 1 {
        format!(", {} attempts", report.attempts)
    } else {
        String::new()
    };
    let time = match report.status.as_str() {
        "skipped" => String::new(),
        _ => format!(" in {}{attempts}", text::latency(report.latency_ms)),
    };
    (
        tone,
        text::plain(&format!("{mark} {}{time}", report.status)),
    )
}
