//! Operations on the audit log, and what is written there of refusals.

use std::sync::Arc;
use std::time::SystemTime;

use beamline_contract::admin::{
    AuditAnswer, AuditPruned, AuditVerified, ListAudit, PruneAudit, RefusalCode, VerifyAudit,
};
use beamline_contract::fields::Fields;
use humantime::{format_rfc3339_millis, parse_rfc3339};

use super::body::required;
use super::caller::Caller;
use super::operation::{Perform, WaitsFor, writes};
use super::refusal::Refusal;
use super::surroundings::Surroundings;
use crate::store::{Entry, Listed};

/// Rows of one answer.
const USUAL: u64 = 50;
const MOST: u64 = 500;
/// Bytes of an answer beside its rows.
const ENVELOPE: usize = 1_024;

impl Perform for ListAudit {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        let mut asked: Self = body
            .read()
            .map_err(|_| Refusal::invalid("The body is not that of list_audit."))?;
        no_nul(&asked)?;
        for (field, time) in [("since", &mut asked.since), ("until", &mut asked.until)] {
            if let Some(text) = time {
                let parsed = parse_rfc3339(text).map_err(|_| {
                    Refusal::invalid(format!(
                        "/{field} must be a time in UTC, such as 2026-01-31T12:00:00Z."
                    ))
                })?;
                *time = Some(format_rfc3339_millis(parsed).to_string());
            }
        }
        if asked
            .limit
            .is_some_and(|limit| !(1..=MOST).contains(&limit))
        {
            return Err(Refusal::invalid(format!("/limit must be 1 to {MOST}.")));
        }
        Ok(asked)
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<AuditAnswer, Refusal> {
        let limit = self.limit.unwrap_or(USUAL);
        let room = caller.largest_answer.saturating_sub(ENVELOPE);
        let listed = all.audit.list(&self, limit, room).await;
        let Listed { records, more } = listed.map_err(Refusal::of_read)?;
        let next = records.last().map(|record| record.id);
        Ok(AuditAnswer {
            ok: true,
            next: next.filter(|_| more),
            records,
        })
    }
}

impl Perform for VerifyAudit {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    async fn perform(self, all: &Arc<Surroundings>, _: &Caller) -> Result<AuditVerified, Refusal> {
        let after_seq = self.after_seq.unwrap_or_default();
        let verified = all.audit.verify(after_seq).await;
        let verified = verified.map_err(Refusal::of_read)?;
        let next = verified.head.as_ref().map(|head| head.seq);
        Ok(AuditVerified {
            ok: true,
            rows: verified.rows,
            pruned_to: verified.pruned_to,
            start: verified.start,
            head: verified.head,
            findings: verified.findings,
            next: next.filter(|_| verified.more),
        })
    }
}

impl Perform for PruneAudit {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        let before = required(body, "before")?;
        cutoff(&before)?;
        Ok(Self { before })
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<AuditPruned, Refusal> {
        let cutoff = cutoff(&self.before)?;
        let by = caller.key_id.as_deref();
        let pruned = all.audit.prune(&cutoff, &self.before, by).await?;
        if let Some(pruned) = pruned {
            all.audit.note(Entry {
                action: "prune".to_owned(),
                object_kind: "audit".to_owned(),
                object_id: self.before,
                after: Some(format!(r#"{{"pruned_to":{}}}"#, pruned.last_seq)),
                ..entry(caller)
            });
        }
        Ok(AuditPruned {
            ok: true,
            pruned_to: pruned.map(|pruned| pruned.last_seq),
            more: pruned.is_some_and(|pruned| pruned.more),
        })
    }
}

/// No column holds it, so that a database may refuse the question.
fn no_nul(asked: &ListAudit) -> Result<(), Refusal> {
    let texts = [
        ("actor", &asked.actor),
        ("action", &asked.action),
        ("object_kind", &asked.object_kind),
        ("object_id", &asked.object_id),
        ("outcome", &asked.outcome),
        ("tenant_id", &asked.tenant_id),
    ];
    for (field, text) in texts {
        if text.as_deref().is_some_and(|text| text.contains('\0')) {
            let message = format!("/{field} holds the character U+0000; nothing in the log does.");
            return Err(Refusal::invalid(message));
        }
    }
    Ok(())
}

/// The first moment of a month that is not to come.
fn cutoff(month: &str) -> Result<String, Refusal> {
    let first = format!("{month}-01T00:00:00.000Z");
    match parse_rfc3339(&first) {
        Ok(at) if month.len() == 7 && at <= SystemTime::now() => Ok(first),
        _ => Err(Refusal::invalid(
            "/before must be a month that has begun, such as 2026-05: the first that stays.",
        )),
    }
}

/// Of whoever was let in: whatever was to be changed, and what the key is not good for.
pub(super) fn note_refusal(
    all: &Surroundings,
    caller: &Caller,
    operation: &str,
    body: &Fields,
    refusal: &Refusal,
) {
    let code = refusal.code();
    let is_denied = matches!(code, RefusalCode::Forbidden | RefusalCode::Unauthorized);
    // Those without a key are counted, whatever they asked for: in `denied`.
    if caller.key_id.is_none() && code == RefusalCode::Unauthorized {
        return;
    }
    if !is_denied && !writes(operation) {
        return;
    }
    let (object_kind, object_id) = object(operation, body);
    all.audit.note(Entry {
        action: operation.to_owned(),
        object_kind,
        object_id,
        error_code: Some(code.as_str().to_owned()),
        ..entry(caller)
    });
}

fn entry(caller: &Caller) -> Entry {
    let author = caller.author();
    Entry {
        source: author.source,
        key_id: author.actor,
        role: author.role,
        tenant_id: author.tenant_id,
        reason: author.reason,
        request_id: caller.nonce.as_ref().map(|nonce| nonce.value.clone()),
        trace_id: author.trace_id,
        ..Entry::default()
    }
}

/// What the request was about, as far as it says.
fn object(operation: &str, body: &Fields) -> (String, String) {
    let policy = body.text("policy_id").unwrap_or_default();
    if let Some(tenant) = body.text("tenant_id")
        && !policy.is_empty()
    {
        return ("policy".to_owned(), format!("{tenant}/{policy}"));
    }
    let kind = operation.rsplit('_').next().unwrap_or_default();
    let kind = if kind == "breaker" { "extension" } else { kind };
    let id = body.text("id").unwrap_or_default();
    (kind.to_owned(), id)
}
