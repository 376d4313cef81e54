//! From step to step: what comes next, and what the results of a step change.

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::error::ErrorCode;
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use super::consequences::nothing_to_ask;
use super::state::{CallOrder, CallResult, Next, Run, TimeShare};
use super::step::Step;
use crate::request::call_body::{Left, guardrail_body, provider_body};
use crate::request::error::RequestError;
use crate::request::failure::CallFailure;
use crate::request::plan::PlannedCall;
use crate::request::retry::extra_attempts;

impl Run {
    /// What comes next; steps with nothing to do are passed over.
    pub fn next_step(&mut self) -> Next {
        loop {
            let here = self.step;
            match here {
                Step::Pre(_) | Step::Validate | Step::Post(_) | Step::Judge => {
                    let orders = self.guardrail_orders();
                    if !orders.is_empty() {
                        return Next::Call(orders);
                    }
                    self.step = self.step_after();
                }
                Step::Recall => {
                    self.step = self.step_after();
                    if let Some(recall) = self.recall() {
                        return recall;
                    }
                }
                Step::Choose => return Next::Choose,
                Step::Pin => {
                    self.step = self.step_after();
                    if let Some(pin) = self.pin() {
                        return pin;
                    }
                }
                Step::Wait(time) => {
                    self.step = self.step_after();
                    return Next::Wait(time);
                }
                Step::Provide => match self.provider_order() {
                    Some(order) => return Next::Call(vec![order]),
                    None => self.fail(nothing_to_ask()),
                },
                Step::Answer => return Next::Answer,
            }
        }
    }

    /// Takes the results of the calls that [`Next::Call`] asked for, in the order of the policy, so
    /// that the outcome does not depend on which came first.
    pub fn apply(&mut self, results: Vec<CallResult>) {
        if self.step == Step::Provide {
            for result in results {
                self.take_provider_result(result);
            }
            return;
        }
        let calls = self.guardrails();
        self.step = self.step_after();
        let mut first_error = None;
        for (call, result) in calls.iter().zip(results) {
            let error = self.take_result(call, result);
            first_error = first_error.or(error);
        }
        if let Some(error) = first_error {
            self.fail(error);
        }
    }

    /// The request's time is over while something of this step is still running.
    pub fn time_out(&mut self, elapsed: Duration) {
        // At the provider a call is running, or the wait before it.
        let running = if self.step == Step::Provide {
            1
        } else {
            self.guardrails().len()
        };
        let mut late = Vec::with_capacity(running);
        for _ in 0..running {
            late.push(CallResult::ended(CallFailure::Deadline, elapsed));
        }
        self.apply(late);
        if self.failure.is_none() {
            let given = self.request.timeout.as_millis();
            let sentence = format!("The request's time of {given} ms is over.");
            // Between two calls it is the provider that is being found.
            let error = RequestError::new(ErrorCode::DeadlineExceeded, sentence);
            self.fail(error.at_stage(Kind::Provider));
        }
    }

    /// Leaves out the calls that [`Next::Call`] asked for: a dry run that calls nobody.
    pub fn pass_over(&mut self) {
        self.step = self.step_after();
    }

    /// Goes on with the post-processors as if the provider had answered `output`: a dry run does
    /// not call it.
    pub fn assume_output(&mut self, output: Arc<RawValue>) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        self.set_output(output, &decision.call);
        self.step = Step::Provide.after(self.kind, &self.plan);
    }

    fn guardrail_orders(&self) -> Vec<CallOrder> {
        let calls = self.guardrails();
        let extra = extra_attempts(self.extra_attempts, &calls);
        let mut orders = Vec::with_capacity(calls.len());
        for (call, extra_attempts) in calls.into_iter().zip(extra) {
            orders.push(CallOrder {
                body: guardrail_body(&call, &self.request, self.left()),
                call,
                attempt: 1,
                turn: 0,
                extra_attempts,
                share: TimeShare::default(),
            });
        }
        orders
    }

    fn left(&self) -> Left<'_> {
        Left {
            message: &self.message,
            context: &self.context,
            notes: &self.notes,
        }
    }

    /// The guardrails of this step that are for this request, as far as the stages before have
    /// found out about it.
    fn guardrails(&self) -> Vec<Arc<PlannedCall>> {
        let facts = self.facts();
        let is_for_it = |call: &&Arc<PlannedCall>| {
            let when = call.when.as_ref();
            when.is_none_or(|when| when.holds(&facts))
        };
        let step = self.step.guardrails(&self.plan).iter();
        step.filter(is_for_it).cloned().collect()
    }

    /// `None` when there is nothing to ask a provider.
    fn provider_order(&self) -> Option<CallOrder> {
        let decision = self.decision.as_ref()?;
        let call = &decision.call;
        let body = provider_body(call, &self.request, self.left())?;
        Some(CallOrder {
            body,
            call: Arc::clone(call),
            attempt: self.progress.made + 1,
            turn: self.progress.turn,
            // What comes after its attempt is decided here.
            extra_attempts: 0,
            share: self.progress.share,
        })
    }
}
