//! Whose fault the end of an attempt was. The breaker, the concurrency limit and the retries all go
//! by this one judgement.

use std::time::Duration;

use crate::request::endpoint::TransportError;
use crate::request::failure::CallFailure;
use crate::request::reply::Reply;
use crate::target::breaker::Outcome;
use crate::target::concurrency::Load;
use beamline_contract::failure::FailureKind;
use beamline_contract::record::Isolation;

/// What is known about an attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// The time that the extension is given for one attempt.
    pub own_time: Duration,
    /// The time that this attempt had: less where the request had less left.
    pub limit: Duration,
    /// It had less so that another provider has time to take over.
    pub leaves_time: bool,
    pub took: Duration,
    /// What 95 % of the target's recent successes took at most, where it is known.
    pub usual: Option<Duration>,
    /// This process stood still meanwhile, or the bus is late: the answer may have been there in
    /// time.
    pub router_is_late: bool,
    /// The bus has been there for long enough that extensions have found back to it.
    pub bus_is_settled: bool,
    pub isolation: Isolation,
}

/// How an attempt ended, and what that says of the extension.
#[derive(Debug)]
pub struct Verdict {
    pub result: Result<Reply, CallFailure>,
    pub outcome: Outcome,
    pub load: Load,
    /// Nobody may call it for this long.
    pub backoff: Option<Duration>,
}

impl Verdict {
    /// What the failure is about, if it is one.
    pub fn class(&self) -> Option<FailureKind> {
        self.result.as_ref().err()?.row().class.kind
    }

    /// Whether the call went well, as health shows it; `None` where it says nothing of that. What a
    /// breaker need not hear of may still be why people get no answers: a rate limit, or a model
    /// that is not there.
    pub fn health(&self) -> Option<bool> {
        match self.outcome {
            Outcome::Success => Some(true),
            Outcome::Failure | Outcome::NoResponders => Some(false),
            Outcome::Timeout | Outcome::AskedToWait(_) => Some(false),
            Outcome::Ignored => {
                let answered = self.result.as_ref().err().and_then(CallFailure::answered);
                let is_its_own =
                    answered.is_some_and(|failure| failure.is_overload() || failure.is_missing());
                is_its_own.then_some(false)
            }
        }
    }
}

/// An extension that says after this part of its time that there is none left has kept to it.
const TO_THE_END: f64 = 0.75;

/// Judges an attempt. `read` is what came back: an answer as it was understood, or why there is
/// none.
pub fn judge(
    read: Result<Result<Reply, CallFailure>, TransportError>,
    evidence: Evidence,
) -> Verdict {
    let bus_is_late = matches!(read, Err(TransportError::BusLate));
    let result = name(read, &evidence);
    let outcome = breaker_outcome(&result, bus_is_late, &evidence);
    let failure = result.as_ref().err();
    Verdict {
        load: load(failure, outcome, evidence.isolation),
        backoff: failure
            .and_then(CallFailure::answered)
            .and_then(|answered| answered.backoff()),
        outcome,
        result,
    }
}

/// A timeout is the request's where the request had less time left than the extension is given,
/// unless some of it is kept for another provider.
fn name(
    read: Result<Result<Reply, CallFailure>, TransportError>,
    evidence: &Evidence,
) -> Result<Reply, CallFailure> {
    let out_of_time = if evidence.limit < evidence.own_time && !evidence.leaves_time {
        CallFailure::Deadline
    } else {
        CallFailure::Timeout
    };
    match read {
        Err(TransportError::Timeout | TransportError::BusLate) => Err(out_of_time),
        Err(error) => Err(error.into()),
        Ok(Err(CallFailure::Answered(answered))) if answered.is_out_of_time() => {
            // It kept to the time that it was given and said so just before that was over. One that
            // gives up much earlier has a failure like any other.
            if evidence.took >= evidence.limit.mul_f64(TO_THE_END) {
                Err(out_of_time)
            } else {
                Err(CallFailure::Answered(answered))
            }
        }
        Ok(reply) => reply,
    }
}

fn breaker_outcome(
    result: &Result<Reply, CallFailure>,
    bus_is_late: bool,
    evidence: &Evidence,
) -> Outcome {
    let Err(failure) = result else {
        return Outcome::Success;
    };
    let is_silence = matches!(failure, CallFailure::Timeout | CallFailure::Deadline);
    if is_silence && (evidence.router_is_late || bus_is_late) {
        return Outcome::Ignored;
    }
    // Whoever cut it: with the time that it usually takes it should have answered. With less, a
    // caller in a hurry would open it for everybody.
    if is_silence {
        let enough = evidence.usual.unwrap_or(evidence.own_time / 2);
        return if evidence.limit >= enough {
            Outcome::Timeout
        } else {
            Outcome::Ignored
        };
    }
    if *failure == CallFailure::NoResponders && !evidence.bus_is_settled {
        return Outcome::Ignored;
    }
    failure.row().breaker
}

/// What the end of a call says about the load that its extension bears.
fn load(failure: Option<&CallFailure>, outcome: Outcome, isolation: Isolation) -> Load {
    let answered = failure.and_then(CallFailure::answered);
    match outcome {
        Outcome::Success => Load::Carried,
        Outcome::Timeout | Outcome::NoResponders => Load::Overloaded,
        Outcome::AskedToWait(_) => Load::Refused,
        Outcome::Failure => Load::Carried,
        // No failure for a breaker, and just what a limit is for. Where tenants are kept apart,
        // what one of them has used up says nothing of the others.
        Outcome::Ignored => match answered {
            Some(answered) if answered.is_rate_limit() && isolation == Isolation::Tenant => {
                Load::Unknown
            }
            Some(answered) if answered.is_overload() => Load::Refused,
            // It did its work, and said what is wrong with the request.
            Some(answered) if answered.is_about_the_request() => Load::Carried,
            Some(_) | None => Load::Unknown,
        },
    }
}

#[cfg(test)]
mod tests;
