//! Whom the end of a call concerns: its tenant alone, or everybody.

use std::time::Instant;

use super::reading::OpenReason;
use super::settings::Settings;
use super::tenants::Own;
use super::window::Counts;

#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// No other tenant has called in the window.
    pub(super) alone: bool,
    /// Nobody listens, or gives a sign of life: so everybody would meet it.
    pub(super) is_of_all: bool,
    /// Those who failed since the last success are two tenants at least, or another one failed so
    /// often that it is kept back.
    pub(super) two_in_a_row: bool,
    /// Those whose calls failed or were slow in the window are.
    pub(super) two_in_trouble: bool,
}

impl Scope {
    /// Only one tenant knows of a trouble.
    pub(super) fn is_one_tenants(self) -> bool {
        self.alone && !self.is_of_all && !self.two_in_trouble
    }

    /// Whether what speaks for opening speaks for opening it for everybody. Of a rate the calls of
    /// the others have to say the same without those of the tenant that fared worst: one failure by
    /// chance beside many of one tenant is no second opinion.
    pub(super) fn counts(
        self,
        reason: OpenReason,
        all: Counts,
        own: &Own,
        settings: &Settings,
        now: Instant,
    ) -> bool {
        if self.alone || self.is_of_all {
            return true;
        }
        let others = |slow| all.without(own.worst(slow, settings.window, now));
        match reason {
            OpenReason::FailureRate { .. } => {
                let Counts {
                    calls, failures, ..
                } = others(false);
                self.two_in_trouble && Counts::percent(failures, calls) >= settings.failure_rate
            }
            OpenReason::SlowCalls { .. } => {
                let Counts { calls, slow, .. } = others(true);
                self.two_in_trouble && Counts::percent(slow, calls) >= settings.slow_call_rate
            }
            OpenReason::FailuresInARow { .. }
            | OpenReason::AskedToWait { .. }
            | OpenReason::ProbeFailed { .. }
            | OpenReason::NoVerdict => self.two_in_a_row,
        }
    }
}
