//! A dry run as text: what happens, the picture, and in words what a picture cannot show.

use beamline_contract::admin::{
    DryRunError, DryRunResult, PlannedPipeline, PlannedStep, StickyRule,
};

use super::picture::{Tone, draw};
use super::{cells, places, providers};
use crate::cli::detail::Detail;
use crate::cli::view::json;
use crate::cli::view::text::{self, wrapped};

/// How a dry run is shown.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Look {
    pub(in crate::cli) detail: Detail,
    pub(in crate::cli) width: usize,
    pub(in crate::cli) colour: bool,
}

/// The whole report. `tenant` and `file` were asked with; the answer does not repeat them.
pub(in crate::cli) fn text(
    run: &DryRunResult<'_>,
    tenant: &str,
    file: Option<&str>,
    look: Look,
) -> String {
    let picture = draw(&cells::waves(run, look.detail), look.width, look.colour).join("\n");
    let mut parts = vec![headline(run, tenant, file), verdict(run, look), picture];
    if look.detail > Detail::Minimal && run.pipeline.providers.len() > 1 {
        parts.push(providers::table(run, look.colour));
    }
    parts.push(fields(run, look));
    if look.detail == Detail::Verbose {
        parts.push(places::table(run));
        parts.push(places::instances(run));
    }
    parts.push(payload(run));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// Every extension but the providers, in the order of the pipeline.
pub(super) fn guardrails<'r>(
    run: &'r DryRunResult<'_>,
) -> impl Iterator<Item = &'r PlannedStep<'r>> {
    let PlannedPipeline {
        pre,
        validators,
        post,
        ..
    } = &run.pipeline;
    pre.iter()
        .flatten()
        .chain(validators)
        .chain(post.iter().flatten())
}

fn headline(run: &DryRunResult<'_>, tenant: &str, file: Option<&str>) -> String {
    let PlannedPipeline {
        policy_id,
        policy_version,
        revision,
        ..
    } = &run.pipeline;
    let source = file.map_or_else(String::new, |file| {
        format!(" as in {file}, which is not saved;")
    });
    text::plain(&format!(
        "policy {tenant}/{policy_id} version {policy_version},{source} registry revision {revision}"
    ))
}

/// How it ends, which is what somebody wants to know first.
fn verdict(run: &DryRunResult<'_>, look: Look) -> String {
    let (tone, sentence) = match (&run.error, run.called_extensions) {
        (Some(error), _) => (Some(Tone::Bad), ended(run, error)),
        (None, true) => {
            let degraded = if run.degraded.is_empty() {
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

fn ended(run: &DryRunResult<'_>, error: &DryRunError<'_>) -> String {
    let how = match (&run.blocked_by, &*error.code) {
        (_, "validator_blocked") => "BLOCKED",
        (Some(_), _) => "FAILED",
        (None, _) => "NO ANSWER",
    };
    let by = run
        .blocked_by
        .as_ref()
        .filter(|id| !error.message.contains(id.as_str()));
    let by = by.map_or_else(String::new, |id| format!(" by {id}"));
    format!("{how}{by}: {} ({})", error.message, error.code)
}

/// `name  sentences`, each sentence on lines of its own.
fn fields(run: &DryRunResult<'_>, look: Look) -> String {
    let mut fields: Vec<(&str, Vec<String>)> = vec![("provider", vec![providers::why(run)])];
    if let Some(rule) = &run.pipeline.sticky {
        fields.push(("sticky", vec![sticky(run, rule)]));
    }
    fields.push(("time", vec![time(run)]));
    let degraded = run
        .degraded
        .iter()
        .map(|degraded| format!("{}: {}", degraded.id, degraded.reason));
    fields.push(("degraded", degraded.collect()));
    fields.push(("warning", run.warnings.clone()));
    if look.detail > Detail::Minimal {
        fields.push(("fallbacks", run.pipeline.if_the_provider_fails.clone()));
        fields.push(("on failure", failures(run)));
    }
    if look.detail == Detail::Verbose {
        fields.push(("steps", steps(run).cloned().collect()));
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

/// Of the explanation.
fn steps<'r>(run: &'r DryRunResult<'_>) -> impl Iterator<Item = &'r String> {
    let decision = run.decision.iter();
    decision
        .flat_map(|decision| &decision.explanation.steps)
        .flatten()
}

fn sticky(run: &DryRunResult<'_>, rule: &StickyRule<'_>) -> String {
    let state = steps(run)
        .filter_map(|step| step.split_once("sticky sessions by "))
        .map(|(_, state)| state)
        .next();
    let ttl = text::limit(cells::time(rule.ttl_ms));
    let key = &*rule.session_key;
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

fn time(run: &DryRunResult<'_>) -> String {
    let estimate = &run.estimate;
    let extensions = format!(
        "{} for the extensions ({})",
        text::latency(estimate.extensions_ms),
        estimate.extensions_from.describe()
    );
    let provider = estimate
        .provider_ms
        .map(|provider| format!(" and {} for the provider", text::latency(provider)));
    match (provider, guardrails(run).next().is_some()) {
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
fn failures(run: &DryRunResult<'_>) -> Vec<String> {
    let mut alike: Vec<(&str, Vec<&str>)> = Vec::new();
    for step in guardrails(run) {
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
fn payload(run: &DryRunResult<'_>) -> String {
    let payload = run.final_payload.get();
    if !run.called_extensions || payload == "null" {
        return String::new();
    }
    let title = if run.error.is_some() {
        "The message as it was then:"
    } else {
        "What comes out in the end:"
    };
    let shown = match serde_json::from_str::<String>(payload) {
        Ok(string) => text::plain_block(&string),
        Err(_not_a_string) => json::pretty(payload),
    };
    let lines: Vec<String> = shown
        .lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect();
    format!("{title}\n{}", lines.join("\n"))
}
