//! Lines that wait for the reader of the log, and a count of those that were lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// A writer that never waits: at most `lines` wait for `output`, the rest is dropped.
pub(super) fn queue_to(
    output: impl Write + Send + 'static,
    lines: usize,
) -> (NonBlocking, DroppedLines, WorkerGuard) {
    let lost = Arc::new(AtomicU64::new(0));
    let output = Counted {
        output,
        lost: Arc::clone(&lost),
    };
    let builder = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(lines)
        .thread_name("log");
    let (writer, flush) = builder.finish(output);
    let dropped = DroppedLines {
        queue: writer.error_counter(),
        output: lost,
    };
    (writer, dropped, flush)
}

/// Counts the log lines that were lost: the queue was full, or the write failed because of a full
/// disk or a closed pipe.
#[derive(Debug)]
pub(super) struct DroppedLines {
    queue: ErrorCounter,
    output: Arc<AtomicU64>,
}

impl DroppedLines {
    pub(super) fn count(&self) -> u64 {
        let unwritten = self.output.load(Ordering::Relaxed);
        unwritten.saturating_add(self.queue.dropped_lines() as u64)
    }
}

/// Counts the lines that could not be written; the queue would forget them.
struct Counted<W> {
    output: W,
    lost: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    /// Called once for each line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if self.output.write_all(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
