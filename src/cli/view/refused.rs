//! How far a refused request got: its stages as a table, and what happened step by step. A router
//! that refuses sends no steps of its own; all that they say is in its reports.

use beamline_contract::answer::{AttemptReport, ExtensionReport};
use beamline_contract::record::Kind;

use super::{request, text};

/// Nothing for a request that never had a plan.
pub(in crate::cli) fn story(
    reports: &[ExtensionReport<'_>],
    attempts: &[AttemptReport<'_>],
    code: &str,
) -> Option<String> {
    if reports.is_empty() {
        return None;
    }
    let steps = steps(reports, attempts, code);
    let steps = steps
        .iter()
        .enumerate()
        .map(|(index, step)| format!("{}. {}", index + 1, text::plain(step)));
    let steps: Vec<String> = steps.collect();
    Some(format!(
        "{}\n\n{}",
        request::extensions(reports),
        steps.join("\n")
    ))
}

/// Attempts stand where the first provider does.
fn steps(
    reports: &[ExtensionReport<'_>],
    attempts: &[AttemptReport<'_>],
    code: &str,
) -> Vec<String> {
    let is_provider =
        |report: &ExtensionReport<'_>| report.kind.as_str() == Kind::Provider.as_str();
    let mut steps = Vec::new();
    let mut waiting = attempts;
    for report in reports {
        if is_provider(report) {
            let numbered = waiting.iter().enumerate();
            steps.extend(numbered.map(|(index, attempt)| at(index + 1, attempt)));
            waiting = &[];
            if attempts
                .iter()
                .all(|attempt| attempt.provider_id != report.id)
            {
                steps.push(stage(report));
            }
        } else {
            steps.push(stage(report));
        }
    }
    steps.push(format!("the request ended with {code}"));
    steps
}

fn stage(report: &ExtensionReport<'_>) -> String {
    let place = [report.kind.as_str(), &report.id, &report.version];
    let place = place.map(str::to_owned);
    let place: Vec<String> = place.into_iter().filter(|part| !part.is_empty()).collect();
    let instance = report.instance.as_ref();
    let instance = instance.map_or_else(String::new, |instance| format!(" on instance {instance}"));
    let outcome = match report.attempts {
        0 if report.status == "skipped" => "not run".to_owned(),
        0 => report.status.to_string(),
        _ => format!("{} in {}", report.status, text::latency(report.latency_ms)),
    };
    format!("{}{instance}: {outcome}", place.join(" "))
}

fn at(number: usize, attempt: &AttemptReport<'_>) -> String {
    let AttemptReport {
        provider_id,
        version,
        reason,
        status,
        ..
    } = attempt;
    let rule = attempt.rule.map_or_else(String::new, |rule| {
        format!(", fallback rule {}", rule.saturating_add(1))
    });
    let waited = match attempt.waited_ms {
        waited if waited > 0.0 => format!(" after a wait of {}", text::latency(waited)),
        _ => String::new(),
    };
    let error = attempt.error_type.as_ref().filter(|error| *error != status);
    let error = error.map_or_else(String::new, |error| format!(" ({error})"));
    format!(
        "attempt {number} at {provider_id} {version} ({reason}{rule}){waited}: {status}{error} in {}",
        text::latency(attempt.latency_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_step_by_step() {
        let reports = r#"[{"id":"tidy","type":"pre","version":"v1","status":"success","latency_ms":1.4,"attempts":1},
            {"id":"guard","type":"validator","version":"v2","instance":"eu","status":"rejected","latency_ms":3.0,"attempts":1},
            {"id":"model","type":"provider","version":"","status":"skipped","latency_ms":0.0,"attempts":0}]"#;
        let reports: Vec<ExtensionReport<'_>> = serde_json::from_str(reports).expect("reports");
        let told = story(&reports, &[], "validator_blocked").expect("a story");
        let steps = "
1. pre tidy v1: success in 1.4 ms
2. validator guard v2 on instance eu: rejected in 3.0 ms
3. provider model: not run
4. the request ended with validator_blocked";
        assert!(told.starts_with("ID ") && told.ends_with(steps), "{told}");
        assert_eq!(story(&[], &[], "invalid_request"), None);
    }

    #[test]
    fn attempts_stand_among_the_steps() {
        let reports = r#"[{"id":"a","type":"provider","version":"v1","status":"error","latency_ms":1.4,"attempts":2},
            {"id":"mask","type":"post","version":"v1","status":"skipped","latency_ms":0.0,"attempts":0}]"#;
        let attempts = r#"[{"provider_id":"a","version":"v1","reason":"weighted","status":"timeout","error_type":"timeout","waited_ms":0.0,"latency_ms":10.0},
            {"provider_id":"a","version":"v1","reason":"retry","status":"error","error_type":"5xx","rule":0,"waited_ms":83.2,"latency_ms":1.0}]"#;
        let reports: Vec<ExtensionReport<'_>> = serde_json::from_str(reports).expect("reports");
        let attempts: Vec<AttemptReport<'_>> = serde_json::from_str(attempts).expect("attempts");
        assert_eq!(
            steps(&reports, &attempts, "extension_error"),
            [
                "attempt 1 at a v1 (weighted): timeout in 10.0 ms",
                "attempt 2 at a v1 (retry, fallback rule 1) after a wait of 83.2 ms: error (5xx) in 1.0 ms",
                "post mask v1: not run",
                "the request ended with extension_error",
            ]
        );
    }
}
