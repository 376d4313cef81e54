//! `audit`: who has changed what, what was refused, and whether the log is as it was written.

use std::time::{Duration, SystemTime};

use beamline_contract::admin::{
    AuditAnswer, AuditFinding, AuditHead, ListAudit, PruneAudit, VerifyAudit,
};
use clap::{Args, Subcommand};
use humantime::{format_rfc3339_millis, parse_duration, parse_rfc3339};
use serde_json::json;

use super::client::Client;
use super::view::{audit, text};
use super::{Console, Failure, RefusedAnswer};
use crate::config::Config;

/// What can be done with the audit log.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// List the newest rows that fit
    List(ListArgs),
    /// Look at every row and at the chain over them
    Verify {
        /// The head of an earlier time that was kept elsewhere, as SEQ:HASH
        #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
        head: Option<AuditHead>,
    },
    /// Take whole months away; the chain goes on
    Prune {
        /// The first month that stays, such as 2026-05
        #[arg(long, value_name = "MONTH")]
        before: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which rows.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// The id of a key
    #[arg(long, value_name = "KEY")]
    actor: Option<String>,
    /// What was done: create, update, put, delete, rotate, revoke, .. or a refused operation
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// extension, policy, key or audit
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// An id; of a policy TENANT/POLICY
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// done or refused
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Of the key
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// A time ago (24h), or a moment (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<String>,
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<String>,
    /// Rows, at most 500
    #[arg(long, value_name = "ROWS", default_value_t = 50)]
    limit: u64,
    /// Only rows before this id
    #[arg(long, value_name = "ID")]
    before_id: Option<u64>,
    /// Also the objects before and after; --output json shows them
    #[arg(long)]
    images: bool,
}

pub(super) async fn run(
    config: &Config,
    command: AuditCommand,
    timeout: Duration,
    console: Console,
) -> Result<(), Failure> {
    match command {
        AuditCommand::List(args) => {
            let client = Client::connect(config, timeout).await?;
            let answer = client.admin(&args.question()).await?;
            console.answer(answer.raw(), || {
                let listed: AuditAnswer = answer.read()?;
                Ok(audit::list(&listed))
            })
        }
        AuditCommand::Verify { head } => {
            let client = Client::connect(config, timeout).await?;
            verify(&client, head, console).await
        }
        AuditCommand::Prune { before, yes } => {
            if !yes {
                console.confirm(&format!(
                    "Take everything before {before} out of the audit log?"
                ))?;
            }
            let client = Client::connect(config, timeout).await?;
            prune(&client, before, console).await
        }
    }
}

impl ListArgs {
    fn question(self) -> ListAudit {
        ListAudit {
            actor: self.actor,
            action: self.action,
            object_kind: self.kind,
            object_id: self.object,
            outcome: self.outcome,
            tenant_id: self.tenant,
            since: self.since,
            until: self.until,
            limit: Some(self.limit),
            before_id: self.before_id,
            images: self.images.then_some(true),
        }
    }
}

/// Part after part, so that none takes long. What is wrong is exit code 1.
async fn verify(
    client: &Client,
    expected: Option<AuditHead>,
    console: Console,
) -> Result<(), Failure> {
    let mut findings: Vec<AuditFinding> = Vec::new();
    let mut after_seq = None;
    let mut rows = 0;
    let mut head;
    let kept = match &expected {
        Some(expected) => Some(compare(client, expected).await?),
        None => None,
    };
    if let (Some(expected), Some(Kept::Changed(what))) = (&expected, &kept) {
        findings.push(finding(expected, what));
    }
    let kept_head = kept.as_ref().map(Kept::as_str);
    loop {
        let question = VerifyAudit { after_seq };
        let part = client.admin(&question).await?.read()?;
        rows += part.rows;
        findings.extend(part.findings);
        head = part.head;
        after_seq = part.next;
        if after_seq.is_none() {
            break;
        }
    }
    let is_pruned = matches!(kept, Some(Kept::Pruned));
    let shown = || Ok(audit::verdict(rows, head.as_ref(), is_pruned, &findings));
    if findings.is_empty() {
        let document = json!({
            "ok": true, "rows": rows, "head": head, "kept_head": kept_head, "findings": []
        });
        return console.answer(&document.to_string(), shown);
    }
    let what = format!(
        "the audit log is not as it was written: {}",
        text::count(findings.len(), "finding")
    );
    if console.is_json() {
        let error = json!({"code": "audit_findings", "message": what, "details": {}});
        let document = json!({
            "ok": false, "error": error, "rows": rows, "head": head, "kept_head": kept_head,
            "findings": findings
        });
        let refused = RefusedAnswer::in_answer(&document.to_string());
        return Err(refused.map_or_else(|| Failure::Failed(what), Failure::from));
    }
    console.print(&shown()?)?;
    Err(Failure::Failed(format!("{what}.")))
}

/// What became of the head that somebody has kept.
enum Kept {
    Same,
    /// Taken away, with everything before it.
    Pruned,
    Changed(&'static str),
}

impl Kept {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Pruned => "pruned",
            Self::Changed(_) => "changed",
        }
    }
}

async fn compare(client: &Client, expected: &AuditHead) -> Result<Kept, Failure> {
    let question = VerifyAudit {
        after_seq: Some(expected.seq),
    };
    let part = client.admin(&question).await?.read()?;
    let is_gap = |found: &AuditFinding| found.kind == "gap" && found.seq == Some(expected.seq);
    match part.start {
        Some(start) if start == *expected => Ok(Kept::Same),
        Some(start) if start.seq > expected.seq => Ok(Kept::Pruned),
        Some(_) => Ok(Kept::Changed("another hash stands there now")),
        None if part.findings.iter().any(is_gap) => {
            Ok(Kept::Changed("this place is not there any more"))
        }
        None => Err(Failure::Failed(
            "this router is of an earlier version and cannot compare heads; ask a newer one."
                .to_owned(),
        )),
    }
}

fn finding(head: &AuditHead, message: &str) -> AuditFinding {
    AuditFinding {
        kind: "changed".into(),
        seq: Some(head.seq),
        id: None,
        message: message.to_owned(),
    }
}

async fn prune(client: &Client, before: String, console: Console) -> Result<(), Failure> {
    let mut pruned_to = None;
    loop {
        let question = PruneAudit {
            before: before.clone(),
        };
        let part = client.admin(&question).await?.read()?;
        pruned_to = part.pruned_to.or(pruned_to);
        if !part.more {
            break;
        }
    }
    let document = json!({"ok": true, "pruned_to": pruned_to}).to_string();
    console.answer(&document, || {
        Ok(match pruned_to {
            Some(seq) => format!("the audit log begins behind place {seq} now"),
            None => "there was nothing to take away".to_owned(),
        })
    })
}

fn head(text: &str) -> Result<AuditHead, String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.to_owned())));
    let (seq, hash) = parts.ok_or_else(|| "write it as SEQ:HASH".to_owned())?;
    Ok(AuditHead { seq, hash })
}

fn moment(text: &str) -> Result<String, String> {
    let span = parse_duration(text).ok();
    let ago = span.and_then(|span| SystemTime::now().checked_sub(span));
    ago.or_else(|| parse_rfc3339(text).ok())
        .map(|time| format_rfc3339_millis(time).to_string())
        .ok_or_else(|| "write it as 24h, or as 2026-01-31T12:00:00Z".to_owned())
}
