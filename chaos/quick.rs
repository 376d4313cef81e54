//! The scenarios of every run of the tests, some seconds each.

use crate::matrix;
use crate::outcome::{self, Verdict};
use crate::pace::Pace;

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
    c15_nats_lets_the_router_in_no_more "C15";
    c18_postgres_is_killed "C18";
    c26_a_router_is_told_to_end "C26";
    c30_pipelines_panic "C30";
    c33_overload "C33";
}
