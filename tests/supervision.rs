//! What goes on for as long as the router does is in its tree: it is shown, comes back when it
//! panics, and is missed by nobody.

use std::time::Duration;

use beamline_extension::Kind;
use beamline_test_support::{
    FailPoints, Gateway, LIMIT, Nats, PostgresDatabase, RouterProcess, Stub, TcpProxy, eventually,
    request,
};
use serde_json::{Value, json};
use tokio::time::timeout;

const ROUTE: &str = "beamline.router.v1.route";
/// Of a caller whose request may have met no router.
const PATIENCE: Duration = Duration::from_secs(2);

/// A router of which parts can be made to panic.
struct World {
    gateway: Gateway,
    router: RouterProcess,
    points: FailPoints,
    nats: Nats,
    _model: Stub,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_failing("", settings).await
    }

    /// With these fail points from the start on.
    async fn start_failing(lines: &str, settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        let points = FailPoints::new();
        points.set(lines);
        let own = [("nats.url", nats.url())];
        let settings: Vec<_> = settings.iter().copied().chain(own).collect();
        let (variable, file) = points.variable();
        let mut router = RouterProcess::spawn_with(&settings, &[(variable, &file)]);
        router.until_ready().await;
        let gateway = Gateway::connect(&nats).await;
        gateway.register("provider", "model", json!({})).await;
        gateway
            .policy("default", &json!({"providers": ["model"]}))
            .await;
        let model = Stub::saying(&nats, Kind::Provider, "model", r#"{"output": 1}"#).await;
        Self {
            gateway,
            router,
            points,
            nats,
            _model: model,
        }
    }

    async fn tree(&self) -> Value {
        self.gateway.admin("supervision_tree", &json!({})).await
    }

    /// The node of this name, wherever it stands.
    async fn node(&self, name: &str) -> Value {
        let answer = self.tree().await;
        find(&answer["tree"], name)
            .unwrap_or_else(|| panic!("no {name} in {answer}"))
            .clone()
    }

    /// Waits until the node looks like this.
    async fn until(&self, name: &str, looks: impl Fn(&Value) -> bool) -> Value {
        eventually(LIMIT, name, async || {
            Some(self.node(name).await).filter(|node| looks(node))
        })
        .await
    }

    /// Waits until it has panicked more than once.
    async fn until_panicked(&self, name: &str) {
        let panic = format!("the fail point {name} was reached");
        self.until(name, |node| {
            let said = node["last_exit"].as_str().unwrap_or_default();
            said.contains(&panic) && node["restarts"].as_u64() > Some(1)
        })
        .await;
    }

    /// Waits until it runs. Nothing makes it panic any more.
    async fn until_well(&self, name: &str) {
        self.until(name, |node| node["status"] == "running").await;
    }

    /// Waits until requests are answered with this code.
    async fn until_answered(&self, code: &str) {
        eventually(LIMIT, code, async || {
            let body = request("default").to_string().into();
            let asked = self.gateway.client().request(ROUTE, body);
            let answer = timeout(PATIENCE, asked).await.ok()?.ok()?.payload;
            let answer: Value = serde_json::from_slice(&answer).ok()?;
            let said = answer["error"]["code"].as_str().unwrap_or("ok");
            (said == code).then_some(())
        })
        .await;
    }
}

fn find<'t>(node: &'t Value, name: &str) -> Option<&'t Value> {
    if node["name"] == name {
        return Some(node);
    }
    let children = node["children"].as_array()?;
    children.iter().find_map(|child| find(child, name))
}

#[tokio::test]
async fn a_monitor_that_panics_leaves_no_pressure_at_the_door() {
    let world = World::start(&[("router.memory_limit_mib", "1")]).await;
    world.until_answered("overloaded").await;
    world.points.set("pressure panic 1\nround_trips panic 1");
    for name in ["pressure", "round_trips"] {
        world.until_panicked(name).await;
    }
    world.until_answered("ok").await;
    world.points.set("");
    world.until_answered("overloaded").await;
    for name in ["pressure", "round_trips"] {
        world.until_well(name).await;
    }
    assert_eq!(world.node("monitor").await["restarts"], 0);
}

#[tokio::test]
async fn a_replacement_of_the_nats_client_that_panics_is_made_anew() {
    let world = World::start(&[]).await;
    world.points.set("gateways panic 1");
    // A carriage return inside a header value, on which the client ends.
    let deadly = "NATS/1.0\r\na: b\rc\r\n\r\n";
    world.nats.publish_bare(ROUTE, deadly, "{}").await;
    eventually(LIMIT, "the replacement panics", async || {
        let (_, metrics) = world.router.get("/metrics").await?;
        restarts(&metrics, "gateways").filter(|restarts| *restarts > 1)
    })
    .await;
    let said = world.router.readiness().await.expect("an answer");
    assert_eq!(
        (&said["code"], &said["nats"]),
        (&json!(503), &json!(false)),
        "nobody is told that it is ready"
    );
    world.points.set("");
    world.until_answered("ok").await;
    world.until_panicked("gateways").await;
    world.until_well("gateways").await;
}

#[tokio::test]
async fn a_reader_of_answers_that_panics_is_missed_by_no_breaker() {
    let world = World::start(&[]).await;
    world.until_answered("ok").await;
    world.points.set("answers panic 1");
    // Each message to ourselves is one more panic.
    world.until_panicked("answers").await;
    world.until_answered("bus_unavailable").await;
    world.points.set("");
    world.until_answered("ok").await;
    world.until_well("answers").await;
    let states = world
        .gateway
        .admin("get_circuit_breaker_states", &json!({}))
        .await;
    assert_eq!(states["states"]["model"]["failure_count"], 0, "{states}");
}

#[tokio::test]
async fn a_listener_of_the_database_that_panics_comes_back() {
    let database = PostgresDatabase::create().await;
    let url = database.url();
    let settings = [("database.url", url.as_str())];
    let world = World::start_failing("registry_listener panic 1", &settings).await;
    world.until_panicked("registry_listener").await;
    world.until_answered("ok").await;
    world.points.set("");
    world.until_well("registry_listener").await;
}

#[tokio::test]
async fn a_first_reading_that_panics_is_begun_again_behind_the_router() {
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    let mut world = World::start(&[("database.url", url.as_str())]).await;
    proxy.cut().await;
    world.points.set("first_reading panic 1");
    world.router.respawn();
    world.router.until_ready().await;
    world.until_panicked("first_reading").await;
    world.until_answered("ok").await;
    world.points.set("");
    proxy.restore();
    world
        .until("first_reading", |node| {
            (&node["status"], &node["last_exit"]) == (&json!("stopped"), &json!("done"))
        })
        .await;
    // It has told the registry to look.
    eventually(LIMIT, "the registry is that of the store", async || {
        let tree = world.tree().await;
        (tree["router"]["registry_source"] == "store").then_some(())
    })
    .await;
}

/// How often a part was restarted.
fn restarts(metrics: &str, node: &str) -> Option<u64> {
    let series = format!("router_restarts_total{{node=\"{node}\"}} ");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&series))?;
    line.parse().ok()
}
