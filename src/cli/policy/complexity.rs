//! `policy complexity`: how long a pipeline is, and what would make it shorter.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::explain::{width, wrapped};
use super::{Client, Console, Failure, table, text};

/// What `policy complexity` takes besides the global options.
#[derive(Debug, Clone, Args)]
pub struct ComplexityArgs {
    tenant: String,
    policy: String,
}

/// The answer to `get_pipeline_complexity`.
#[derive(Debug, Deserialize)]
struct Complexity {
    complexity_score: f64,
    complexity_level: String,
    #[serde(default)]
    pre: u32,
    #[serde(default)]
    validators: u32,
    #[serde(default)]
    post: u32,
    estimated_latency_ms: f64,
    #[serde(default)]
    estimate_from: String,
    #[serde(default)]
    warnings: Vec<String>,
    /// One for each warning.
    #[serde(default)]
    recommendations: Vec<String>,
}

pub(super) async fn run(
    client: &Client,
    args: &ComplexityArgs,
    console: Console,
) -> Result<(), Failure> {
    let body = json!({"tenant_id": args.tenant, "policy_id": args.policy});
    let answer = client.admin("get_pipeline_complexity", &body).await?;
    console.answer(answer.raw(), || {
        Ok(answer.read::<Complexity>()?.text(args, width()))
    })
}

/// What an estimate rests on, in words.
pub(super) fn basis(from: &str) -> &str {
    match from {
        "assumption" => "assumed, nothing was called yet",
        "some_measurements" => "measured where known, assumed otherwise",
        "measurements" => "measured",
        other => other,
    }
}

const BAR: usize = 20;

impl Complexity {
    fn text(&self, args: &ComplexityArgs, width: usize) -> String {
        let fields = [
            ("policy", format!("{}/{}", args.tenant, args.policy)),
            (
                "complexity",
                format!(
                    "{} of 100, {}  {}",
                    self.complexity_score,
                    self.level(),
                    self.bar()
                ),
            ),
            ("extensions", self.counts()),
            (
                "estimate",
                format!(
                    "{} ({})",
                    text::latency(self.estimated_latency_ms),
                    basis(&self.estimate_from)
                ),
            ),
        ];
        let mut parts = vec![table::of_fields(
            &fields.map(|(name, value)| (name, text::plain(&value))),
        )];
        let advice = self
            .recommendations
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        for (warning, advice) in self.warnings.iter().zip(advice) {
            let advice = advice
                .into_iter()
                .flat_map(|advice| wrapped(&text::plain(advice), width.saturating_sub(2)));
            let lines = std::iter::once(format!("! {}", text::plain(warning)))
                .chain(advice.map(|line| format!("  {line}")));
            parts.push(lines.collect::<Vec<_>>().join("\n"));
        }
        if self.warnings.is_empty() {
            parts.push("Nothing to improve.".to_owned());
        }
        parts.join("\n\n")
    }

    fn level(&self) -> String {
        self.complexity_level.replace('_', " ")
    }

    fn bar(&self) -> String {
        let full = (self.complexity_score.clamp(0.0, 100.0) / 100.0 * BAR as f64).round() as usize;
        format!(
            "{}{}",
            "█".repeat(full),
            "░".repeat(BAR.saturating_sub(full))
        )
    }

    fn counts(&self) -> String {
        let kinds = [
            ("pre-processor", self.pre),
            ("validator", self.validators),
            ("post-processor", self.post),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answer: &str) -> String {
        let args = ComplexityArgs {
            tenant: "acme".into(),
            policy: "default".into(),
        };
        serde_json::from_str::<Complexity>(answer)
            .expect("an answer")
            .text(&args, 40)
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
