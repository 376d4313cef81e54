//! The story of a request: who it was, what was decided, and a waterfall of its calls.

use beamline_contract::admin::{
    CalledInRequest, NotChosen, RequestAttempt, RequestStory, RequestsAnswer,
};

use super::look::Look;
use super::{table, text};

mod bar;

use bar::Scale;

/// Columns of the bars, unless the terminal is narrow.
const BARS: usize = 40;
const NARROW_BARS: usize = 16;
const NARROW: usize = 100;

pub(in crate::cli) fn all(found: &RequestsAnswer, look: Look) -> String {
    let stories = found.requests.iter().map(|story| one(story, look));
    stories.collect::<Vec<_>>().join("\n\n")
}

/// One request in one line, for whoever follows them.
pub(in crate::cli) fn line(story: &RequestStory) -> String {
    let cell = |text: Option<&str>, width: usize| {
        let text = text::shortened(text.unwrap_or("-"), width);
        format!("{text:<width$}")
    };
    let [time, outcome, tenant, policy, provider] = LINE.map(|(_, width)| width);
    let at = story.received_at.get(11..23).unwrap_or(&story.received_at);
    let took = text::latency(story.duration_ms);
    let chosen = story.provider.as_ref().map(|provider| provider.id.as_str());
    let cells = [
        cell(Some(at), time),
        format!("{took:>9}"),
        cell(Some(&story.outcome), outcome),
        cell(story.tenant_id.as_deref(), tenant),
        cell(story.policy_id.as_deref(), policy),
        cell(chosen, provider),
        text::or_dash(story.request_id.as_deref()),
    ];
    cells.join("  ")
}

/// What stands above them.
pub(in crate::cli) fn line_head() -> String {
    let [time, outcome, tenant, policy, provider] =
        LINE.map(|(name, width)| format!("{name:<width$}"));
    [
        time,
        "     TOOK".to_owned(),
        outcome,
        tenant,
        policy,
        provider,
        "REQUEST".to_owned(),
    ]
    .join("  ")
}

const LINE: [(&str, usize); 5] = [
    ("READ AT", 12),
    ("OUTCOME", 18),
    ("TENANT", 14),
    ("POLICY", 14),
    ("PROVIDER", 18),
];

fn one(story: &RequestStory, look: Look) -> String {
    let mut lines = Vec::new();
    for sentence in sentences(story) {
        lines.extend(text::wrapped(&text::plain(&sentence), look.width));
    }
    if !story.stages.is_empty() || !story.calls.is_empty() {
        lines.push(String::new());
        lines.extend(waterfall(story, look));
    }
    lines.join("\n")
}

fn sentences(story: &RequestStory) -> Vec<String> {
    let id = story.request_id.as_deref().unwrap_or("without an id");
    let tenant = story.tenant_id.as_deref().unwrap_or("nobody");
    let took = text::latency(story.duration_ms);
    let mut sentences = vec![
        format!(
            "{} {id} of {tenant}: {} after {took}",
            story.kind, story.outcome
        ),
        format!(
            "trace {}, over {}, read at {} by replica {}",
            story.trace_id, story.edge, story.received_at, story.replica_id
        ),
    ];
    if let (Some(policy), Some(revision)) = (&story.policy_id, story.revision) {
        let version = story.policy_version.as_deref().unwrap_or("-");
        let time = story.timeout_ms.map(|timeout| {
            let left = (timeout - story.duration_ms).max(0.0);
            format!(
                "; {} of {} left",
                text::latency(left),
                text::latency(timeout)
            )
        });
        let time = time.unwrap_or_default();
        sentences.push(format!(
            "policy {policy} version {version} at revision {revision}{time}"
        ));
    }
    if let Some(provider) = &story.provider {
        let session = story.session.as_ref();
        let session = session
            .map(|result| format!("; session: {result}"))
            .unwrap_or_default();
        sentences.push(format!(
            "provider {} ({}){session}",
            provider.id, provider.reason
        ));
    }
    sentences.extend(without("not chosen", &story.not_chosen));
    sentences.extend(without("went without", &story.degraded));
    sentences
}

fn without(what: &str, list: &[NotChosen]) -> Option<String> {
    let named = list
        .iter()
        .map(|one| format!("{} ({})", one.id, one.reason));
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("{what}: {}", named.join(", ")))
}

fn waterfall(story: &RequestStory, look: Look) -> Vec<String> {
    let columns = if look.width < NARROW {
        NARROW_BARS
    } else {
        BARS
    };
    let scale = Scale::new(story.duration_ms, columns);
    let axis = scale.axis();
    let header = [
        "STAGE",
        "EXTENSION",
        "VERSION",
        &axis,
        "WAITED",
        "TOOK",
        "STATUS",
    ];
    let mut table =
        table::with_header(&header, &["WAITED", "TOOK"]).sparing(&["VERSION", "WAITED"]);
    let mut shown = "";
    for call in &story.calls {
        let stage = if shown == call.stage {
            ""
        } else {
            &*call.stage
        };
        shown = &call.stage;
        table.add_row(row(call, stage, &scale));
        if call.attempts.len() > 1 {
            for (position, attempt) in call.attempts.iter().enumerate() {
                table.add_row(attempt_row(attempt, position + 1, &scale));
            }
        }
    }
    for stage in &story.stages {
        if story.calls.iter().all(|call| call.stage != stage.name) {
            let bar = scale.bar(stage.began_ms, 0.0, stage.took_ms);
            let took = text::latency(stage.took_ms);
            table.add_row([
                text::plain(&stage.name),
                "-".into(),
                "-".into(),
                bar,
                "-".into(),
                took,
                "no call ended".into(),
            ]);
        }
    }
    let mut lines = table.drawn(look);
    if look.width < NARROW {
        lines.extend(causes(story, look));
    }
    lines
}

/// What has no room in the table, and is what people look for.
fn causes(story: &RequestStory, look: Look) -> Vec<String> {
    let failed = story.calls.iter().filter_map(|call| {
        let failure = call.failure.as_ref()?;
        Some(text::plain(&format!(
            "{} {}: {failure}",
            call.extension_id, call.version
        )))
    });
    let lines: Vec<String> = failed
        .flat_map(|cause| text::wrapped(&cause, look.width))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    [vec![String::new()], lines].concat()
}

fn row(call: &CalledInRequest, stage: &str, scale: &Scale) -> Vec<String> {
    let waited: f64 = call.attempts.iter().map(|attempt| attempt.waited_ms).sum();
    let rule = call.version_rule.as_ref().map(|rule| format!(" ({rule})"));
    let failure = call.failure.as_ref().map(|failure| format!(": {failure}"));
    let place = match call.attempts.as_slice() {
        [only] => only
            .instance
            .as_ref()
            .map(|instance| format!(" on {instance}")),
        _ => None,
    };
    let bar = match call.attempts.as_slice() {
        [only] if only.waited_ms >= WORTH_TELLING => {
            scale.bar(call.began_ms, only.waited_ms, call.took_ms - only.waited_ms)
        }
        _ => scale.bar(call.began_ms, 0.0, call.took_ms),
    };
    vec![
        text::plain(stage),
        text::plain(&format!(
            "{}{}",
            call.extension_id,
            place.unwrap_or_default()
        )),
        text::plain(&format!("{}{}", call.version, rule.unwrap_or_default())),
        bar,
        wait(waited),
        text::latency(call.took_ms),
        text::plain(&format!("{}{}", call.status, failure.unwrap_or_default())),
    ]
}

fn attempt_row(attempt: &RequestAttempt, number: usize, scale: &Scale) -> Vec<String> {
    let place = attempt.instance.as_ref().unwrap_or(&attempt.subject);
    let status = match &attempt.failure {
        Some(failure) if attempt.sent => failure.clone(),
        Some(failure) => format!("not sent: {failure}"),
        None => "success".to_owned(),
    };
    vec![
        String::new(),
        text::plain(&format!("  {number}. {place}")),
        String::new(),
        scale.bar(attempt.began_ms, attempt.waited_ms, attempt.took_ms),
        wait(attempt.waited_ms),
        text::latency(attempt.took_ms),
        text::plain(&status),
    ]
}

/// Less is no wait.
const WORTH_TELLING: f64 = 0.1;

fn wait(waited_ms: f64) -> String {
    if waited_ms < WORTH_TELLING {
        "-".to_owned()
    } else {
        text::latency(waited_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story() -> RequestStory {
        let json = serde_json::json!({
            "replica_id": "r1", "request_id": "q-1", "trace_id": "t1", "tenant_id": "acme", "policy_id": "chat",
            "policy_version": "1.2", "revision": 7, "edge": "nats", "kind": "route", "outcome": "provider_error",
            "received_at": "2026-01-31T12:00:00.000Z", "duration_ms": 40.0, "timeout_ms": 5000.0,
            "provider": {"id": "model", "reason": "weighted"},
            "not_chosen": [{"id": "backup", "reason": "its breaker is open"}],
            "degraded": [{"id": "summary", "reason": "timeout"}],
            "stages": [
                {"name": "pre", "began_ms": 0.0, "took_ms": 10.0},
                {"name": "provider", "began_ms": 10.0, "took_ms": 30.0},
            ],
            "calls": [
                {"stage": "pre", "extension_id": "clean", "version": "v1", "began_ms": 0.0, "took_ms": 10.0, "status": "success",
                 "attempts": [{"subject": "a", "began_ms": 0.0, "waited_ms": 0.0, "took_ms": 10.0, "sent": true}]},
                {"stage": "provider", "extension_id": "model", "version": "v2", "version_rule": "tenant = acme", "began_ms": 10.0,
                 "took_ms": 30.0, "status": "error", "failure": "error, class 5xx, code 503", "attempts": [
                    {"subject": "a", "instance": "one", "began_ms": 10.0, "waited_ms": 10.0, "took_ms": 10.0, "sent": true,
                     "failure": "timeout"},
                    {"subject": "a", "instance": "two", "began_ms": 30.0, "waited_ms": 0.0, "took_ms": 10.0, "sent": false,
                     "failure": "circuit_open"}]},
            ],
        });
        serde_json::from_value(json).expect("a story")
    }

    #[test]
    fn a_request_is_told_from_its_beginning_to_its_end() {
        let drawn = one(&story(), Look::PLAIN);
        let expected = "\
route q-1 of acme: provider_error after 40.0 ms
trace t1, over nats, read at 2026-01-31T12:00:00.000Z by replica r1
policy chat version 1.2 at revision 7; 4.96 s of 5.00 s left
provider model (weighted)
not chosen: backup (its breaker is open)
went without: summary (timeout)

STAGE     EXTENSION  VERSION             0                                40.0 ms   WAITED     TOOK  STATUS
pre       clean      v1                  ██████████                                      -  10.0 ms  success
provider  model      v2 (tenant = acme)            ██████████████████████████████  10.0 ms  30.0 ms  error: error, class 5xx, code 503
            1. one                                 ░░░░░░░░░░██████████            10.0 ms  10.0 ms  timeout
            2. two                                                     ██████████        -  10.0 ms  not sent: circuit_open";
        assert_eq!(drawn, expected, "\n{drawn}");
    }

    #[test]
    fn what_a_router_says_writes_nothing_to_the_terminal_but_text() {
        let mut story = story();
        story.request_id = Some("\u{1b}[2Jx".to_owned());
        story.calls[0].extension_id = "\u{1b}]0;x\u{7}".to_owned();
        assert!(!one(&story, Look::PLAIN).contains('\u{1b}'));
    }

    #[test]
    fn a_narrow_terminal_shows_the_cause_below() {
        let look = Look {
            width: 80,
            colour: false,
        };
        let drawn = one(&story(), look);
        assert!(
            drawn.ends_with("\n\nmodel v2: error, class 5xx, code 503"),
            "{drawn}"
        );
    }

    #[test]
    fn a_line_stands_under_its_head() {
        let expected = "\
READ AT            TOOK  OUTCOME             TENANT          POLICY          PROVIDER            REQUEST
12:00:00.000    40.0 ms  provider_error      acme            chat            model               q-1";
        assert_eq!(format!("{}\n{}", line_head(), line(&story())), expected);
    }

    #[test]
    fn one_that_was_turned_away_has_no_waterfall() {
        let story = RequestStory {
            outcome: "overloaded".into(),
            kind: "route".into(),
            ..RequestStory::default()
        };
        assert!(!one(&story, Look::PLAIN).contains("STAGE"));
    }
}
