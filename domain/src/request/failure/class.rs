//! What a failure is called in `when.status` of a policy's fallback rules (contract section 4).

use std::ops::RangeInclusive;

use beamline_contract::policy::Status;

/// The classes that a failure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureClass {
    pub timeout: bool,
    pub no_responders: bool,
    pub circuit_open: bool,
    /// Nothing was sent: a breaker kept the call back, or it found no free place.
    pub kept_back: bool,
    /// As HTTP would number it, when it can be numbered.
    pub code: Option<u16>,
    /// Nothing else that the policy says is left to try.
    pub all_failed: bool,
}

impl FailureClass {
    pub const fn none() -> Self {
        Self {
            timeout: false,
            no_responders: false,
            circuit_open: false,
            kept_back: false,
            code: None,
            all_failed: false,
        }
    }

    pub const fn timeout() -> Self {
        Self {
            timeout: true,
            ..Self::none()
        }
    }

    pub const fn numbered(code: u16) -> Self {
        Self {
            code: Some(code),
            ..Self::none()
        }
    }

    /// No provider could be chosen; `circuit_open`: at least one because of its breaker.
    pub const fn none_chosen(circuit_open: bool) -> Self {
        Self {
            circuit_open,
            ..Self::none()
        }
    }

    pub fn is(self, status: Status) -> bool {
        match status {
            Status::Timeout => self.timeout,
            Status::ServerError => self.has_code_in(500..=599),
            Status::ClientError => self.has_code_in(400..=499),
            Status::RateLimited => self.code == Some(429),
            Status::Code(code) => self.code == Some(code),
            Status::Error => true,
            Status::NoResponders => self.no_responders,
            Status::CircuitBreakerOpen => self.circuit_open,
            Status::AllProvidersFailed => self.all_failed,
        }
    }

    /// A request that is wrong here is wrong everywhere: 4xx but timeouts and limits.
    pub fn is_callers_fault(self) -> bool {
        self.has_code_in(400..=499) && !matches!(self.code, Some(408 | 429))
    }

    fn has_code_in(self, range: RangeInclusive<u16>) -> bool {
        self.code.is_some_and(|code| range.contains(&code))
    }
}
