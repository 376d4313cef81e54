//! A panic is an event like any other, so that every line of the log has the same form.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

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

/// `None` unless the environment asks for it.
fn backtrace() -> Option<String> {
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    captured.then(|| backtrace.to_string())
}
