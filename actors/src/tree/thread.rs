//! A thread as part of a task: for what has to go on while the threads of the runtime are held up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use tokio::sync::oneshot;

/// Does the work on a thread of its own and returns when the thread has ended; its panic goes on in
/// the task. A thread cannot be broken off: who gives up waiting for it has to tell it so.
pub async fn on_own_thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (ending, ended) = oneshot::channel();
    thread::Builder::new().name(name.into()).spawn(move || {
        let _ = ending.send(catch_unwind(AssertUnwindSafe(work)));
    })?;
    match ended.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_lost) => Err(io::Error::other("the thread ended without a word")),
    }
}
