//! What a finished call changes: the message, the context, the reports.

use std::sync::Arc;

use beamline_contract::answer::ExtensionStatus;
use beamline_contract::policy::OnFail;
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use super::consequences::{fatal, rejection};
use super::state::{Attempt, CallResult, Decision, Degraded, Report, Response, Run};
use super::step::Step;
use crate::request::error::RequestError;
use crate::request::failure::CallFailure;
use crate::request::plan::{PlannedCall, Rule};
use crate::request::reply::{Edit, Reply};

/// The detail of an error that might have been none after another attempt.
pub(super) const RETRY_BUDGET_EXHAUSTED: &str = "retry_budget_exhausted";

impl Run {
    /// Takes the result of a guardrail: reports it, and says which error it means for the request,
    /// if any.
    pub(super) fn take_result(
        &mut self,
        call: &Arc<PlannedCall>,
        result: CallResult,
    ) -> Option<RequestError> {
        let retries = result.attempts.saturating_sub(1);
        self.extra_attempts = self.extra_attempts.saturating_sub(retries);
        let (status, error) = match result.outcome {
            Ok(Reply::Reject { reason, details }) => {
                self.rejected(call, &reason, details.as_deref())
            }
            Ok(reply) => {
                self.accept(call, reply);
                (ExtensionStatus::Success, None)
            }
            Err(failure) => (failure.status(), self.failed(call, &failure)),
        };
        self.reports.push(Report {
            call: Arc::clone(call),
            endpoint: result.endpoint,
            status,
            latency: result.latency,
            attempts: result.attempts,
        });
        if result.retry_refused {
            error.map(|error| error.with(RETRY_BUDGET_EXHAUSTED, true))
        } else {
            error
        }
    }

    /// Takes the result of an attempt at the provider.
    pub(super) fn take_provider_result(&mut self, result: CallResult) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let call = &decision.call;
        self.note_attempt(&decision, &result);
        self.report_provider(call, &result);
        match result.outcome {
            Ok(reply) => {
                self.accept(call, reply);
                self.step = self.step_after();
            }
            Err(failure) if failure.row().ends_request => self.give_up(call, &failure),
            Err(failure) => {
                self.progress.failure = Some(failure);
                self.step = Step::Choose;
            }
        }
    }

    /// The request ends with what the failed call means for it.
    pub(super) fn give_up(&mut self, call: &PlannedCall, failure: &CallFailure) {
        if let Some(error) = fatal(call, failure) {
            self.fail(error);
        }
    }

    fn accept(&mut self, call: &Arc<PlannedCall>, reply: Reply) {
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
                self.set_output(output.into(), call);
                self.response = Some(Response {
                    call: Arc::clone(call),
                    usage: usage.map(Arc::from),
                    metadata: Arc::new(metadata),
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
    ) -> (ExtensionStatus, Option<RequestError>) {
        match call.rule {
            Rule::Validator(OnFail::Warn) => {
                self.degrade(call.id(), reason);
                (ExtensionStatus::Warned, None)
            }
            Rule::Validator(OnFail::Ignore) => (ExtensionStatus::Rejected, None),
            Rule::Validator(OnFail::Block) | Rule::Processor(_) | Rule::Provider => (
                ExtensionStatus::Rejected,
                Some(rejection(call.id(), reason, details)),
            ),
        }
    }

    fn failed(&mut self, call: &PlannedCall, failure: &CallFailure) -> Option<RequestError> {
        let error = fatal(call, failure);
        if error.is_none() && *failure != CallFailure::Cancelled {
            self.degrade(call.id(), failure.reason());
        }
        error
    }

    fn degrade(&mut self, id: &str, reason: &str) {
        self.degraded.push(Degraded {
            id: id.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn note_attempt(&mut self, decision: &Decision, result: &CallResult) {
        self.progress.turn = result.endpoint + 1;
        let failure = result.outcome.as_ref().err();
        let attempt = Attempt {
            call: Arc::clone(&decision.call),
            endpoint: result.endpoint,
            reason: decision.reason,
            status: failure.map_or(ExtensionStatus::Success, CallFailure::status),
            error_type: failure.map(CallFailure::reason),
            class: failure.and_then(CallFailure::kind),
            code: failure.and_then(CallFailure::upstream_code).map(Arc::from),
            rule: decision.rule,
            waited: std::mem::take(&mut self.progress.waited),
            latency: result.latency,
        };
        self.progress.attempts.push(attempt);
    }

    /// One line for each provider, whatever number of attempts it took.
    fn report_provider(&mut self, call: &Arc<PlannedCall>, result: &CallResult) {
        let failure = result.outcome.as_ref().err();
        let status = failure.map_or(ExtensionStatus::Success, CallFailure::status);
        let known = self.reports.iter_mut().find(|report| {
            report.call.extension.kind == Kind::Provider && report.call.id() == call.id()
        });
        if let Some(report) = known {
            report.status = status;
            report.endpoint = result.endpoint;
            report.latency += result.latency;
            report.attempts += result.attempts;
            return;
        }
        self.reports.push(Report {
            call: Arc::clone(call),
            endpoint: result.endpoint,
            status,
            latency: result.latency,
            attempts: result.attempts,
        });
    }
}
