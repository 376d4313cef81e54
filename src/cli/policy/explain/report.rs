//! A dry run as text: what happens, the picture, and in words what a picture cannot show.

use super::super::complexity::basis;
use super::picture::{Tone, draw, wrapped};
use super::told::{Pipeline, Problem, Told};
use super::{Detail, cells, places, providers};
use crate::cli::{json, text};

/// How a dry run is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) detail: Detail,
    pub(super) width: usize,
    pub(super) colour: bool,
}

/// The whole report. `tenant` and `file` were asked with; the answer does not repeat them.
pub(super) fn text(told: &Told, tenant: &str, file: Option<&str>, look: Look) -> String {
    let picture = draw(&cells::waves(told, look.detail), look.width, look.colour).join("\n");
    let mut parts = vec![headline(told, tenant, file), verdict(told, look), picture];
    if look.detail > Detail::Minimal && told.pipeline.providers.len() > 1 {
        parts.push(providers::table(told, look.colour));
    }
    parts.push(fields(told, look));
    if look.detail == Detail::Verbose {
        parts.push(places::table(told));
        parts.push(places::instances(told));
    }
    parts.push(payload(told));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn headline(told: &Told, tenant: &str, file: Option<&str>) -> String {
    let Pipeline {
        policy_id,
        policy_version,
        revision,
        ..
    } = &told.pipeline;
    let source = file.map_or_else(String::new, |file| {
        format!(" as in {file}, which is not saved;")
    });
    text::plain(&format!(
        "policy {tenant}/{policy_id} version {policy_version},{source} registry revision {revision}"
    ))
}

/// How it ends, which is what somebody wants to know first.
fn verdict(told: &Told, look: Look) -> String {
    let (tone, sentence) = match (&told.error, told.called_extensions) {
        (Some(error), _) => (Some(Tone::Bad), ended(told, error)),
        (None, true) => {
            let degraded = if told.degraded.is_empty() {
                ""
            } else {
                ", though not everything worked"
            };
            (
                Some(Tone::Good),
                format!(
                    "It would be answered{degraded}. The extensions were called, the provider was not."
                ),
            )
        }
        (None, false) => (
            None,
            "Nothing was called. --call-extensions calls everything but the provider.".to_owned(),
        ),
    };
    let lines = wrapped(&text::plain(&sentence), look.width);
    let lines = lines
        .iter()
        .map(|line| tone.map_or_else(|| line.clone(), |tone| tone.paint(line, look.colour)));
    lines.collect::<Vec<_>>().join("\n")
}

fn ended(told: &Told, error: &Problem) -> String {
    let how = match (&told.blocked_by, error.code.as_str()) {
        (_, "validator_blocked") => "BLOCKED",
        (Some(_), _) => "FAILED",
        (None, _) => "NO ANSWER",
    };
    let by = told
        .blocked_by
        .as_ref()
        .filter(|id| !error.message.contains(id.as_str()));
    let by = by.map_or_else(String::new, |id| format!(" by {id}"));
    format!("{how}{by}: {} ({})", error.message, error.code)
}

/// `name  sentences`, each sentence on lines of its own.
fn fields(told: &Told, look: Look) -> String {
    let mut fields: Vec<(&str, Vec<String>)> = vec![("provider", vec![providers::why(told)])];
    fields.extend(
        told.pipeline
            .sticky
            .as_ref()
            .map(|_| ("sticky", vec![sticky(told)])),
    );
    fields.push(("time", vec![time(told)]));
    let degraded = told
        .degraded
        .iter()
        .map(|degraded| format!("{}: {}", degraded.id, degraded.reason));
    fields.push(("degraded", degraded.collect()));
    fields.push(("warning", told.warnings.clone()));
    if look.detail > Detail::Minimal {
        fields.push(("fallbacks", told.pipeline.if_the_provider_fails.clone()));
        fields.push(("on failure", failures(told)));
    }
    if look.detail == Detail::Verbose {
        let steps = told
            .decision
            .as_ref()
            .map(|decision| decision.explanation.steps.clone());
        fields.push(("steps", steps.unwrap_or_default()));
    }
    fields.retain(|(_, sentences)| !sentences.is_empty());
    let column = fields
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default()
        + 2;
    let room = look.width.saturating_sub(column);
    let mut lines = Vec::new();
    for (mut name, sentences) in fields {
        for sentence in sentences {
            for (position, line) in hanging(&text::plain(&sentence), room)
                .into_iter()
                .enumerate()
            {
                let first = if position == 0 {
                    std::mem::take(&mut name)
                } else {
                    ""
                };
                lines.push(format!("{first:column$}{line}"));
            }
        }
    }
    lines.join("\n")
}

/// What a sentence has no room for on its first line is indented on the next ones.
fn hanging(sentence: &str, room: usize) -> Vec<String> {
    let lines = wrapped(sentence, room.saturating_sub(2));
    lines
        .into_iter()
        .enumerate()
        .map(|(i, line)| if i == 0 { line } else { format!("  {line}") })
        .collect()
}

fn sticky(told: &Told) -> String {
    let Some(sticky) = &told.pipeline.sticky else {
        return String::new();
    };
    let steps = told
        .decision
        .iter()
        .flat_map(|decision| &decision.explanation.steps);
    let state = steps
        .filter_map(|step| step.split_once("sticky sessions by "))
        .map(|(_, state)| state)
        .next();
    let ttl = text::limit(cells::time(sticky.ttl_ms));
    let key = &sticky.session_key;
    let hint = match state {
        Some(state) if state.ends_with("names no session") => {
            format!(" (--context {key}=VALUE names one)")
        }
        Some(_) | None => String::new(),
    };
    format!(
        "by {}{hint}; a session keeps its provider for {ttl}",
        state.unwrap_or(key)
    )
}

fn time(told: &Told) -> String {
    let estimate = &told.estimate;
    let from = basis(&estimate.extensions_from);
    let extensions = format!(
        "{} for the extensions ({from})",
        text::latency(estimate.extensions_ms)
    );
    let provider = estimate
        .provider_ms
        .map(|provider| format!(" and {} for the provider", text::latency(provider)));
    match (provider, told.guardrails().next().is_some()) {
        (Some(provider), true) => format!(
            "about {}: {extensions}{provider}",
            text::latency(estimate.total_ms)
        ),
        (Some(_), false) => format!(
            "about {}, all of it for the provider",
            text::latency(estimate.total_ms)
        ),
        (None, true) => format!("{extensions}; the provider's is not known"),
        (None, false) => "not known yet".to_owned(),
    }
}

/// Extensions that fail in the same way share a sentence.
fn failures(told: &Told) -> Vec<String> {
    let mut alike: Vec<(&str, Vec<&str>)> = Vec::new();
    for step in told.guardrails() {
        match alike
            .iter_mut()
            .find(|(sentence, _)| *sentence == step.if_it_fails)
        {
            Some((_, ids)) => ids.push(&step.id),
            None => alike.push((&step.if_it_fails, vec![&step.id])),
        }
    }
    alike
        .into_iter()
        .map(|(sentence, ids)| format!("{}: {sentence}", ids.join(", ")))
        .collect()
}

/// What is left of the message once extensions have worked on it.
fn payload(told: &Told) -> String {
    let Some(payload) = told
        .final_payload
        .as_ref()
        .filter(|_| told.called_extensions)
    else {
        return String::new();
    };
    let title = if told.error.is_some() {
        "The message as it was then:"
    } else {
        "What comes out in the end:"
    };
    let shown = match serde_json::from_str::<String>(payload.get()) {
        Ok(string) => text::plain_block(&string),
        Err(_not_a_string) => json::pretty(payload.get()),
    };
    let lines: Vec<String> = shown
        .lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect();
    format!("{title}\n{}", lines.join("\n"))
}
