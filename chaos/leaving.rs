//! Routers that are told to end after their link was bad (C43, C44): what NATS had for them at that
//! moment is answered all the same.

use std::time::Duration;

use beamline_test_support::{PostgresServer, Weather};
use tokio::time::{Instant, sleep};

use crate::database::on;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::scenario::{Scenario, scenarios};
use crate::setting::BusSetting;
use crate::stage::{Stage, provider};

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C43" "a router that has reconnected is told to end" after_a_reset;
    "C44" "a slow link heals, and a router is told to end" after_a_slow_link;
};

const SECOND: Duration = Duration::from_secs(1);
/// After the bus is back.
const BACK: Duration = Duration::from_secs(2);
const ENDS_WITHIN: Duration = Duration::from_secs(45);
/// Of the two routers, the one that is told to end.
const STRUCK: usize = 1;

async fn two_routers(pace: Pace, database: &PostgresServer) -> Stage {
    let setting = on(database.url(), "500ms")
        .bus(BusSetting::Proxied)
        .routers(2);
    let mut stage = Stage::set(pace, setting).await;
    stage.calm().await;
    stage
}

async fn after_a_reset(pace: Pace) -> Outcome {
    let database = PostgresServer::start().await;
    let mut stage = two_routers(pace, &database).await;
    stage.breaks();
    for _ in 0..if pace.is_quick() { 2 } else { 8 } {
        let broken = Instant::now();
        stage.buses.proxy().reset();
        stage.forgive(broken, broken + BACK);
        // Longer than what is forgiven.
        sleep(BACK + SECOND * 2).await;
        restart(&mut stage).await;
    }
    stage.heals();
    stage.may_be_unready(BACK);
    stage.recovers(BACK).await;
    stage.ends().await
}

/// A sequence that C42 found, with everything that it had done to the link before.
async fn after_a_slow_link(pace: Pace) -> Outcome {
    let mut database = PostgresServer::start().await;
    let mut stage = two_routers(pace, &database).await;
    let broken = stage.breaks();
    stage.buses.nats.pause().await;
    stage.buses.proxy().reset();
    database.kill();
    sleep(SECOND * 5).await;
    stage.buses.nats.resume();
    database.restart().await;
    stage.forgive(broken, Instant::now() + BACK);
    sleep(SECOND * 3).await;

    stage.buses.proxy().weather(Weather {
        latency: Duration::from_millis(50),
        ..Weather::default()
    });
    stage.cast["pii_guard"].pause().await;
    sleep(SECOND * 7).await;
    stage.buses.proxy().weather(Weather::default());
    stage.cast["pii_guard"].resume();
    sleep(SECOND * 5 / 2).await;

    stage.cast["model1"].kill();
    restart(&mut stage).await;
    let model = provider(&stage.buses.nats, "model").await;
    stage.cast.add("model1", model);
    stage.heals();
    stage.may_be_unready(SECOND * 10);
    stage.recovers(SECOND * 30).await;
    stage.no_ghosts();
    stage.ends().await
}

async fn restart(stage: &mut Stage) {
    let router = &mut stage.routers[STRUCK];
    router.sigterm();
    let code = router.wait_exit(ENDS_WITHIN).await.code();
    router.respawn();
    router.until_ready().await;
    stage.check("exit", code == Some(0), || {
        format!("it ended with {code:?}")
    });
}
