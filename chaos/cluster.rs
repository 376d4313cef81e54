//! NATS turns the router away, or has more than one server (C15 to C17): the router says so, waits,
//! moves over, and blames nobody else.

use std::time::Duration;

use beamline_test_support::{LIMIT, eventually};
use tokio::time::{Instant, sleep};

use crate::extensions::judge_unavailable;
use crate::load::Sent;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::scenario::{Scenario, scenarios};
use crate::setting::{Apart, BusSetting, Setting};
use crate::stage::Stage;
use crate::traffic::{BYSTANDER, CANARY};
use crate::watch::cpu_time;

pub(crate) const SCENARIOS: &[Scenario] = scenarios! {
    "C15" "NATS lets the router in no more" let_in_no_more;
    "C16" "the router's NATS server is a lame duck" lame_duck;
    "C17" "extensions are cut off with their NATS server" cut_off;
};

const SECOND: Duration = Duration::from_secs(1);
/// After the router's user is back.
const LET_IN: Duration = Duration::from_secs(5);
/// The lame duck waits for five seconds before it turns its clients out, and the router moves
/// within two.
const TURNED_OUT: Duration = Duration::from_secs(7);

/// Everybody but the router comes in without a name.
fn users(routers: &str) -> String {
    let guest = "{ user: guest, password: guest }";
    format!("authorization {{ users: [ {guest}{routers} ] }}\nno_auth_user: guest")
}

async fn let_in_no_more(pace: Pace) -> Outcome {
    let known = users(&format!(", {{ user: router, password: \"{CANARY}\" }}"));
    let setting = Setting::default()
        .bus(BusSetting::Configured(known.clone()))
        .configured("nats.user", "router")
        .configured("nats.password", CANARY);
    let mut stage = Stage::set(pace, setting).await;
    stage.calm().await;
    let broken = stage.breaks();
    let router = stage.routers[0].id();
    let worked = cpu_time(router);
    stage.buses.nats.reload(&users(""));
    stage.lasts().await;
    let worked = cpu_time(router).saturating_sub(worked);
    let lasted = broken.elapsed();
    stage.buses.nats.reload(&known);
    let healed = stage.heals();
    stage.forgive(broken, healed + LET_IN);
    stage.unready(SECOND, LET_IN);
    stage.check("busy loop", worked < lasted / 2, || {
        format!("{worked:?} of work in {lasted:?} without a connection")
    });
    let log = stage.routers[0].log();
    let said = log.matches("NATS refuses the router's credentials").count();
    stage.check("log", said == 1, || {
        format!("the log says {said} times within {lasted:?} what is wrong")
    });
    stage.recovers(LET_IN).await;
    stage.ends().await
}

async fn lame_duck(pace: Pace) -> Outcome {
    let mut stage = Stage::set(
        pace,
        Setting::default().bus(BusSetting::Apart(Apart::Routers)),
    )
    .await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.buses.other().lame_duck();
    sleep(pace.fault.max(TURNED_OUT)).await;
    stage.heals();
    stage.recovers(Duration::ZERO).await;
    stage.nobody_noticed(broken);
    stage.ends().await
}

/// Extensions on one server, routers and gateways on the other, and nothing between them.
async fn cut_off(pace: Pace) -> Outcome {
    let mut stage = Stage::set(
        pace,
        Setting::default().bus(BusSetting::Apart(Apart::Extensions)),
    )
    .await;
    stage.calm().await;
    let broken = stage.breaks();
    stage.buses.proxy_mut().cut().await;
    no_responders(&mut stage, broken).await;
    stage.lasts().await;
    judge_unavailable(&mut stage, broken + SECOND * 2);
    stage.buses.proxy_mut().restore();
    stage.heals();
    let others = stage.load.since(broken, |sent| {
        let failed =
            |sent: &&Sent| sent.class == &BYSTANDER && !sent.answers.is_empty() && !sent.served();
        sent.iter().filter(failed).count()
    });
    stage.check("bystanders", others == 0, || {
        format!("{others} requests failed that need nobody over there")
    });
    // A server makes its route again once a second, and pings find an extension that is back within
    // two.
    stage.recovers(SECOND * 3).await;
    stage.ends().await
}

/// The breakers open, and not after timeouts.
async fn no_responders(stage: &mut Stage, broken: Instant) {
    let opened = eventually(LIMIT, "a breaker opens", async || {
        stage
            .open_breakers()
            .await
            .contains(&"model".to_owned())
            .then(|| broken.elapsed())
    })
    .await;
    stage.check("breaker", opened < SECOND * 2, || {
        format!("the breaker of the provider opened after {opened:?}")
    });
    let slow = stage.load.since(broken, |sent| {
        let answers = sent
            .iter()
            .flat_map(|sent| &sent.answers)
            .filter(|answer| answer.code == "extension_timeout");
        answers.count()
    });
    stage.check("no responders", slow == 0, || {
        format!("{slow} requests waited for an extension that was not there")
    });
}
