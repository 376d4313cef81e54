//! What a finished call changes: the message, the context, the reports.

use serde_json::value::RawValue;
use std::sync::Arc;

use super::failures::{fatal, rejection};
use super::{CallResult, Degraded, Report, Response, Run};
use crate::policy::OnFail;
use crate::request::call::{CallFailure, Edit, Reply};
use crate::request::error::RequestError;
use crate::request::plan::{PlannedCall, Rule};
use beamline_contract::fields::Fields;
use beamline_contract::time::milliseconds;

/// The detail of an error that might have been none after another attempt.
pub(super) const RETRY_BUDGET_EXHAUSTED: &str = "retry_budget_exhausted";

impl Run {
    /// Takes one result: reports it, and says which error it means for the request, if any.
    pub(super) fn take(&mut self, call: &PlannedCall, result: CallResult) -> Option<RequestError> {
        let id = &call.extension.id;
        let retry_refused = result.retry_refused;
        let (status, error) = match result.outcome {
            Ok(Reply::Reject { reason, details }) => {
                self.rejected(call, &reason, details.as_deref())
            }
            Ok(reply) => {
                self.accept(call, reply);
                ("success", None)
            }
            Err(failure) => {
                let error = fatal(call, &failure);
                if error.is_none() && failure != CallFailure::Cancelled {
                    self.degraded.push(Degraded {
                        id: id.clone(),
                        reason: failure.reason().to_owned(),
                    });
                }
                (failure.status(), error)
            }
        };
        self.reports.push(Report {
            id: id.clone(),
            kind: call.extension.kind,
            version: call.target.version.to_string(),
            instance: call
                .target
                .places
                .get(result.place)
                .and_then(|p| p.instance.as_deref())
                .map(str::to_owned),
            status,
            latency_ms: milliseconds(result.latency),
            attempts: result.attempts,
        });
        error.map(|error| {
            if retry_refused {
                error.with(RETRY_BUDGET_EXHAUSTED, true)
            } else {
                error
            }
        })
    }

    pub(super) fn accept(&mut self, call: &PlannedCall, reply: Reply) {
        match reply {
            Reply::Edit { payload, metadata } => {
                if let Some(edit) = payload {
                    self.edit(edit);
                }
                if !metadata.is_empty() {
                    Arc::make_mut(&mut self.context).overlay(&metadata);
                }
            }
            Reply::Completion {
                output,
                usage,
                metadata,
            } => {
                let mut about = Fields::clone(&self.message.metadata);
                about.set_text("provider_id", &call.extension.id);
                self.message.payload = output.into();
                self.message.metadata = Arc::new(about);
                let provider_id = call.extension.id.clone();
                self.response = Some(Response {
                    provider_id,
                    usage: usage.map(Arc::from),
                    metadata,
                });
            }
            Reply::Accept | Reply::Reject { .. } => {}
        }
    }

    fn edit(&mut self, edit: Edit) {
        if let Some(payload) = edit.payload {
            self.message.payload = payload.into();
        }
        if let Some(message_type) = edit.message_type {
            self.message.message_type = message_type.into();
        }
        if let Some(metadata) = edit.metadata {
            self.message.metadata = Arc::new(metadata);
        }
    }

    fn rejected(
        &mut self,
        call: &PlannedCall,
        reason: &str,
        details: Option<&RawValue>,
    ) -> (&'static str, Option<RequestError>) {
        let id = &call.extension.id;
        match call.rule {
            Rule::Validator(OnFail::Warn) => {
                self.degraded.push(Degraded {
                    id: id.clone(),
                    reason: reason.to_owned(),
                });
                ("warned", None)
            }
            Rule::Validator(OnFail::Ignore) => ("rejected", None),
            Rule::Validator(OnFail::Block) | Rule::Processor(_) | Rule::Provider => {
                ("rejected", Some(rejection(id, reason, details)))
            }
        }
    }
}
