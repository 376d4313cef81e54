//! What metrics are told apart by.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

use super::series::OfExtension;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionLabel {
    pub extension_id: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionStatus {
    pub extension_id: Arc<str>,
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionReason {
    pub extension_id: Arc<str>,
    pub reason: &'static str,
}

/// With the state that a breaker of the extension has come to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionState {
    pub extension_id: Arc<str>,
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderStatus {
    pub provider_id: Arc<str>,
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderLabel {
    pub provider_id: Arc<str>,
}

/// `retry` is another attempt at this extension, `fallback` a first one at a provider that takes
/// over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RetryLabel {
    pub extension_id: Arc<str>,
    pub kind: &'static str,
}

/// With the budget that was empty, `extension` or `router`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedRetryLabel {
    pub extension_id: Arc<str>,
    pub kind: &'static str,
    pub budget: &'static str,
}

/// One provider that another one took over from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FallbackLabel {
    pub from: Arc<str>,
    pub to: Arc<str>,
}

/// Where a request came in, and what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EdgeLabel {
    pub edge: &'static str,
    pub kind: &'static str,
}

/// `ok`, or the code of the error answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub edge: &'static str,
    pub kind: &'static str,
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TenantOutcome {
    pub tenant_id: Arc<str>,
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    pub stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SessionLabel {
    pub result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ShedLabel {
    pub reason: &'static str,
    pub priority: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabel {
    pub node: &'static str,
}

/// The trace of a request that was counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TraceLabel {
    pub trace_id: Arc<str>,
}

impl TraceLabel {
    /// Of a trace as W3C has them. Other ids may be long, and what is too long spoils the page for
    /// those who read OpenMetrics to the letter.
    pub fn of(trace_id: &Arc<str>) -> Option<Self> {
        let is_standard =
            trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_standard.then(|| Self {
            trace_id: Arc::clone(trace_id),
        })
    }
}

macro_rules! of_extension {
    ($($label:ident by $field:ident),* $(,)?) => {$(
        impl OfExtension for $label {
            fn extension_id(&self) -> &str {
                &self.$field
            }
        }
    )*};
}

of_extension! {
    ExtensionLabel by extension_id,
    ExtensionStatus by extension_id,
    ExtensionReason by extension_id,
    ExtensionState by extension_id,
    RetryLabel by extension_id,
    RefusedRetryLabel by extension_id,
    ProviderStatus by provider_id,
    ProviderLabel by provider_id,
}
