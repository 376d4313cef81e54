//! A panic is an event like any other, so that every line of the log has the same form.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// To capture one takes longer than to serve a request, and whoever can cause a panic causes many.
const BACKTRACE_EVERY: Duration = Duration::from_secs(1);

static LAST_BACKTRACE: Mutex<Option<Instant>> = Mutex::new(None);

pub(super) fn log(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("no text");
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(
        error = reason,
        place,
        backtrace = backtrace(),
        thread = thread.name(),
        "panicked"
    );
}

/// `None` unless the environment asks for it, and soon after another one.
fn backtrace() -> Option<String> {
    if !is_due(&mut LAST_BACKTRACE.lock(), Instant::now()) {
        return None;
    }
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    captured.then(|| backtrace.to_string())
}

fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.duration_since(last) >= BACKTRACE_EVERY);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_panics_have_one_backtrace_a_second() {
        let start = Instant::now();
        let mut last = None;
        let due = |at| is_due(&mut last, start + Duration::from_millis(at));
        assert_eq!(
            [0, 20, 999, 1_000, 1_500].map(due),
            [true, false, false, true, false]
        );
    }
}
