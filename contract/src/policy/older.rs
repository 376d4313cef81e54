//! Older forms of a policy, which are still read: steps, and fallbacks beside a map of weights.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Mode, OnFail, Status};
use crate::fields::Fields;

/// One step; its action says which keys it has.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Step<'a> {
    /// A pre-processor.
    ExtensionPre {
        /// The extension.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
        extension_id: &'a str,
        /// Whether a request fails without it.
        #[cfg_attr(feature = "schema", schemars(default))]
        mode: Mode,
        /// Laid over the config of the extension's record, key by key.
        #[cfg_attr(feature = "schema", schemars(with = "Option<Fields>"))]
        config: Cow<'a, Fields>,
        /// Ids of the same stage that must finish first. Absent: everything listed before. An empty
        /// list: nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Ids>"))]
        depends_on: Option<&'a [String]>,
        /// The requests that it is for, as in the canonical form.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryWhen>")
        )]
        when: Option<Box<RawValue>>,
        /// Milliseconds that it may take, no more than its record gives.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryTimeout>")
        )]
        timeout_ms: Option<u64>,
    },
    /// A validator.
    ExtensionValidator {
        /// The extension.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
        extension_id: &'a str,
        /// What a rejection, or no answer, means.
        #[cfg_attr(feature = "schema", schemars(default))]
        on_fail: OnFail,
        /// Laid over the config of the extension's record, key by key.
        #[cfg_attr(feature = "schema", schemars(with = "Option<Fields>"))]
        config: Cow<'a, Fields>,
        /// The requests that it is for, as in the canonical form.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryWhen>")
        )]
        when: Option<Box<RawValue>>,
        /// Milliseconds that it may take, no more than its record gives.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryTimeout>")
        )]
        timeout_ms: Option<u64>,
    },
    /// A provider to choose from. Without any weight the order of the steps is the order of
    /// preference.
    SelectProvider {
        /// The provider.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
        provider_id: &'a str,
        /// Used in proportion to the sum of all; 0 takes no traffic.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(range(min = 0), default = "super::schema::default_step_weight")
        )]
        weight: Option<f64>,
        /// Milliseconds that it may take, no more than its record gives.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryTimeout>")
        )]
        timeout_ms: Option<u64>,
    },
    /// A post-processor.
    ExtensionPost {
        /// The extension.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
        extension_id: &'a str,
        /// Whether a request fails without it.
        #[cfg_attr(feature = "schema", schemars(default))]
        mode: Mode,
        /// Laid over the config of the extension's record, key by key.
        #[cfg_attr(feature = "schema", schemars(with = "Option<Fields>"))]
        config: Cow<'a, Fields>,
        /// Ids of the same stage that must finish first. Absent: everything listed before. An empty
        /// list: nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Ids>"))]
        depends_on: Option<&'a [String]>,
        /// The requests that it is for, as in the canonical form.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryWhen>")
        )]
        when: Option<Box<RawValue>>,
        /// Milliseconds that it may take, no more than its record gives.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(with = "Option<super::schema::EntryTimeout>")
        )]
        timeout_ms: Option<u64>,
    },
}

/// The older form of `fallbacks`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum OlderFallbacks<'a> {
    One(OlderFallback<'a>),
    /// Several, in order.
    Several(
        #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_RULES)))]
        Vec<OlderFallback<'a>>,
    ),
}

/// A provider that takes over.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[serde(untagged)]
pub enum OlderFallback<'a> {
    /// For any failure.
    Name(#[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))] &'a str),
    /// For some failures only.
    Conditional {
        /// The provider that takes over.
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
        provider: &'a str,
        /// Words are one rule together, each object is a rule of its own; none means any failure.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
        conditions: Option<Vec<OlderCondition>>,
    },
}

/// When another provider takes over.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum OlderCondition {
    Status(Status),
    When(#[cfg_attr(feature = "schema", schemars(with = "super::schema::When"))] Fields),
}
