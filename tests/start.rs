//! A router starts, waits, gives up or ends, and says which and why.

use std::net::TcpListener;
use std::time::Duration;

use beamline_test_support::{
    Caller, Demo, LIMIT, Nats, PostgresDatabase, RouterProcess, TcpProxy, assert_served,
    eventually, free_port, http_get,
};
use tokio::time::Instant;

/// The router ends by itself with this code and says all of this.
async fn assert_ends(mut router: RouterProcess, code: i32, said: &[&str]) {
    let ended = router.wait_exit(LIMIT).await;
    let log = router.log();
    assert_eq!(ended.code(), Some(code), "{log}");
    for part in said {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}

async fn until_said(router: &RouterProcess, part: &str) {
    eventually(LIMIT, part, async || {
        router.log().contains(part).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_nats_a_router_tries_for_a_while_and_says_what_to_do() {
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let router =
        RouterProcess::spawn(&[("nats.url", &nowhere), ("nats.startup_timeout", "1500ms")]);
    let sentence = "Start one, correct nats.url, or wait longer with nats.startup_timeout";
    assert_ends(
        router,
        5,
        &["trying again", &nowhere, "Connection refused", sentence],
    )
    .await;
}

#[tokio::test]
async fn without_database_and_snapshot_a_router_tries_for_a_while_and_says_what_to_do() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    proxy.cut().await;
    let settings = [
        ("nats.url", nats.url()),
        ("database.url", url.as_str()),
        ("database.startup_timeout", "1500ms"),
    ];
    let said = [
        "waiting for the database",
        "Start the database at",
        "database.url",
        "no snapshot on disk",
    ];
    assert_ends(RouterProcess::spawn(&settings), 5, &said).await;
}

#[tokio::test]
async fn a_router_that_starts_first_waits_for_database_and_nats() {
    let mut nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    nats.kill();
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    proxy.cut().await;
    let mut router = RouterProcess::spawn(&[("nats.url", nats.url()), ("database.url", &url)]);
    until_said(&router, "waiting for the database").await;
    proxy.restore();
    until_said(&router, "no connection to NATS yet").await;
    nats.restart().await;
    router.until_ready().await;
    let caller = Caller::connect(&nats).await;
    eventually(LIMIT, "the extensions are back too", async || {
        caller
            .try_route("first", LIMIT)
            .await
            .filter(|answer| answer["ok"] == true)
    })
    .await;
    assert!(demo.calls("first") > 0);
}

#[tokio::test]
async fn a_router_that_waits_ends_when_it_is_told_to() {
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let router = RouterProcess::spawn(&[("nats.url", &nowhere), ("nats.startup_timeout", "10m")]);
    until_said(&router, "no connection to NATS yet").await;
    router.sigterm();
    assert_ends(router, 0, &[]).await;
}

#[tokio::test]
async fn every_mistake_of_the_configuration_is_listed_at_once() {
    let router = RouterProcess::spawn(&[
        ("nats.url", "http://127.0.0.1"),
        ("database.max_connections", "0"),
        ("http.listen", "nowhere"),
        ("router.default_timeout", "5"),
        ("router.drian_timeout", "5s"),
        ("nonsense.key", "1"),
    ]);
    let said = [
        "6 mistakes",
        "BEAMLINE__NATS__URL",
        "BEAMLINE__DATABASE__MAX_CONNECTIONS",
        "BEAMLINE__HTTP__LISTEN",
        "BEAMLINE__ROUTER__DEFAULT_TIMEOUT",
        "BEAMLINE__ROUTER__DRIAN_TIMEOUT: unknown variable; did you mean BEAMLINE__ROUTER__DRAIN_TIMEOUT?",
        "BEAMLINE__NONSENSE__KEY",
    ];
    assert_ends(router, 78, &said).await;
}

#[tokio::test]
async fn a_port_that_somebody_has_is_said() {
    let nats = Nats::start().await;
    let somebody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = somebody.local_addr().expect("an address").to_string();
    let router = RouterProcess::spawn(&[("nats.url", nats.url()), ("http.listen", &address)]);
    let sentence = format!("Cannot listen on {address}");
    assert_ends(router, 1, &[&sentence, "Choose another http.listen"]).await;
}

#[tokio::test]
async fn an_idle_router_starts_and_ends_soon() {
    let nats = Nats::start().await;
    let database = PostgresDatabase::create().await;
    let url = database.url();
    for state in ["an empty database", "a database as it was left"] {
        let begun = Instant::now();
        let router =
            RouterProcess::start(&[("nats.url", nats.url()), ("database.url", &url)]).await;
        println!("ready after {:?} with {state}", begun.elapsed());
        let told = Instant::now();
        router.sigterm();
        assert_ends(router, 0, &["stopped"]).await;
        println!("ended after {:?}", told.elapsed());
    }
}

#[tokio::test]
async fn what_is_still_open_at_the_end_of_the_drain_is_told_to_go_elsewhere() {
    let nats = Nats::start().await;
    let demo = Demo::serve(&nats).await;
    let router =
        RouterProcess::start(&[("nats.url", nats.url()), ("router.drain_timeout", "1s")]).await;
    let caller = Caller::connect(&nats).await;
    assert_served(&caller.route("before").await, "before");
    demo.close();
    let slow = tokio::spawn({
        let caller = caller.clone();
        async move { caller.route("slow").await }
    });
    eventually(LIMIT, "the provider has the request", async || {
        (demo.in_flight() == 1).then_some(())
    })
    .await;

    router.sigterm();
    let answer = slow.await.expect("no panic");
    assert_eq!(answer["error"]["code"], "shutting_down", "{answer}");
    assert_eq!(answer["context"]["request_id"], "slow", "{answer}");
    assert_ends(router, 3, &["1 request told to try again elsewhere"]).await;
    assert!(
        caller
            .try_route("nobody", Duration::from_secs(5))
            .await
            .is_none(),
        "nobody is left"
    );
}

#[tokio::test]
async fn a_router_that_waits_is_alive_and_not_ready() {
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let probes = format!("127.0.0.1:{}", free_port());
    let settings = [
        ("nats.url", nowhere.as_str()),
        ("nats.startup_timeout", "10m"),
        ("http.probes", &probes),
    ];
    let router = RouterProcess::spawn(&settings);
    let alive = eventually(LIMIT, "it is alive", async || router.get("/healthz").await).await;
    assert_eq!(alive.0, 200);
    until_said(&router, "no connection to NATS yet").await;
    let said = router.readiness().await.expect("an answer");
    assert_eq!((&said["code"], &said["nats"]), (&503.into(), &false.into()));
    let probes = probes.parse().expect("an address");
    for (path, code) in [("/healthz", 200), ("/readyz", 503), ("/metrics", 503)] {
        let answer = http_get(probes, path).await.expect("an answer");
        assert_eq!(answer.0, code, "{path}");
    }
}

#[tokio::test]
async fn a_second_router_in_a_state_directory_is_told() {
    let nats = Nats::start().await;
    let mut first = RouterProcess::start(&[("nats.url", nats.url())]).await;
    let settings = [
        ("nats.url", nats.url().to_owned()),
        (
            "router.state_dir",
            first.setting("router.state_dir").to_owned(),
        ),
    ];
    let settings = settings
        .each_ref()
        .map(|(key, value)| (*key, value.as_str()));
    let told = format!("Another router (process {}) works in", first.id());
    assert_ends(
        RouterProcess::spawn(&settings),
        1,
        &[&told, "router.state_dir"],
    )
    .await;
    // What a killed one leaves behind locks nobody out.
    first.kill();
    RouterProcess::start(&settings).await;
}
