//! A story about one fault, and how a list of them is written.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::outcome::Outcome;
use crate::pace::Pace;

/// A story about one fault.
pub(crate) struct Scenario {
    /// Its number in the fault matrix.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) play: fn(Pace) -> LocalBoxFuture<'static, Outcome>,
}

impl Scenario {
    /// Also a scenario that panics has an outcome.
    pub(crate) async fn play(&self, pace: Pace) -> Outcome {
        let playing = AssertUnwindSafe((self.play)(pace)).catch_unwind().await;
        playing.unwrap_or_else(|panic| Outcome::broken(message(panic.as_ref())))
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<String>() {
        return text.clone();
    }
    match panic.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => "a panic without a message".to_owned(),
    }
}

/// Scenarios by name, from functions that take a pace.
macro_rules! scenarios {
    ($($id:literal $name:literal $play:path;)*) => {
        &[$($crate::scenario::Scenario { id: $id, name: $name, play: |pace| Box::pin($play(pace)) }),*]
    };
}
pub(crate) use scenarios;
