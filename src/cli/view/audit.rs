//! The audit log: rows, and the verdict on all of them.

use beamline_contract::admin::{AuditAnswer, AuditFinding, AuditHead, AuditRecord};

use super::{table, text};

const HEADER: [&str; 7] = [
    "AT", "ACTOR", "ROLE", "ACTION", "OBJECT", "OUTCOME", "REASON",
];

pub(in crate::cli) fn list(answer: &AuditAnswer) -> String {
    if answer.records.is_empty() {
        return "no rows".to_owned();
    }
    let mut table = table::with_header(&HEADER, &[]).sparing(&["ROLE", "REASON"]);
    for record in &answer.records {
        table.add_row([
            text::plain(record.at.get(..19).unwrap_or(&record.at)),
            text::or_dash(record.actor.as_deref()),
            text::or_dash(record.role.as_deref()),
            text::plain(&record.action),
            text::plain(format!("{} {}", record.object_kind, record.object_id).trim()),
            outcome(record),
            text::or_dash(record.reason.as_deref()),
        ]);
    }
    let more = answer
        .next
        .map(|id| format!("\n\nolder ones: --before-id {id}"));
    format!("{}{}", table::text(&table), more.unwrap_or_default())
}

fn outcome(record: &AuditRecord) -> String {
    match &record.error_code {
        Some(code) => text::plain(&format!("{} ({code})", record.outcome)),
        None => text::plain(&record.outcome),
    }
}

pub(in crate::cli) fn verdict(
    rows: u64,
    head: Option<&AuditHead>,
    is_pruned: bool,
    findings: &[AuditFinding],
) -> String {
    let mut lines: Vec<String> = findings.iter().map(line).collect();
    if findings.is_empty() {
        lines.push(format!("{rows} rows, all as they were written"));
    }
    if is_pruned {
        lines.push("the kept head was taken away by `audit prune`".to_owned());
    }
    if let Some(head) = head {
        lines.push(format!("head {}:{}", head.seq, text::plain(&head.hash)));
    }
    lines.join("\n")
}

fn line(finding: &AuditFinding) -> String {
    let seq = finding.seq.map(|seq| format!(" place {seq}"));
    let id = finding.id.map(|id| format!(" row {id}"));
    text::plain(&format!(
        "{}:{}{}: {}",
        finding.kind,
        seq.unwrap_or_default(),
        id.unwrap_or_default(),
        finding.message
    ))
}
