//! The signals that ask a router to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// The exit code of a process that a second signal ends at once, as shells count it.
pub(super) const INTERRUPTED: i32 = 130;

/// Everything that asks the process to end: Ctrl-C, a supervisor, a closed terminal.
pub(super) struct Stops([Signal; 3]);

impl Stops {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::Failed(format!("signals cannot be received: {error}.")))
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    pub(super) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
