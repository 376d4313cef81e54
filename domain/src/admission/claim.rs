//! What the door needs to know of a request, told from its headers and, where they do not say it,
//! from a look at its body.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::glance::Glance;
use crate::request::{RequestHeaders, RequestLimits};

/// Who goes first. What keeps the router itself working (administration, probes, the drain) does
/// not come through this door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    Interactive,
    /// Nobody waits for it at this moment.
    Batch,
}

impl Priority {
    /// The label `priority` of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }

    fn of(word: Option<&str>) -> Self {
        if word.is_some_and(|word| word.trim().eq_ignore_ascii_case("batch")) {
            Self::Batch
        } else {
            Self::Interactive
        }
    }
}

/// What a request asks of the door.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Empty when it names none that can be one: all of those share what one tenant gets.
    pub tenant: Arc<str>,
    pub priority: Priority,
    pub bytes: usize,
    /// Time until its deadline.
    pub left: Duration,
}

const MAX_TENANT: usize = 256;

impl Claim {
    /// Never fails: what is wrong with a request is found when it is parsed, after its admission.
    pub fn read(headers: &RequestHeaders, body: &[u8], limits: &RequestLimits) -> Self {
        let told = headers.tenant_id.is_some()
            && headers.priority.is_some()
            && headers.timeout_ms.is_some();
        let glance = if told {
            Glance::default()
        } else {
            Glance::at(body)
        };
        let in_body = text(glance.tenant_id);
        let tenant = headers.tenant_id.as_deref().or(in_body.as_deref());
        let tenant = tenant
            .filter(|tenant| tenant.len() <= MAX_TENANT && limits.allows(tenant))
            .unwrap_or_default();
        let told_ms = headers.timeout_ms.as_deref().and_then(|ms| ms.parse().ok());
        let timeout = told_ms.into_iter().chain(read(glance.timeout_ms)).min();
        let timeout = timeout.map_or(limits.default_timeout, Duration::from_millis);
        let priority = glance
            .context
            .and_then(|context| Glance::member(context, "priority"));
        let priority = text(priority);
        Self {
            tenant: tenant.into(),
            priority: Priority::of(headers.priority.as_deref().or(priority.as_deref())),
            bytes: body.len(),
            left: timeout.min(limits.max_timeout),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(raw: Option<&'a [u8]>) -> Option<T> {
    serde_json::from_slice(raw?).ok()
}

fn text(raw: Option<&[u8]>) -> Option<String> {
    read(raw)
}
