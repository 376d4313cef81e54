//! What a caller who executes providers itself tells `decide` of the last one (contract section 1):
//! `context.current_provider` with `context.status`, and in `context.retry_attempts` the repeats
//! that it has made already.

use std::time::Duration;

use beamline_contract::policy::Status;
use serde_json::value::RawValue;

use super::state::Run;
use crate::request::RequestKind;
use crate::request::failure::FailureClass;
use crate::request::retry::FailedAttempt;

/// A failure that the router has not seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported {
    /// The position of the provider.
    pub(super) provider: usize,
    class: FailureClass,
    made: u32,
}

impl Run {
    /// `None` where the request tells of none, or not in words that are known.
    pub(super) fn reported(&self) -> Option<Reported> {
        if self.kind != RequestKind::Decide {
            return None;
        }
        let context = &self.context;
        let provider = self.candidate(&context.text("current_provider")?)?;
        let status = Status::parse(&written(context.get("status")?))?;
        let made = context.number("retry_attempts").unwrap_or_default();
        Some(Reported {
            provider,
            class: FailureClass::reported(status),
            made: made.clamp(0.0, f64::from(u16::MAX)) as u32,
        })
    }
}

impl Reported {
    /// As the rules see it. Only a rule grants a repeat: what the record grants, the caller has
    /// no part in.
    pub(super) fn attempt(self, left: Duration) -> FailedAttempt {
        FailedAttempt {
            class: self.class,
            granted: 0,
            may_retry: true,
            made: self.made,
            only_endpoint: true,
            requested_wait: None,
            usual: None,
            time_left: left,
        }
    }
}

/// A word, or a code that is written as a number.
fn written(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}
