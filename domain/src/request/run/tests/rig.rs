//! A run without actors: scripted calls, a fixed roll, known endpoint_state.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::record;
use crate::request::answer;
use crate::request::{RequestHeaders, RequestLimits};
use crate::session::{Pinned, Recalled};
use crate::snapshot::{Content, Snapshot, StoredPolicy};
use beamline_contract::failure::FailureKind;
use beamline_contract::record::ExtensionRecord;

/// What surrounds a run.
#[derive(Debug)]
pub(super) struct Rig {
    /// Records besides the usual ones, or in place of them.
    pub(super) records: Vec<Value>,
    pub(super) context: Value,
    /// Of the message.
    pub(super) metadata: Value,
    pub(super) endpoint_state: HashMap<String, EndpointState>,
    pub(super) roll: f64,
    pub(super) left: Duration,
    pub(super) budget: u32,
    /// What the store of sessions knows, and whether it answers.
    pub(super) session: RefCell<Option<String>>,
    pub(super) shared: bool,
}

/// What a run asked for on its way.
#[derive(Debug, Default)]
pub(super) struct Happened {
    pub(super) called: Vec<String>,
    pub(super) subjects: Vec<String>,
    pub(super) waits: Vec<Duration>,
    pub(super) pins: Vec<(String, Option<String>)>,
}

impl Default for Rig {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            context: json!({"user": 1}),
            metadata: json!({}),
            endpoint_state: HashMap::new(),
            roll: 0.0,
            left: Duration::from_secs(60),
            budget: 10,
            session: RefCell::default(),
            shared: true,
        }
    }
}

impl Rig {
    /// Keeps an extension back as an open breaker does.
    pub(super) fn held_back(&mut self, id: &str, seconds: u64) {
        self.endpoint_state
            .entry(id.to_owned())
            .or_default()
            .held_back = Some(Duration::from_secs(seconds));
    }

    /// Providers that have failed more often than not lately.
    pub(super) fn with_failing(mut self, ids: &[&str]) -> Self {
        for id in ids {
            let state = self.endpoint_state.entry((*id).to_owned()).or_default();
            state.failing = true;
        }
        self
    }

    /// Keeps an extension back because of failures of this kind.
    pub(super) fn opened_by(&mut self, id: &str, kind: FailureKind) {
        self.held_back(id, 5);
        let state = self.endpoint_state.entry(id.to_owned()).or_default();
        state.opened_by = Some(kind);
    }

    pub(super) fn run(&self, kind: RequestKind, policy: &str) -> Run {
        let body =
            json!({"version": "1", "tenant_id": "t", "request_id": "r", "context": self.context});
        let body = format!(
            "{},\"message\":{{\"payload\":\"1.10\",\"metadata\":{}}}}}",
            body.to_string().strip_suffix('}').unwrap(),
            self.metadata
        );
        let limits = RequestLimits {
            default_timeout: Duration::from_secs(1),
            max_timeout: Duration::from_secs(1),
            allowed_tenants: None,
        };
        let request =
            Request::parse(body.as_bytes(), &RequestHeaders::default(), &limits, || 1).unwrap();
        let limits = PlanLimits {
            subject_prefix: "beamline".into(),
            max_extensions: 32,
        };
        let facts = Facts {
            tenant_id: "t",
            policy_id: "default",
            environment: "test",
            message_type: "chat",
            context: &request.context,
        };
        let plan = Plan::new(
            &facts,
            &snapshot(&self.records, policy),
            &limits,
            &mut self.choice(&mut || self.roll),
        );
        Run::new(
            kind,
            request,
            Arc::new(plan.unwrap()),
            Arc::from("test"),
            self.budget,
        )
    }

    /// Goes through the pipeline; `reply` says how each call ends, `Ok` of an empty edit or
    /// acceptance by default.
    pub(super) fn finish(
        &self,
        run: Run,
        reply: impl FnMut(&CallOrder) -> Option<Result<Reply, CallFailure>>,
    ) -> (Value, Happened) {
        self.finish_within(run, &Unlimited, reply)
    }

    /// The same with budgets that all requests share.
    pub(super) fn finish_within(
        &self,
        mut run: Run,
        tokens: &dyn RetryTokens,
        mut reply: impl FnMut(&CallOrder) -> Option<Result<Reply, CallFailure>>,
    ) -> (Value, Happened) {
        let mut happened = Happened::default();
        loop {
            match run.next_step() {
                Next::Answer => break,
                Next::Choose => run.choose(&mut self.choice(&mut || self.roll), tokens),
                Next::Wait(time) => happened.waits.push(time),
                Next::Recall { .. } => {
                    run.recalled(Recalled {
                        provider: self.session.borrow().clone(),
                        shared: self.shared,
                    });
                }
                Next::Pin {
                    provider,
                    instead_of,
                    ..
                } => {
                    happened.pins.push((provider.clone(), instead_of));
                    let mut session = self.session.borrow_mut();
                    let keeps = session
                        .clone()
                        .filter(|_| happened.pins.last().is_some_and(|(_, of)| of.is_none()));
                    let provider = keeps.unwrap_or(provider);
                    *session = Some(provider.clone());
                    run.pinned(&Pinned {
                        provider,
                        shared: self.shared,
                    });
                }
                Next::Call(orders) => {
                    let mut result = |order: &CallOrder| {
                        let plain = match order.call.extension.kind {
                            Kind::Pre | Kind::Post => Reply::Edit {
                                payload: None,
                                metadata: Fields::default(),
                                notes: None,
                            },
                            Kind::Validator => Reply::Accept { notes: None },
                            Kind::Provider => completion(),
                        };
                        let place = order.call.target.endpoint(order.turn).unwrap();
                        happened.subjects.push(place.subject.to_string());
                        let at = order
                            .call
                            .target
                            .endpoints
                            .iter()
                            .position(|other| other == place)
                            .unwrap();
                        let outcome = reply(order).unwrap_or(Ok(plain));
                        CallResult {
                            outcome,
                            latency: Duration::from_millis(1),
                            attempts: 1,
                            endpoint: at,
                            retry_refused: false,
                        }
                    };
                    let results: Vec<CallResult> = orders.iter().map(&mut result).collect();
                    happened
                        .called
                        .extend(orders.iter().map(|order| order.call.id().to_owned()));
                    run.apply(results);
                }
            }
        }
        let bytes = answer::of_run(&run, std::time::UNIX_EPOCH);
        (serde_json::from_slice(&bytes).unwrap(), happened)
    }

    pub(super) fn choice<'a>(&'a self, roll: &'a mut dyn FnMut() -> f64) -> ChoiceContext<'a> {
        let endpoint_state: &'a dyn Fn(&str, &str) -> EndpointState =
            Box::leak(Box::new(|id: &str, subject: &str| {
                self.endpoint_state
                    .get(subject)
                    .or(self.endpoint_state.get(id))
                    .copied()
                    .unwrap_or_default()
            }));
        ChoiceContext {
            endpoint_state,
            roll,
            left: self.left,
        }
    }
}

/// The usual extensions with `records` in place of those of the same id, and one policy of tenant
/// `t`.
pub(super) fn snapshot(records: &[Value], policy: &str) -> Snapshot {
    let usual = [
        ("pre_a", "pre"),
        ("pre_b", "pre"),
        ("val_block", "validator"),
        ("val_warn", "validator"),
        ("val_ignore", "validator"),
        ("p1", "provider"),
        ("p2", "provider"),
        ("p3", "provider"),
        ("off", "provider"),
        ("post_a", "post"),
    ];
    let usual = usual.map(
        |(id, kind)| json!({"id": id, "type": kind, "enabled": id != "off", "config": {"own": 1}}),
    );
    let mut extensions: HashMap<String, ExtensionRecord> = HashMap::new();
    for record in usual.iter().chain(records) {
        let extension = record::parse(&record.to_string(), "beamline").unwrap();
        extensions.insert(extension.id.clone(), extension);
    }
    let document = RawValue::from_string(policy.to_owned()).unwrap();
    let policies = vec![StoredPolicy {
        tenant_id: "t".into(),
        policy_id: "default".into(),
        document,
    }];
    let snapshot = Snapshot::new(Content {
        revision: 7,
        extensions: extensions.into_values().collect(),
        policies,
        ..Content::default()
    });
    assert!(
        snapshot.unreadable().is_empty(),
        "{:?}",
        snapshot.unreadable()
    );
    snapshot
}

pub(super) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

pub(super) fn edit(payload: &str) -> Reply {
    let payload = Edit {
        payload: Some(raw(payload)),
        message_type: None,
        metadata: None,
    };
    Reply::Edit {
        payload: Some(payload),
        metadata: Fields::default(),
        notes: None,
    }
}

pub(super) fn reject() -> Reply {
    Reply::Reject {
        reason: "pii".into(),
        details: None,
        notes: None,
    }
}

pub(super) fn completion() -> Reply {
    Reply::Completion {
        output: raw("\"out\""),
        usage: None,
        metadata: Fields::default(),
    }
}

/// An error answer of an extension.
pub(super) fn answered(code: &str) -> CallFailure {
    CallFailure::Answered(AnsweredFailure {
        message: "m".into(),
        ..AnsweredFailure::of_code(code)
    })
}
