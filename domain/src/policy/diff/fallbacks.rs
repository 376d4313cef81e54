//! Fallback rules, which have no names: those at both ends that stay are taken away, the rest is
//! compared pair by pair.

use super::changes::{ChangeKind, Changes};
use crate::policy::{Backoff, Fallback, When};

pub(super) fn diff(old: &[Fallback], new: &[Fallback], changes: &mut Changes) {
    let first = old
        .iter()
        .zip(new)
        .take_while(|(was, now)| was == now)
        .count();
    let old = old.get(first..).unwrap_or_default();
    let new = new.get(first..).unwrap_or_default();
    let last = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(was, now)| was == now)
        .count();
    let old_middle = old.len().saturating_sub(last);
    let new_middle = new.len().saturating_sub(last);
    for index in 0..old_middle.max(new_middle) {
        let what = format!("fallback rule {}", first + index + 1);
        match (
            old.get(index).filter(|_| index < old_middle),
            new.get(index).filter(|_| index < new_middle),
        ) {
            (Some(was), Some(now)) => rule(&what, was, now, changes),
            (None, Some(now)) => {
                changes.push(ChangeKind::Added, &what, format!("{what} is new: {now}"))
            }
            (Some(was), None) => {
                changes.push(ChangeKind::Removed, &what, format!("{what} is gone: {was}"))
            }
            (None, None) => {}
        }
    }
}

fn rule(what: &str, was: &Fallback, now: &Fallback, changes: &mut Changes) {
    if was.when != now.when {
        changes.changed(what, &format!("{} -> {}", was.when, now.when));
    }
    if was.retry != now.retry {
        changes.changed(
            what,
            &format!("retry {} -> {}", retry(was.retry), retry(now.retry)),
        );
    }
    if was.backoff != now.backoff {
        changes.changed(what, &format!("backoff {} -> {}", was.backoff, now.backoff));
    }
    let to = |rule: &Fallback| rule.to.clone().unwrap_or_else(|| "nobody".to_owned());
    if was.to != now.to {
        changes.changed(what, &format!("to {} -> {}", to(was), to(now)));
    }
}

fn retry(retry: Option<u32>) -> String {
    retry.map_or_else(
        || "of the provider's record".to_owned(),
        |number| number.to_string(),
    )
}

/// For a sentence: `on timeout, 5xx: retry 2 with backoff exponential 100ms to 2s with jitter, then
/// anthropic_claude`.
impl std::fmt::Display for Fallback {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.when)?;
        match (self.retry, &self.to) {
            (Some(number), to) if number > 0 => {
                write!(out, ": retry {number} with backoff {}", self.backoff)?;
                to.as_ref().map_or(Ok(()), |to| write!(out, ", then {to}"))
            }
            (_, Some(to)) => write!(out, ": {to}"),
            (_, None) => Ok(()),
        }
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.status.iter().map(ToString::to_string).collect();
        let words = if words.is_empty() {
            "any failure".to_owned()
        } else {
            words.join(", ")
        };
        let and = if self.conditions.is_empty() {
            ""
        } else {
            " if "
        };
        write!(out, "on {words}{and}{}", self.conditions)
    }
}

impl std::fmt::Display for Backoff {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let base = humantime::format_duration(self.base);
        let max = humantime::format_duration(self.max);
        let jitter = if self.jitter {
            "with jitter"
        } else {
            "without jitter"
        };
        write!(out, "{} {base} to {max} {jitter}", self.strategy.as_str())
    }
}
