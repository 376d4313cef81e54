//! How long a pipeline is, in one figure, and what makes it long.

use std::time::Duration;

use crate::policy::waves::waves;
use crate::policy::{Policy, Processor, Validator};
use beamline_contract::admin::{ComplexityAnswer, EstimateSource};
use beamline_contract::time::milliseconds;

/// From when on a pipeline counts as long.
#[derive(Debug, Clone, Copy)]
pub struct ComplexityLimits {
    /// Extensions in one pipeline, without the provider.
    pub total: u32,
    pub per_kind: u32,
    /// What an extension is expected to take while nothing is known of its latency.
    pub assumed_latency: Duration,
    /// An estimate above this is warned of.
    pub latency: Duration,
}

/// The time that the extensions of a pipeline take, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub latency: Duration,
    pub from: EstimateSource,
}

/// How complex a policy is. `latency` says how long an extension usually takes, if that is known.
pub fn assess(
    policy: &Policy,
    limits: &ComplexityLimits,
    latency: &dyn Fn(&str) -> Option<Duration>,
) -> ComplexityAnswer {
    let pre = count(policy.pre.len());
    let validators = count(policy.validators.len() + policy.output_validators.len());
    let post = count(policy.post.len());
    let total = pre.saturating_add(validators).saturating_add(post);
    let score = score(total, [pre, validators, post], limits);
    let estimate = estimate(policy, limits.assumed_latency, latency);
    let mut answer = ComplexityAnswer {
        complexity_score: score,
        complexity_level: level(score).into(),
        total_extensions: total,
        pre,
        validators,
        post,
        estimated_latency_ms: milliseconds(estimate.latency),
        estimate_from: estimate.from.into(),
        warnings: Vec::new(),
        recommendations: Vec::new(),
    };
    judge_total(&mut answer, limits);
    judge_kind(&mut answer, "pre-processors", pre, limits);
    judge_kind(&mut answer, "validators", validators, limits);
    judge_kind(&mut answer, "post-processors", post, limits);
    judge_latency(&mut answer, estimate, limits);
    answer
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn judge_total(answer: &mut ComplexityAnswer, limits: &ComplexityLimits) {
    if answer.total_extensions <= limits.total {
        return;
    }
    answer.warnings.push(format!(
        "The pipeline has {} extensions; {} are recommended.",
        answer.total_extensions, limits.total
    ));
    answer.recommendations.push(
        "Join extensions that do similar work, or move what only some messages need into a policy of its own."
            .into(),
    );
}

fn judge_kind(answer: &mut ComplexityAnswer, name: &str, count: u32, limits: &ComplexityLimits) {
    if count <= limits.per_kind {
        return;
    }
    answer.warnings.push(format!(
        "The pipeline has {count} {name}; {} are recommended.",
        limits.per_kind
    ));
    answer.recommendations.push(if name == "validators" {
        "Join validators that look at the same thing; they run side by side, so the slowest one counts."
            .to_owned()
    } else {
        format!(
            "Join {name}, or give them `depends_on`, so that those that do not need each other run side by side."
        )
    });
}

fn judge_latency(answer: &mut ComplexityAnswer, estimate: Estimate, limits: &ComplexityLimits) {
    if estimate.latency <= limits.latency {
        return;
    }
    answer.warnings.push(format!(
        "The extensions take about {} ms ({}); at most {} ms are recommended.",
        milliseconds(estimate.latency),
        estimate.from.describe(),
        milliseconds(limits.latency)
    ));
    answer.recommendations.push(
        "Look at the slowest extension with `beamline-router policy explain`, and let what can run side by side.".into(),
    );
}

/// 60 points for as many extensions as recommended, up to 20 for what goes beyond, 5 for each kind
/// that has too many, and up to 20 more for a pipeline that is too long as a whole; 100 at most.
fn score(total: u32, kinds: [u32; 3], limits: &ComplexityLimits) -> f64 {
    let total = f64::from(total);
    let most = f64::from(limits.total);
    let over = (total - most).max(0.0);
    let base = if over > 0.0 {
        60.0 + (5.0 * over).min(20.0)
    } else {
        60.0 * total / most.max(1.0)
    };
    let crowded: f64 = kinds
        .iter()
        .filter(|count| **count > limits.per_kind)
        .map(|_| 5.0)
        .sum();
    (base + crowded + (4.0 * over).min(20.0)).min(100.0)
}

fn level(score: f64) -> &'static str {
    match score {
        score if score < 30.0 => "low",
        score if score < 60.0 => "medium",
        score if score < 80.0 => "high",
        _ => "very_high",
    }
}

/// What the extensions of a policy take together. With nothing known each counts in full; with
/// figures, those that run side by side count as the slowest of them.
pub fn estimate(
    policy: &Policy,
    assumed: Duration,
    latency: &dyn Fn(&str) -> Option<Duration>,
) -> Estimate {
    let mut stages = waves_of(&policy.pre);
    stages.push(ids(&policy.validators));
    stages.extend(waves_of(&policy.post));
    stages.push(ids(&policy.output_validators));
    let all: Vec<Option<Duration>> = stages.iter().flatten().map(|id| latency(id)).collect();
    let known = all.iter().flatten().count();
    let from = match known {
        0 => EstimateSource::Assumption,
        known if known < all.len() => EstimateSource::SomeMeasurements,
        _ => EstimateSource::Measurements,
    };
    let latency = match from {
        EstimateSource::Assumption => {
            assumed.saturating_mul(u32::try_from(all.len()).unwrap_or(u32::MAX))
        }
        EstimateSource::SomeMeasurements | EstimateSource::Measurements => {
            let slowest = |wave: &Vec<&str>| {
                wave.iter()
                    .map(|id| latency(id).unwrap_or(assumed))
                    .max()
                    .unwrap_or_default()
            };
            stages.iter().map(slowest).sum()
        }
    };
    Estimate { latency, from }
}

fn ids(validators: &[Validator]) -> Vec<&str> {
    let ids = validators.iter().map(|validator| validator.id.as_str());
    ids.collect()
}

fn waves_of(processors: &[Processor]) -> Vec<Vec<&str>> {
    let ids = |wave: Vec<usize>| {
        wave.into_iter()
            .filter_map(|i| processors.get(i))
            .map(|p| p.id.as_str())
            .collect()
    };
    waves(processors)
        .unwrap_or_default()
        .into_iter()
        .map(ids)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ComplexityLimits = ComplexityLimits {
        total: 4,
        per_kind: 2,
        assumed_latency: Duration::from_millis(30),
        latency: Duration::from_millis(150),
    };

    fn policy(pre: usize, validators: usize, post: usize) -> Policy {
        let ids = |kind: &str, count: usize| {
            (0..count)
                .map(|n| serde_json::json!({"id": format!("{kind}_{n}")}))
                .collect::<Vec<_>>()
        };
        let document = serde_json::json!({"pre": ids("pre", pre), "validators": ids("val", validators),
            "post": ids("post", post), "providers": [{"name": "p"}]});
        Policy::parse(&document.to_string()).unwrap()
    }

    fn unknown(_: &str) -> Option<Duration> {
        None
    }

    #[test]
    fn the_score_follows_its_formula() {
        for ((pre, validators, post), score, level) in [
            ((0, 0, 0), 0.0, "low"),
            ((1, 0, 0), 15.0, "low"),
            ((1, 1, 0), 30.0, "medium"),
            ((1, 1, 1), 45.0, "medium"),
            ((3, 0, 0), 50.0, "medium"),
            ((2, 1, 1), 60.0, "high"),
            ((2, 2, 1), 69.0, "high"),
            ((2, 2, 2), 78.0, "high"),
            ((3, 2, 2), 92.0, "very_high"),
            ((3, 3, 3), 100.0, "very_high"),
            ((20, 5, 5), 100.0, "very_high"),
        ] {
            let answer = assess(&policy(pre, validators, post), &LIMITS, &unknown);
            assert_eq!(
                (answer.complexity_score, &*answer.complexity_level),
                (score, level),
                "{pre} {validators} {post}"
            );
        }
    }

    #[test]
    fn every_limit_passed_has_a_warning_and_a_recommendation() {
        let warnings = |pre, validators, post| {
            let answer = assess(&policy(pre, validators, post), &LIMITS, &unknown);
            assert_eq!(answer.warnings.len(), answer.recommendations.len());
            answer.warnings
        };
        assert!(warnings(2, 1, 1).is_empty());
        assert_eq!(
            warnings(0, 3, 0),
            ["The pipeline has 3 validators; 2 are recommended."]
        );
        assert_eq!(
            warnings(3, 3, 0),
            [
                "The pipeline has 6 extensions; 4 are recommended.",
                "The pipeline has 3 pre-processors; 2 are recommended.",
                "The pipeline has 3 validators; 2 are recommended.",
                "The extensions take about 180 ms (assumed, nothing was called yet); at most 150 ms are recommended.",
            ]
        );
    }

    #[test]
    fn the_estimate_uses_what_is_known_and_says_so() {
        let policy = policy(2, 2, 0);
        let estimate = |latency: &dyn Fn(&str) -> Option<Duration>| {
            let answer = assess(&policy, &LIMITS, latency);
            (answer.estimated_latency_ms, answer.estimate_from)
        };
        assert_eq!(
            estimate(&unknown),
            (120.0, EstimateSource::Assumption.into())
        );
        let some = |id: &str| (id == "val_0").then_some(Duration::from_millis(200));
        assert_eq!(
            estimate(&some),
            (30.0 + 30.0 + 200.0, EstimateSource::SomeMeasurements.into())
        );
        assert_eq!(
            estimate(&|_| Some(Duration::from_millis(1))),
            (3.0, EstimateSource::Measurements.into())
        );
    }
}
