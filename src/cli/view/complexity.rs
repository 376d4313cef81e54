//! How complex a pipeline is, and what would make it less so.

use beamline_contract::admin::{ComplexityAnswer, GetPipelineComplexity};

use super::{table, text};

const BAR: usize = 20;

/// The figures, then each warning with its advice.
pub(in crate::cli) fn text(
    question: &GetPipelineComplexity,
    answer: &ComplexityAnswer,
    width: usize,
) -> String {
    let mut parts = vec![figures(question, answer)];
    for (index, warning) in answer.warnings.iter().enumerate() {
        let mut lines = vec![format!("! {}", text::plain(warning))];
        if let Some(advice) = answer.recommendations.get(index) {
            let advice = text::wrapped(&text::plain(advice), width.saturating_sub(2));
            lines.extend(advice.iter().map(|line| format!("  {line}")));
        }
        parts.push(lines.join("\n"));
    }
    if answer.warnings.is_empty() {
        parts.push("Nothing to improve.".to_owned());
    }
    parts.join("\n\n")
}

fn figures(question: &GetPipelineComplexity, answer: &ComplexityAnswer) -> String {
    let GetPipelineComplexity {
        tenant_id,
        policy_id,
    } = question;
    let score = answer.complexity_score;
    let level = answer.complexity_level.replace('_', " ");
    let estimate = text::latency(answer.estimated_latency_ms);
    let fields = [
        ("policy", format!("{tenant_id}/{policy_id}")),
        (
            "complexity",
            format!("{score} of 100, {level}  {}", bar(score)),
        ),
        ("extensions", counts(answer)),
        (
            "estimate",
            format!("{estimate} ({})", answer.estimate_from.describe()),
        ),
    ];
    table::of_fields(&fields.map(|(name, value)| (name, text::plain(&value))))
}

fn bar(score: f64) -> String {
    let full = (score.clamp(0.0, 100.0) / 100.0 * BAR as f64).round() as usize;
    format!(
        "{}{}",
        "█".repeat(full),
        "░".repeat(BAR.saturating_sub(full))
    )
}

fn counts(answer: &ComplexityAnswer) -> String {
    let kinds = [
        ("pre-processor", answer.pre),
        ("validator", answer.validators),
        ("post-processor", answer.post),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(kind, number)| text::count(*number as usize, kind))
        .collect();
    if kinds.is_empty() {
        "none besides the provider".to_owned()
    } else {
        kinds.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answer: &str) -> String {
        let question = GetPipelineComplexity {
            tenant_id: "acme".into(),
            policy_id: "default".into(),
        };
        text(
            &question,
            &serde_json::from_str(answer).expect("an answer"),
            40,
        )
    }

    #[test]
    fn a_short_pipeline_is_told_in_a_few_lines() {
        let answer = r#"{"complexity_score":45.0,"complexity_level":"medium","total_extensions":3,"pre":1,"validators":1,
            "post":1,"estimated_latency_ms":90.0,"estimate_from":"assumption","warnings":[],"recommendations":[]}"#;
        let expected = "\
policy      acme/default
complexity  45 of 100, medium  █████████░░░░░░░░░░░
extensions  1 pre-processor, 1 validator, 1 post-processor
estimate    90.0 ms (assumed, nothing was called yet)

Nothing to improve.";
        assert_eq!(shown(answer), expected);
    }

    #[test]
    fn every_warning_comes_with_its_advice() {
        let answer = r#"{"complexity_score":92.5,"complexity_level":"very_high","total_extensions":3,"pre":0,"validators":3,
            "post":0,"estimated_latency_ms":1200.0,"estimate_from":"measurements","warnings":["Too many.","Too slow."],
            "recommendations":["Join those that look at the same thing, if you can."]}"#;
        let expected = "\
policy      acme/default
complexity  92.5 of 100, very high  ███████████████████░
extensions  3 validators
estimate    1.20 s (measured)

! Too many.
  Join those that look at the same
  thing, if you can.

! Too slow.";
        assert_eq!(shown(answer), expected);
    }
}
