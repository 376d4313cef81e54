//! The signals that ask a router to end.

use std::fs;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// The exit code of a process that a second signal ends at once, as shells count it.
pub(super) const INTERRUPTED: i32 = 130;

/// Signals so close together are one wish: a terminal and a supervisor often send one each.
const ONE_WISH: Duration = Duration::from_secs(1);

/// Everything that asks the process to end: Ctrl-C, a supervisor, a closed terminal.
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// Not of a process that was started to outlive its terminal (`nohup`).
    hangup: Option<Signal>,
    first: Option<Instant>,
}

impl Stops {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::Failed(format!("signals cannot be received: {error}.")))
        };
        // Whoever listens takes it in charge, so this is the last moment to ask.
        let hangup = (!ignores_hangup()).then(|| listen(SignalKind::hangup()));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
            first: None,
        })
    }

    /// The wish to end.
    pub(super) async fn wish(&mut self) {
        self.any().await;
        self.first.get_or_insert_with(Instant::now);
    }

    /// The wish to end at once: a signal after that of [`Stops::wish`], and not close behind it.
    pub(super) async fn impatience(&mut self) {
        loop {
            self.any().await;
            let first = self.first.get_or_insert_with(Instant::now);
            if first.elapsed() >= ONE_WISH {
                return;
            }
        }
    }

    async fn any(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// As Linux tells; elsewhere nobody is asked.
fn ignores_hangup() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status))
}

fn is_hangup_ignored(status: &str) -> bool {
    const HANGUP: u64 = 1;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANGUP != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t01\nSigIgn:\t{mask}\nSigCgt:\t01\n");
        assert!(is_hangup_ignored(&status("0000000000000001")));
        assert!(is_hangup_ignored(&status("0000000000001003")));
        assert!(!is_hangup_ignored(&status("0000000000001000")));
        assert!(!is_hangup_ignored("Name:\tx\n"));
    }
}
