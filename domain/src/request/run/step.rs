//! The steps of a run, in one table: what each calls, and which comes after it.

use std::sync::Arc;
use std::time::Duration;

use crate::request::RequestKind;
use crate::request::plan::{Plan, PlannedCall};

/// Where a request stands. A number is the wave that runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Pre(usize),
    Validate,
    /// Ask which provider the session has.
    Recall,
    Choose,
    /// Let the session keep its provider.
    Pin,
    Wait(Duration),
    Provide,
    Post(usize),
    /// Judge what the post-processors left.
    Judge,
    Answer,
}

/// The part of a request's way that calls are made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Pre,
    Validate,
    Provider,
    Post,
    /// The validators of the answer.
    Output,
}

impl Stage {
    pub const ALL: [Self; 5] = [
        Self::Pre,
        Self::Validate,
        Self::Provider,
        Self::Post,
        Self::Output,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Validate => "validate",
            Self::Provider => "provider",
            Self::Post => "post",
            Self::Output => "output",
        }
    }
}

impl Step {
    /// The stage that it makes calls in, or prepares.
    pub(super) fn stage(self) -> Option<Stage> {
        match self {
            Self::Pre(_) => Some(Stage::Pre),
            Self::Validate => Some(Stage::Validate),
            Self::Recall | Self::Choose | Self::Pin | Self::Wait(_) | Self::Provide => {
                Some(Stage::Provider)
            }
            Self::Post(_) => Some(Stage::Post),
            Self::Judge => Some(Stage::Output),
            Self::Answer => None,
        }
    }

    /// The guardrails that run in this step, side by side.
    pub(super) fn guardrails(self, plan: &Plan) -> &[Arc<PlannedCall>] {
        match self {
            Self::Pre(wave) => wave_of(&plan.pre, wave),
            Self::Validate => &plan.validators,
            Self::Post(wave) => wave_of(&plan.post, wave),
            Self::Judge => &plan.output_validators,
            Self::Recall
            | Self::Choose
            | Self::Pin
            | Self::Wait(_)
            | Self::Provide
            | Self::Answer => &[],
        }
    }

    pub(super) fn after(self, kind: RequestKind, plan: &Plan) -> Self {
        match self {
            Self::Pre(wave) if wave + 1 < plan.pre.len() => Self::Pre(wave + 1),
            Self::Pre(_) => Self::Validate,
            Self::Validate => Self::Recall,
            Self::Recall => Self::Choose,
            Self::Choose => Self::Pin,
            Self::Pin => match kind {
                RequestKind::Decide => Self::Answer,
                RequestKind::Route => Self::Provide,
            },
            Self::Wait(_) => Self::Provide,
            Self::Provide => Self::Post(0),
            Self::Post(wave) if wave + 1 < plan.post.len() => Self::Post(wave + 1),
            Self::Post(_) => Self::Judge,
            Self::Judge | Self::Answer => Self::Answer,
        }
    }
}

fn wave_of(waves: &[Vec<Arc<PlannedCall>>], wave: usize) -> &[Arc<PlannedCall>] {
    waves.get(wave).map_or(&[], Vec::as_slice)
}
