//! What came of a scenario, as a line of the table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gaps;
use crate::load::Sent;

/// A promise that was not kept: `I1` to `I8`, or what the scenario itself demands.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    pub(crate) answered: usize,
    /// Without any answer, also those that the transport is to blame for.
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) errors: BTreeMap<String, usize>,
    /// From the end of the fault to the last request that felt it.
    pub(crate) recovery: Option<Duration>,
    pub(crate) took: Duration,
    pub(crate) findings: Vec<Finding>,
    /// Why the scenario could not be played here.
    pub(crate) skipped: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// Only what is known to be missing is missing.
    KnownGap,
    Fail,
    Skipped,
}

pub(crate) const HEAD: &str = "scenario                                             requests  answered  lost  doubled  errors  recovery  time  verdict";

impl Outcome {
    pub(crate) fn of(
        sent: &[Sent],
        recovery: Option<Duration>,
        took: Duration,
        findings: Vec<Finding>,
    ) -> Self {
        let mut errors = BTreeMap::new();
        let reached = sent.iter().filter(|sent| sent.code() != Some("unsent"));
        for code in reached
            .clone()
            .filter_map(Sent::code)
            .filter(|code| *code != "ok")
        {
            *errors.entry(code.to_owned()).or_insert(0) += 1;
        }
        Self {
            requests: reached.clone().count(),
            answered: reached
                .clone()
                .filter(|sent| !sent.answers.is_empty())
                .count(),
            lost: reached
                .clone()
                .filter(|sent| sent.answers.is_empty())
                .count(),
            doubled: reached.filter(|sent| sent.answers.len() > 1).count(),
            errors,
            recovery,
            took,
            findings,
            skipped: None,
        }
    }

    pub(crate) fn skipped(why: &'static str) -> Self {
        Self {
            skipped: Some(why),
            ..Self::default()
        }
    }

    /// The scenario did not come to its end.
    pub(crate) fn broken(what: String) -> Self {
        Self {
            findings: vec![Finding { rule: "end", what }],
            ..Self::default()
        }
    }

    pub(crate) fn unknown(&self, scenario: &str) -> Vec<String> {
        let unknown = self
            .findings
            .iter()
            .filter(|finding| !gaps::known(scenario, finding.rule));
        unknown
            .map(|finding| format!("{}: {}", finding.rule, finding.what))
            .collect()
    }

    pub(crate) fn verdict(&self, scenario: &str) -> Verdict {
        match () {
            () if self.skipped.is_some() => Verdict::Skipped,
            () if self.findings.is_empty() => Verdict::Pass,
            () if self.unknown(scenario).is_empty() => Verdict::KnownGap,
            () => Verdict::Fail,
        }
    }

    pub(crate) fn line(&self, id: &str, name: &str) -> String {
        let verdict = match self.verdict(id) {
            Verdict::Pass => "pass",
            Verdict::KnownGap => "KNOWN GAP",
            Verdict::Fail => "FAIL",
            Verdict::Skipped => "skipped",
        };
        let recovery = self.recovery.map_or("-".to_owned(), |time| {
            format!("{:.1} s", time.as_secs_f64())
        });
        let errors: usize = self.errors.values().sum();
        format!(
            "{:<53}{:>8}  {:>8}  {:>4}  {:>7}  {:>6}  {:>8}  {:>4.0}  {verdict}",
            format!("{id:<4}{name}"),
            self.requests,
            self.answered,
            self.lost,
            self.doubled,
            errors,
            recovery,
            self.took.as_secs_f64(),
        )
    }

    /// The line with everything that was found.
    pub(crate) fn story(&self, id: &str, name: &str) -> String {
        let mut text = self.line(id, name);
        if !self.errors.is_empty() {
            let _ = write!(text, "\n     errors: {:?}", self.errors);
        }
        for finding in &self.findings {
            let gap = if gaps::known(id, finding.rule) {
                " (known gap)"
            } else {
                ""
            };
            let _ = write!(text, "\n     {}{gap}: {}", finding.rule, finding.what);
        }
        if let Some(why) = self.skipped {
            let _ = write!(text, "\n     {why}");
        }
        text
    }

    pub(crate) fn json(&self, id: &str, name: &str) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| json!({"rule": finding.rule, "what": finding.what, "known": gaps::known(id, finding.rule)}))
            .collect();
        json!({
            "scenario": id, "name": name, "requests": self.requests, "answered": self.answered, "lost": self.lost,
            "doubled": self.doubled, "errors": self.errors, "recovery_s": self.recovery.map(|time| time.as_secs_f64()),
            "seconds": self.took.as_secs_f64(), "verdict": format!("{:?}", self.verdict(id)), "findings": findings,
            "skipped": self.skipped,
        })
    }
}
