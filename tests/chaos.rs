//! Chaos: break, observe, restore, observe, on real processes. Each scenario is a short story about one fault of the
//! matrix; the same observer sends load and judges the same invariants in all of them. `chaos/README.md` says more.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use outcome::{Outcome, Verdict};
use pace::Pace;

mod bus;
mod cluster;
mod database;
mod extensions;
mod gaps;
mod hints;
mod load;
mod matrix;
mod outcome;
mod pace;
mod pressure;
mod processes;
mod puppet;
mod random;
mod registry;
mod resources;
mod stage;
mod traffic;
mod watch;

/// A story about one fault.
pub(crate) struct Scenario {
    /// Its number in the fault matrix.
    id: &'static str,
    name: &'static str,
    play: fn(Pace) -> LocalBoxFuture<'static, Outcome>,
}

impl Scenario {
    /// Also a scenario that panics has an outcome.
    async fn play(&self, pace: Pace) -> Outcome {
        let playing = AssertUnwindSafe((self.play)(pace)).catch_unwind().await;
        playing.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::broken(text.unwrap_or_else(|| "a panic without words".to_owned()))
        })
    }
}

/// Scenarios by name, from functions that take a pace.
macro_rules! scenarios {
    ($($id:literal $name:literal $play:path;)*) => {
        &[$($crate::chaos::Scenario { id: $id, name: $name, play: |pace| Box::pin($play(pace)) }),*]
    };
}
use scenarios;

/// One scenario at a time: they would starve each other.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Plays a scenario quickly, as a test.
async fn test(id: &str) {
    let _turn = TURN.lock().await;
    let scenario = matrix::find(id);
    let outcome = scenario.play(Pace::QUICK).await;
    println!(
        "{}\n{}",
        outcome::HEAD,
        outcome.story(scenario.id, scenario.name)
    );
    assert!(
        outcome.verdict(id) != Verdict::Fail,
        "{}",
        outcome.unknown(id).join("\n")
    );
}

/// The scenarios of every run of the tests.
macro_rules! tests {
    ($($name:ident $id:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            test($id).await;
        })*
    };
}

tests! {
    c01_one_of_three_instances_is_killed "C1";
    c02_the_only_instance_is_killed "C2";
    c03_an_extension_is_frozen "C3";
    c04_an_extension_is_slow "C4";
    c05_an_extension_flaps "C5";
    c06_an_extension_answers_garbage "C6";
    c07_an_extension_asks_for_patience "C7";
    c08_a_validator_rejects_everything "C8";
    c09_nats_is_killed "C9";
    c10_nats_is_frozen "C10";
    c18_postgres_is_killed "C18";
    c26_a_router_is_told_to_end "C26";
    c30_pipelines_panic "C30";
    c33_overload "C33";
}
