//! Lines that wait for the reader of the log, and a count of those that were lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// A writer that never waits: at most `lines` wait for `output`, the rest is dropped.
pub(super) fn queue_to(
    output: impl Write + Send + 'static,
    lines: usize,
) -> (NonBlocking, DroppedLines, WorkerGuard) {
    let lost = Arc::new(AtomicU64::new(0));
    let output = Gathered {
        output,
        lines: Vec::new(),
        count: 0,
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

/// Writes what came in a short time in one go, and counts the lines that could not be written; the
/// queue would forget them.
struct Gathered<W> {
    output: W,
    lines: Vec<u8>,
    count: u64,
    lost: Arc<AtomicU64>,
}

/// Between two writes. A thread that is woken for each line costs more than the line.
const PAUSE: Duration = Duration::from_millis(5);
/// More is written at once.
const MOST: usize = 64 * 1024;

impl<W: Write> Gathered<W> {
    fn write_out(&mut self) {
        if self.output.write_all(&self.lines).is_err() {
            self.lost.fetch_add(self.count, Ordering::Relaxed);
        }
        let _ = self.output.flush();
        self.lines.clear();
        self.count = 0;
    }
}

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// Called once for each line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines.extend_from_slice(line);
        self.count += 1;
        if self.lines.len() >= MOST {
            self.write_out();
        }
        Ok(())
    }

    /// Called when no line waits.
    fn flush(&mut self) -> io::Result<()> {
        if self.count > 0 {
            self.write_out();
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}
