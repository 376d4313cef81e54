//! What a finished call changes: the message, the context, the reports.

use std::sync::Arc;

use beamline_contract::answer::ExtensionStatus;
use beamline_contract::failure::FailureKind;
use beamline_contract::fields::Fields;
use beamline_contract::notes::Notes;
use beamline_contract::policy::{Mode, OnFail};
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use super::consequences::{fatal, rejection};
use super::state::{Attempt, CallResult, Decision, Degraded, Report, Run, is_fixed};
use super::step::Step;
use crate::request::error::RequestError;
use crate::request::failure::{AnsweredFailure, CallFailure};
use crate::request::plan::{PlannedCall, Rule};
use crate::request::reply::{Edit, Reply, content};

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
            Ok(Reply::Reject {
                reason,
                details,
                notes,
            }) => {
                self.keep_notes(call, notes);
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
        let lacking = result.outcome.as_ref().ok().and_then(lacking_content);
        self.note_attempt(&decision, &result, lacking);
        self.report_provider(call, &result);
        match result.outcome {
            Ok(reply) => match lacking {
                // It is passed on unless a rule says otherwise.
                Some(kind) => {
                    let failure = AnsweredFailure::of_code(kind.as_str());
                    self.progress.failure = Some(CallFailure::Answered(failure));
                    self.progress.without_content = Some(reply);
                    self.step = Step::Choose;
                }
                None => self.take_answer(call, reply),
            },
            Err(failure) if failure.row().ends_request => self.give_up(call, &failure),
            Err(failure) => {
                self.progress.failure = Some(failure);
                self.step = Step::Choose;
            }
        }
    }

    /// The provider's answer is the one of the request.
    pub(super) fn take_answer(&mut self, call: &Arc<PlannedCall>, reply: Reply) {
        self.accept(call, reply);
        self.step = Step::Provide.after(self.kind, &self.plan);
    }

    /// The request ends with what the failed call means for it.
    pub(super) fn give_up(&mut self, call: &PlannedCall, failure: &CallFailure) {
        if let Some(error) = fatal(call, failure) {
            self.fail(error);
        }
    }

    fn accept(&mut self, call: &Arc<PlannedCall>, reply: Reply) {
        match reply {
            Reply::Edit {
                payload,
                metadata,
                notes,
            } => {
                self.keep_notes(call, notes);
                if let Some(edit) = payload {
                    if call.extension.kind == Kind::Post {
                        self.edit_response(call, &edit);
                    }
                    self.edit(edit);
                }
                self.add_to_context(&metadata);
            }
            Reply::Completion {
                output,
                usage,
                metadata,
            } => self.take_completion(call, output, usage, metadata),
            Reply::Accept { notes } => self.keep_notes(call, notes),
            Reply::Reject { .. } => {}
        }
    }

    /// What a stage has found out is for the later ones; who and what the request is stays as it
    /// was.
    fn add_to_context(&mut self, metadata: &Fields) {
        for (key, value) in metadata.iter().filter(|(key, _)| !is_fixed(key)) {
            Arc::make_mut(&mut self.context).set(key, value.to_owned());
        }
    }

    fn keep_notes(&mut self, call: &PlannedCall, notes: Option<Notes>) {
        if let Some(notes) = notes {
            self.notes.keep(call.id(), notes);
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
                self.note_said(call.id(), reason);
                (ExtensionStatus::Warned, None)
            }
            Rule::Validator(OnFail::Ignore) => (ExtensionStatus::Rejected, None),
            Rule::Processor(Mode::Optional) => {
                self.note_said(call.id(), reason);
                (ExtensionStatus::Rejected, None)
            }
            Rule::Validator(OnFail::Block) | Rule::Processor(Mode::Required) | Rule::Provider => (
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

    pub(super) fn degrade(&mut self, id: &str, reason: &str) {
        self.degraded.push(Degraded {
            id: id.to_owned(),
            reason: reason.to_owned(),
            is_said: false,
        });
    }

    /// It rejected the message, and the request goes on without its consent.
    fn note_said(&mut self, id: &str, reason: &str) {
        self.degraded.push(Degraded {
            id: id.to_owned(),
            reason: reason.to_owned(),
            is_said: true,
        });
    }

    fn note_attempt(
        &mut self,
        decision: &Decision,
        result: &CallResult,
        lacking: Option<FailureKind>,
    ) {
        self.progress.turn = result.endpoint + 1;
        let failure = result.outcome.as_ref().err();
        let attempt = Attempt {
            call: Arc::clone(&decision.call),
            endpoint: result.endpoint,
            reason: decision.reason,
            status: failure.map_or(ExtensionStatus::Success, CallFailure::status),
            error_type: failure.map(CallFailure::reason),
            class: failure.and_then(CallFailure::kind).or(lacking),
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

/// The class of an answer that has no content.
fn lacking_content(reply: &Reply) -> Option<FailureKind> {
    match reply {
        Reply::Completion {
            output, metadata, ..
        } => content::class(output, metadata),
        Reply::Edit { .. } | Reply::Accept { .. } | Reply::Reject { .. } => None,
    }
}
