//! What a failure is called in `when.status` of a policy's fallback rules (contract section 4).

use std::ops::RangeInclusive;

use beamline_contract::failure::FailureKind;
use beamline_contract::policy::Status;

use super::codes::{of_number, usual_number};

/// Everything that a rule may ask of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureClass {
    pub kind: Option<FailureKind>,
    /// As HTTP would number it, when it can be numbered.
    pub code: Option<u16>,
    pub circuit_open: bool,
    /// The router has no place for it, or the extension says that it has too much to do.
    pub overloaded: bool,
    /// Nothing was sent: a breaker kept the call back, or it found no free place.
    pub kept_back: bool,
    /// Nothing else that the policy says is left to try.
    pub all_failed: bool,
}

impl FailureClass {
    pub const fn none() -> Self {
        Self {
            kind: None,
            code: None,
            circuit_open: false,
            overloaded: false,
            kept_back: false,
            all_failed: false,
        }
    }

    /// Whether it is the program's failure, and so that of all its faces. What a program says of
    /// one model or key, another of its faces need not share.
    pub fn is_of_program(&self) -> bool {
        let kinds = [
            FailureKind::NoResponders,
            FailureKind::Timeout,
            FailureKind::ServerError,
        ];
        !self.kept_back && self.kind.is_some_and(|kind| kinds.contains(&kind))
    }

    pub const fn of(kind: FailureKind) -> Self {
        Self {
            kind: Some(kind),
            ..Self::none()
        }
    }

    pub const fn numbered(kind: FailureKind, code: u16) -> Self {
        Self {
            code: Some(code),
            ..Self::of(kind)
        }
    }

    /// Calls are kept back, because of failures of this kind.
    pub fn kept_back_by(kind: Option<FailureKind>, circuit_open: bool) -> Self {
        Self {
            kind,
            code: kind.and_then(usual_number),
            circuit_open,
            kept_back: true,
            ..Self::none()
        }
    }

    /// It asked for a wait, because of a limit or because it is overloaded: which, is not known.
    pub fn left_alone() -> Self {
        Self {
            overloaded: true,
            ..Self::kept_back_by(Some(FailureKind::RateLimited), false)
        }
    }

    /// The failure that somebody reports by a word of a rule.
    pub fn reported(status: Status) -> Self {
        match status {
            Status::Kind(kind) => Self {
                code: usual_number(kind),
                ..Self::of(kind)
            },
            Status::Code(code) => Self::numbered(of_number(code), code),
            Status::Error => Self::none(),
            Status::CircuitBreakerOpen => Self::kept_back_by(None, true),
            Status::Overloaded => Self {
                overloaded: true,
                ..Self::numbered(FailureKind::ServerError, 503)
            },
            Status::ConnectionError | Status::ProviderUnavailable => {
                Self::numbered(FailureKind::NoResponders, 503)
            }
            Status::AllProvidersFailed => Self {
                all_failed: true,
                ..Self::none()
            },
        }
    }

    /// No provider could be chosen; `circuit_open`: at least one because of its breaker.
    pub const fn none_chosen(circuit_open: bool) -> Self {
        Self {
            circuit_open,
            ..Self::none()
        }
    }

    /// Whether a rule for this status is about the failure.
    pub fn is(self, status: Status) -> bool {
        match status {
            Status::Kind(kind) => self.is_kind(kind),
            Status::Code(code) => self.has_code(code) && self.is_any(),
            Status::Error => self.is_any(),
            Status::CircuitBreakerOpen => self.circuit_open,
            Status::Overloaded => self.overloaded,
            Status::ConnectionError => self.is_unreached() || self.code == Some(502),
            Status::ProviderUnavailable => {
                self.is_unreached() || self.circuit_open || self.code == Some(503)
            }
            Status::AllProvidersFailed => self.all_failed && self.is_any(),
        }
    }

    /// Whether a rule that does not name the class may be about the failure. A refusal of the
    /// content is routed around only where a rule names it.
    pub fn is_any(self) -> bool {
        self.kind != Some(FailureKind::ContentFilter)
    }

    /// A request that is wrong here is wrong everywhere, and what one provider refuses to say
    /// nobody else is asked. A key, credit, an unknown model and a size are one provider's matter.
    pub fn is_callers_fault(self) -> bool {
        match self.kind {
            Some(FailureKind::ContentFilter) => true,
            Some(FailureKind::ClientError) => !matches!(self.code, Some(404 | 408 | 413)),
            Some(_) | None => false,
        }
    }

    /// Whether the next provider of a list is asked without a rule. An answer without content is an
    /// answer.
    pub fn asks_the_next(self) -> bool {
        !self.is_callers_fault() && self.kind != Some(FailureKind::Empty)
    }

    fn is_kind(self, kind: FailureKind) -> bool {
        match kind {
            FailureKind::ServerError => {
                let may_be_overloaded = self.overloaded && self.kept_back;
                self.is_one_of(&[kind]) || self.has_code_in(500..=599) || may_be_overloaded
            }
            FailureKind::RateLimited => {
                self.is_one_of(&[kind, FailureKind::Quota]) || self.code == Some(429)
            }
            FailureKind::ClientError => self.is_one_of(&[
                kind,
                FailureKind::Auth,
                FailureKind::Quota,
                FailureKind::RateLimited,
            ]),
            FailureKind::Timeout
            | FailureKind::NoResponders
            | FailureKind::Quota
            | FailureKind::Auth
            | FailureKind::ContextLength
            | FailureKind::ContentFilter
            | FailureKind::Cut
            | FailureKind::Empty => self.is_one_of(&[kind]),
        }
    }

    /// Which of its codes opened a breaker is not known: any of the kind is as good.
    fn has_code(self, code: u16) -> bool {
        let is_of_kind = || self.kind == Some(of_number(code));
        self.code == Some(code) || self.kept_back && is_of_kind()
    }

    fn is_unreached(self) -> bool {
        self.is_one_of(&[FailureKind::NoResponders])
    }

    fn is_one_of(self, kinds: &[FailureKind]) -> bool {
        self.kind.is_some_and(|kind| kinds.contains(&kind))
    }

    fn has_code_in(self, range: RangeInclusive<u16>) -> bool {
        self.code.is_some_and(|code| range.contains(&code))
    }
}
