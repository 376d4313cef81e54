//! Breakers as people see them: a row for each extension, or everything about one.

use std::collections::BTreeMap;

use beamline_contract::admin::{
    BreakerReset, BreakerSet, ExtensionBreakers, FleetBreakers, FleetCount, PartBreaker,
    ReplicasReset, ShownBreaker, ShownDecision, TargetBreaker, TenantsCounted,
};
use serde_json::Value;

use super::{table, text};

/// One row for each extension, with a column about all replicas where they were asked.
pub(in crate::cli) fn list(states: &BTreeMap<String, ExtensionBreakers>, fleet: bool) -> String {
    if states.is_empty() {
        return "no extensions; `beamline-router ext create` registers one".to_owned();
    }
    let mut header = vec![
        "ID", "STATE", "FAILURES", "ERRORS", "UNTIL", "OPERATOR", "REASON",
    ];
    if fleet {
        header.insert(2, "FLEET");
    }
    // `breaker show` has all of it.
    let spare: &[&str] = if fleet {
        &["ERRORS", "FAILURES", "OPERATOR", "UNTIL"]
    } else {
        &["ERRORS", "FAILURES"]
    };
    let mut table = table::with_header(&header, &["FAILURES", "ERRORS"]).sparing(spare);
    for (id, entry) in states {
        let mut row = row(id, entry).to_vec();
        if fleet {
            let replicas = entry.fleet.as_ref().map(everywhere);
            row.insert(2, replicas.unwrap_or_else(|| "-".to_owned()));
        }
        table.add_row(row);
    }
    table::text(&table)
}

fn row(id: &str, entry: &ExtensionBreakers) -> [String; 7] {
    let breaker = &entry.breaker;
    let operator = breaker.operator.as_ref();
    // Whatever is decided holds until then; otherwise an open breaker does.
    let until = operator
        .map(|operator| &operator.until)
        .or(breaker.until.as_ref());
    let trouble = trouble(entry);
    // Why it opened some day is no reason for being closed.
    let measured = breaker
        .reason
        .as_ref()
        .filter(|_| breaker.state != "closed");
    let reason = operator
        .map(|operator| &operator.reason)
        .or(measured)
        .or(trouble.as_ref());
    [
        text::plain(id),
        text::plain(&state(entry)),
        breaker.failure_count.to_string(),
        text::percentage(breaker.error_rate),
        plain_or_dash(until.map(String::as_str)),
        plain_or_dash(operator.map(|operator| operator.state.as_ref())),
        plain_or_dash(reason.map(String::as_str)),
    ]
}

/// What the next call meets, and at which version, unless it is closed.
pub(in crate::cli) fn state(entry: &ExtensionBreakers) -> String {
    let state = &entry.breaker.state;
    let is_decided = entry.breaker.operator.is_some();
    if state == "closed" || is_decided {
        return state.to_string();
    }
    let there = entry
        .versions
        .iter()
        .filter(|(_, part)| part.state == *state);
    let versions: Vec<&str> = there.map(|(version, _)| version.as_str()).collect();
    if versions.is_empty() {
        return state.to_string();
    }
    format!("{state} ({})", versions.join(", "))
}

fn plain_or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), text::plain)
}

/// Everything about the breakers of one extension.
pub(in crate::cli) fn fields(id: &str, entry: &ExtensionBreakers) -> Vec<(&'static str, String)> {
    let breaker = &entry.breaker;
    let mut fields = vec![
        ("id", text::plain(id)),
        ("state", text::plain(&breaker.state)),
    ];
    if let Some(measured) = &breaker.measured_state {
        fields.push(("measured", text::plain(measured)));
    }
    fields.extend(breaker.operator.as_ref().map(operator));
    fields.extend(history(breaker));
    fields.push(("failures", format!("{} in a row", breaker.failure_count)));
    fields.push(("errors", text::percentage(breaker.error_rate)));
    fields.push(("settings", lines(entry.settings.iter().map(setting))));
    if entry.versions.len() > 1 {
        fields.push(("versions", lines(entry.versions.iter().map(part))));
    }
    let counted = entry.tenants_counted.as_ref().map(counted_tenants);
    let tenants: Vec<String> = counted
        .into_iter()
        .chain(entry.tenants.iter().map(part))
        .collect();
    if !tenants.is_empty() {
        fields.push(("tenants", lines(tenants)));
    }
    if let Some(fleet) = &entry.fleet {
        fields.push(("fleet", lines(of_fleet(fleet))));
    }
    if !entry.targets.is_empty() {
        fields.push(("targets", lines(entry.targets.iter().map(target))));
    }
    fields
}

/// When it opened and why, as far as that is known.
fn history(breaker: &ShownBreaker) -> Vec<(&'static str, String)> {
    let class = breaker.class.as_ref().map(ToString::to_string);
    let history = [
        ("opened at", &breaker.opened_at),
        ("until", &breaker.until),
        ("last opened", &breaker.last_opened_at),
        ("reason", &breaker.reason),
        ("class", &class),
        ("suspect until", &breaker.suspect_until),
    ];
    history
        .into_iter()
        .filter_map(|(name, value)| Some((name, text::plain(value.as_deref()?))))
        .collect()
}

fn operator(decision: &ShownDecision) -> (&'static str, String) {
    let ShownDecision {
        state,
        until,
        reason,
    } = decision;
    let sentence = format!("{state} until {until}: {reason}");
    ("operator", text::plain(&sentence))
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = lines.into_iter().collect();
    if lines.is_empty() {
        "-".to_owned()
    } else {
        lines.join("\n")
    }
}

fn setting((name, value): (&String, &Value)) -> String {
    text::plain(&match value.as_str() {
        Some(word) => format!("{name} {word}"),
        None => format!("{name} {value}"),
    })
}

fn target(target: &TargetBreaker) -> String {
    let TargetBreaker {
        subject, breaker, ..
    } = target;
    text::plain(&format!(
        "{subject} {}, {} failures in a row",
        breaker.state, breaker.failure_count
    ))
}

/// Who is kept back although the state does not say so.
fn trouble(entry: &ExtensionBreakers) -> Option<String> {
    match (&entry.tenants_counted, entry.tenants.len()) {
        (Some(counted), _) if counted.open + counted.half_open > 0 => {
            Some(counted_tenants(counted))
        }
        (Some(_), _) | (None, 0) => None,
        (None, tenants) => Some(format!("{} kept back", text::count(tenants, "tenant"))),
    }
}

fn counted_tenants(tenants: &TenantsCounted) -> String {
    let TenantsCounted {
        known,
        open,
        half_open,
    } = tenants;
    if open + half_open == 0 {
        format!("closed for all {known}")
    } else {
        format!("{open} of {known} tenants open, {half_open} half open")
    }
}

fn part((name, part): (&String, &PartBreaker)) -> String {
    let PartBreaker {
        state,
        failure_count,
        ..
    } = part;
    let failures = text::count(
        usize::try_from(*failure_count).unwrap_or(usize::MAX),
        "failure",
    );
    text::plain(&format!("{name} {state}, {failures} in a row"))
}

fn everywhere(fleet: &FleetBreakers) -> String {
    counted(fleet.count, fleet.replicas)
}

fn of_fleet(fleet: &FleetBreakers) -> Vec<String> {
    let mut lines = vec![everywhere(fleet)];
    for (subject, count) in fleet.targets.iter().flatten() {
        let target = format!("{subject} {}", counted(*count, fleet.replicas));
        lines.push(text::plain(&target));
    }
    lines
}

fn counted(count: FleetCount, replicas: usize) -> String {
    match (count.open, count.half_open) {
        (0, 0) => format!("closed on {replicas} of {replicas}"),
        (0, half_open) => format!("half_open on {half_open} of {replicas}"),
        (open, 0) => format!("open on {open} of {replicas}"),
        (open, half_open) => format!("open on {open}, half_open on {half_open} of {replicas}"),
    }
}

/// What a decision of an operator came to.
pub(in crate::cli) fn decided(id: &str, answer: &BreakerSet) -> String {
    let what = match &answer.operator {
        Some(operator) => format!("{} until {}", operator.state, operator.until),
        None => "goes by what it measures".to_owned(),
    };
    text::plain(&format!(
        "breaker of '{id}' {what}, at revision {}",
        answer.revision
    ))
}

/// Which replicas have closed the breakers of an extension.
pub(in crate::cli) fn was_reset(id: &str, answer: &BreakerReset) -> String {
    let ReplicasReset { answered, closed } = answer.replicas;
    let rest = if closed < answered {
        "; the others follow when they have read it"
    } else {
        ""
    };
    text::plain(&format!(
        "breaker of '{id}' closed on {closed} of {}, at revision {}{rest}",
        text::count(answered, "replica"),
        answer.revision
    ))
}

#[cfg(test)]
mod tests {
    use beamline_contract::admin::BreakerStatesAnswer;

    use super::*;

    const ANSWER: &str = r#"{"ok": true, "states": {
        "clean": {"state": "closed", "opened_at": null, "failure_count": 0, "error_rate": 0.0, "reason": "5 failures in a row"},
        "guard": {"state": "open", "opened_at": "2026-01-01T00:00:00.000Z", "failure_count": 5, "error_rate": 0.25,
            "until": "2026-01-01T00:00:05.000Z", "reason": "5 failures in a row", "settings": {"isolation": "shared", "jitter": 25},
            "targets": [{"subject": "b.ext.validate.guard.a", "state": "open", "failure_count": 5}]},
        "model": {"state": "open", "opened_at": null, "failure_count": 0, "error_rate": 0.0, "measured_state": "closed",
            "operator": {"state": "forced_open", "until": "2026-01-01T01:00:00.000Z", "reason": "bad\u001b release"}}}}"#;

    fn states(answer: &str) -> BTreeMap<String, ExtensionBreakers> {
        let answer: BreakerStatesAnswer = serde_json::from_str(answer).expect("an answer");
        answer.states
    }

    fn shown(states: &BTreeMap<String, ExtensionBreakers>, id: &str) -> String {
        table::of_fields(&fields(id, &states[id]))
    }

    #[test]
    fn breakers_are_listed_with_what_holds_them_open() {
        let expected = "\
ID     STATE   FAILURES  ERRORS  UNTIL                     OPERATOR     REASON
clean  closed         0    0.0%  -                         -            -
guard  open           5   25.0%  2026-01-01T00:00:05.000Z  -            5 failures in a row
model  open           0    0.0%  2026-01-01T01:00:00.000Z  forced_open  bad\\u{1b} release";
        assert_eq!(list(&states(ANSWER), false), expected);
    }

    #[test]
    fn replicas_are_counted_where_they_were_asked() {
        let states = states(
            r#"{"ok": true, "states": {
            "clean": {"state": "closed", "failure_count": 0, "error_rate": 0.0,
                "fleet": {"replicas": 3, "open": 0, "half_open": 0}},
            "guard": {"state": "closed", "failure_count": 0, "error_rate": 0.0,
                "fleet": {"replicas": 3, "open": 2, "half_open": 0, "targets": {"b.x": {"open": 2, "half_open": 1}}}},
            "model": {"state": "closed", "failure_count": 0, "error_rate": 0.0}}}"#,
        );
        let expected = "\
ID     STATE   FLEET             FAILURES  ERRORS  UNTIL  OPERATOR  REASON
clean  closed  closed on 3 of 3         0    0.0%  -      -         -
guard  closed  open on 2 of 3           0    0.0%  -      -         -
model  closed  -                        0    0.0%  -      -         -";
        assert_eq!(list(&states, true), expected);
        let shown = shown(&states, "guard");
        assert!(
            shown.contains("b.x open on 2, half_open on 1 of 3"),
            "{shown}"
        );
    }

    #[test]
    fn what_the_next_call_meets_is_named_with_its_version_and_whom_it_keeps_back() {
        let states = states(
            r#"{"ok": true, "states": {
            "clean": {"state": "open", "failure_count": 5, "error_rate": 0.5, "class": "no_responders",
                "versions": {"v1": {"state": "closed"}, "v2": {"state": "open", "failure_count": 5}}, "tenants": {}},
            "guard": {"state": "closed", "failure_count": 0, "error_rate": 0.0,
                "tenants": {"acme": {"state": "open", "failure_count": 1}}},
            "old": {"state": "closed", "failure_count": 0, "error_rate": 0.0,
                "tenants": {"known": 2, "open": 1, "half_open": 0, "worst": []}}}}"#,
        );
        let expected = "\
ID     STATE      FAILURES  ERRORS  UNTIL  OPERATOR  REASON
clean  open (v2)         5   50.0%  -      -         -
guard  closed            0    0.0%  -      -         1 tenant kept back
old    closed            0    0.0%  -      -         -";
        assert_eq!(list(&states, false), expected);
        let clean = shown(&states, "clean");
        for line in ["class     no_responders", "v2 open, 5 failures in a row"] {
            assert!(clean.contains(line), "{clean}");
        }
        let guard = shown(&states, "guard");
        assert!(guard.contains("acme open, 1 failure in a row"), "{guard}");
    }

    #[test]
    fn one_breaker_is_shown_with_its_settings_and_targets() {
        let states = states(ANSWER);
        let expected = "\
id         guard
state      open
opened at  2026-01-01T00:00:00.000Z
until      2026-01-01T00:00:05.000Z
reason     5 failures in a row
failures   5 in a row
errors     25.0%
settings   isolation shared
           jitter 25
targets    b.ext.validate.guard.a open, 5 failures in a row";
        assert_eq!(shown(&states, "guard"), expected);
        assert!(
            shown(&states, "model").contains(
                "operator  forced_open until 2026-01-01T01:00:00.000Z: bad\\u{1b} release"
            )
        );
    }
}
