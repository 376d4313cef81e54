//! What somebody can do who reads every message between replicas, and may publish there too.

use std::time::SystemTime;

use async_nats::Subscriber;
use beamline_extension::Kind;
use beamline_test_support::{
    Gateway, LIMIT, Nats, Peer, PostgresDatabase, RouterProcess, Stub, TcpProxy, Unsigned,
    eventually, keys_of, request, within,
};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use super::metric;

const SUBJECT: &str = "beamline.provider.model.v1";
const TEN_MINUTES: u64 = 600_000;

/// One replica, and one that the test plays.
struct World {
    router: RouterProcess,
    gateway: Gateway,
    peer: Peer,
    _model: Stub,
    nats: Nats,
    database: PostgresDatabase,
}

impl World {
    async fn start() -> Self {
        let database = PostgresDatabase::create().await;
        let url = database.url();
        Self::start_at(database, &url).await
    }

    async fn start_at(database: PostgresDatabase, url: &str) -> Self {
        let nats = Nats::start().await;
        let settings = [("nats.url", nats.url()), ("database.url", url)];
        let router = RouterProcess::start(&settings).await;
        let gateway = Gateway::connect(&nats).await;
        gateway.register("provider", "model", json!({})).await;
        gateway
            .policy("chat", &json!({"providers": ["model"]}))
            .await;
        let answer = r#"{"output": "hello"}"#;
        let model = Stub::saying(&nats, Kind::Provider, "model", answer).await;
        let peer = Peer::of(&router, &nats, "peer").await;
        let world = Self {
            router,
            gateway,
            peer,
            _model: model,
            nats,
            database,
        };
        let answer = world.gateway.route(&request("chat")).await;
        assert_eq!(answer["ok"], true, "{answer}");
        world
    }

    /// Another replica's breaker for the target is open, as far as the router has heard.
    async fn is_suspicious(&self) -> bool {
        let body = json!({"extension_id": "model"});
        let said = self
            .gateway
            .admin("get_circuit_breaker_states", &body)
            .await;
        assert_eq!(said["ok"], true, "{said}");
        said["states"]["model"]["suspect_until"].is_string()
    }

    async fn becomes_suspicious(&self, what: &str) {
        let suspicious = async || self.is_suspicious().await.then_some(());
        eventually(LIMIT, what, suspicious).await;
    }

    async fn refused(&self, kind: &str, reason: &str) -> f64 {
        refused(&self.router, kind, reason).await
    }

    async fn until_refused(&self, kind: &str, reason: &str, count: f64) {
        let what = format!("{count} of {kind} {reason}");
        let counted = async || (self.refused(kind, reason).await == count).then_some(());
        eventually(LIMIT, &what, counted).await;
    }

    /// How many replicas the administration counts.
    async fn replicas(&self) -> Value {
        let body = json!({"fleet": true, "extension_id": "model"});
        let said = self
            .gateway
            .admin("get_circuit_breaker_states", &body)
            .await;
        said["states"]["model"]["fleet"]["replicas"].clone()
    }

    async fn listen(&self, subject: &str) -> Subscriber {
        let client = self.peer.client();
        let heard = client
            .subscribe(subject.to_owned())
            .await
            .expect("subscribed");
        client.flush().await.expect("flushed");
        heard
    }
}

async fn refused(router: &RouterProcess, kind: &str, reason: &str) -> f64 {
    let labels = format!("{{kind=\"{kind}\",reason=\"{reason}\"}}");
    let name = format!("router_fleet_messages_refused_total{labels}");
    metric(router, &name).await
}

fn hint(body: &str) -> Unsigned<'_> {
    Unsigned {
        subject: Peer::HINTS,
        body,
        ..Unsigned::default()
    }
}

fn answer<'m>(reply: &'m str, question: &'m str, body: &'m str) -> Unsigned<'m> {
    Unsigned {
        subject: reply,
        reply: "",
        question,
        body,
    }
}

#[tokio::test]
async fn a_stranger_says_that_a_breaker_has_opened() {
    let world = World::start().await;
    let body = world.peer.open("model", SUBJECT, TEN_MINUTES);
    world.peer.publish(hint(&body), None).await;
    world.peer.publish(hint(&body), Some("v1;what")).await;
    let forged = world.peer.forger().sign(hint(&body));
    world.peer.publish(hint(&body), Some(&forged)).await;
    let key = json!({"id": "0000000000000000", "secret": "00".repeat(32)});
    let own = Peer::with_key(&key, &world.nats, "peer").await;
    own.hint(&body).await;
    let large = format!("{body}{}", " ".repeat(5_000));
    world.peer.hint(&large).await;
    for (reason, count) in [
        ("unsigned", 1.0),
        ("malformed", 2.0),
        ("wrong_signature", 1.0),
        ("unknown_key", 1.0),
    ] {
        world.until_refused("hint", reason, count).await;
    }
    assert!(!world.is_suspicious().await);
    // Of a sender, only what is its own.
    let other = body.replace("\"peer\"", "\"another\"");
    world.peer.hint(&other).await;

    world.peer.hint(&body).await;
    world.becomes_suspicious("a true hint is heard").await;
    let said = world
        .router
        .log()
        .matches("a message between replicas")
        .count();
    assert_eq!(said, 1, "once a minute: {}", world.router.log());
    assert!(world.router.log().contains("security_event"));
    let tree = world.gateway.admin("supervision_tree", &json!({})).await;
    let nodes = tree["tree"]["children"].as_array().expect("children");
    let fleet = nodes.iter().find(|node| node["name"] == "fleet");
    assert_eq!(fleet.expect("a node")["security_events"], 5);
}

#[tokio::test]
async fn a_hint_that_was_read_on_the_bus_is_sent_again() {
    let world = World::start().await;
    let body = world.peer.open("model", SUBJECT, 4_000);
    let seen = world.peer.sign(hint(&body));
    world.peer.publish(hint(&body), Some(&seen)).await;
    world.becomes_suspicious("the first one is heard").await;
    let calm = async || (!world.is_suspicious().await).then_some(());
    eventually(LIMIT, "its time is over", calm).await;

    for _ in 0..10 {
        world.peer.publish(hint(&body), Some(&seen)).await;
    }
    world.until_refused("hint", "replayed", 10.0).await;
    assert!(!world.is_suspicious().await);
    // With more time, in another's name, on another subject, and much later.
    let longer = body.replace("4000", "600000");
    world.peer.publish(hint(&longer), Some(&seen)).await;
    let other = seen.replace(";peer;", ";other;");
    world.peer.publish(hint(&body), Some(&other)).await;
    world.until_refused("hint", "wrong_signature", 2.0).await;
    let moved = Unsigned {
        subject: Peer::QUESTIONS,
        ..hint(&body)
    };
    world.peer.publish(moved, Some(&seen)).await;
    world
        .until_refused("question", "wrong_signature", 1.0)
        .await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis() as u64;
    for minute in [now - 60_000, now + 60_000] {
        let kept = world.peer.sign_at(hint(&body), minute);
        world.peer.publish(hint(&body), Some(&kept)).await;
    }
    world.until_refused("hint", "stale", 2.0).await;
    assert!(!world.is_suspicious().await);
}

#[tokio::test]
async fn a_flood_of_forged_hints_takes_the_place_of_true_ones() {
    let world = World::start().await;
    let client = world.peer.client();
    let body = world.peer.open("model", SUBJECT, TEN_MINUTES);
    let forger = world.peer.forger();
    for number in 0..2_000 {
        let mut headers = async_nats::HeaderMap::new();
        if number % 2 == 0 {
            headers.insert(Peer::HEADER, forger.sign(hint(&body)));
        }
        let forged = client.publish_with_headers(Peer::HINTS, headers, body.clone().into());
        forged.await.expect("published");
    }
    // Once, after all of them, on the same connection.
    world.peer.hint(&body).await;
    world.becomes_suspicious("the true one is heard").await;
    world.until_refused("hint", "unsigned", 1_000.0).await;
    world
        .until_refused("hint", "wrong_signature", 1_000.0)
        .await;
}

#[tokio::test]
async fn replicas_that_do_not_exist_answer_how_their_breakers_are() {
    let world = World::start().await;
    let mut questions = world.listen(Peer::QUESTIONS).await;
    let own = Peer::of(&world.router, &world.nats, "peer").await;
    let answering = tokio::spawn(async move {
        let forger = own.forger();
        let question = questions.next().await.expect("a question");
        let reply = question.reply.expect("somebody wants to know");
        let header = question.headers.expect("it is signed");
        let header = header.get(Peer::HEADER).expect("it is signed").to_string();
        let parts: Vec<&str> = header.split(';').collect();
        let name = format!("{}:{}", parts[2], parts[4]);
        let body = |replica: &str| {
            let line = json!({"extension_id": "model", "state": "open"});
            json!({"replica_id": replica, "revision": 1, "breakers": [line]}).to_string()
        };
        for number in 0..10 {
            let invented = body(&format!("r{number}"));
            own.publish(answer(&reply, "", &invented), None).await;
            // The question's own signature is that of another message.
            own.publish(answer(&reply, "", &invented), Some(&header))
                .await;
            let forged = answer(&reply, &name, &invented);
            own.publish(forged, Some(&forger.sign(forged))).await;
        }
        // A true one to another question, in another's name, and then to this one, twice.
        let true_body = body("peer");
        let other = answer(&reply, "another:1", &true_body);
        own.publish(other, Some(&own.sign(other))).await;
        let foreign = body("r1");
        let foreign = answer(&reply, &name, &foreign);
        own.publish(foreign, Some(&own.sign(foreign))).await;
        for _ in 0..2 {
            let right = answer(&reply, &name, &true_body);
            own.publish(right, Some(&own.sign(right))).await;
        }
    });
    assert_eq!(world.replicas().await, 2, "{}", world.router.log());
    within("all was answered", answering)
        .await
        .expect("no panic");
    world.until_refused("answer", "unsigned", 10.0).await;
    world.until_refused("answer", "wrong_signature", 21.0).await;
    world.until_refused("answer", "replayed", 1.0).await;
}

#[tokio::test]
async fn a_stranger_asks_how_the_breakers_are() {
    let world = World::start().await;
    let mut questions = world.listen(Peer::QUESTIONS).await;
    assert_eq!(world.replicas().await, 1);
    let seen = questions.next().await.expect("a question of the router");
    let header = seen.headers.expect("it is signed");
    let header = header.get(Peer::HEADER).expect("it is signed").to_string();
    let own = world.peer.inbox();
    let mut heard = world.listen(&own).await;
    let asked = std::str::from_utf8(&seen.payload).expect("JSON");
    let question = |reply, body| Unsigned {
        subject: Peer::QUESTIONS,
        reply,
        question: "",
        body,
    };
    world.peer.publish(question(&own, ""), None).await;
    world.peer.publish(question(&own, "{}"), Some("v1")).await;
    // The router's own question, answered to somebody else, and once more to itself.
    world
        .peer
        .publish(question(&own, asked), Some(&header))
        .await;
    let reply = seen.reply.expect("it wants to know").to_string();
    let again = question(&reply, asked);
    world.peer.publish(again, Some(&header)).await;
    for reason in ["unsigned", "malformed", "wrong_signature", "replayed"] {
        world.until_refused("question", reason, 1.0).await;
    }

    // After all of them one of a replica, which is answered first, and signed.
    let mut answers = world.peer.ask("{}").await;
    let answer = within("a replica is answered", answers.next()).await;
    let answer = answer.expect("an answer");
    let said: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(said["breakers"], json!([]), "{said}");
    let header = answer.headers.expect("it is signed");
    let header = header.get(Peer::HEADER).expect("it is signed").to_string();
    let replica = said["replica_id"].as_str().expect("a name");
    assert!(header.contains(&format!(";{replica};")), "{header}");
    assert!(heard.next().now_or_never().is_none(), "nobody else is");

    // Not even a replica has answers sent where no router waits.
    let elsewhere = question("payments.transfer", "{}");
    let mut transfers = world.listen("payments.transfer").await;
    let header = world.peer.sign(elsewhere);
    world.peer.publish(elsewhere, Some(&header)).await;
    let mut answers = world.peer.ask("{}").await;
    within("it was read", answers.next()).await;
    assert!(transfers.next().now_or_never().is_none());
}

#[tokio::test]
async fn somebody_has_an_old_key() {
    let world = World::start().await;
    let url = world.database.url();
    let settings = [("nats.url", world.nats.url()), ("database.url", &url)];
    let other = RouterProcess::start(&settings).await;
    let mut database = world.database.connect().await;
    let mut peers = vec![Peer::of(&world.router, &world.nats, "first").await];
    for (number, name) in [(2, "second"), (3, "third")] {
        let a_day_later = "UPDATE fleet_keys SET created_at = created_at - 86400001";
        database.execute(a_day_later).await.expect("written");
        let answer = world.gateway.admin("reload", &json!({})).await;
        assert_eq!(answer["ok"], true, "{answer}");
        let key = eventually(LIMIT, "both have a new key", async || {
            let keys = [keys_of(&world.router), keys_of(&other)];
            let newest = keys[0].first()?.clone();
            (newest["number"] == number && keys[0] == keys[1]).then_some(newest)
        });
        let key = key.await;
        let before = keys_of(&other)[1]["id"].as_str().expect("an id").to_owned();
        peers.push(Peer::with_key(&key, &world.nats, name).await);
        let rows = database.fetch_all("SELECT number FROM fleet_keys ORDER BY number");
        let rows = rows.await.expect("rows");
        let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(numbers, [number - 1, number], "made once");

        // The new one and the one before are heard by both, which sign with the latter for a
        // minute.
        let last_two = peers.iter().rev().take(2);
        for peer in last_two {
            let signed_with = heard_by(peer).await;
            assert_eq!(
                signed_with,
                [before.clone(), before.clone()],
                "{}",
                peer.name
            );
        }
    }
    // Of the first only the name is left.
    let body = peers[0].open("model", SUBJECT, TEN_MINUTES);
    peers[0].hint(&body).await;
    world.until_refused("hint", "unknown_key", 1.0).await;
    let counted = async || (refused(&other, "hint", "unknown_key").await == 1.0).then_some(());
    eventually(LIMIT, "the other refuses it too", counted).await;
    assert!(!world.is_suspicious().await);
}

/// The ids of the keys with which replicas sign their answers to a question of the peer, up to two.
async fn heard_by(peer: &Peer) -> Vec<String> {
    let mut answers = peer.ask("{}").await;
    let mut keys = Vec::new();
    while keys.len() < 2 {
        let answer = within("another one answers", answers.next()).await;
        let headers = answer.expect("an answer").headers.expect("it is signed");
        let header = headers.get(Peer::HEADER).expect("it is signed").to_string();
        keys.push(header.split(';').nth(1).expect("a key").to_owned());
    }
    keys
}

#[tokio::test]
async fn strangers_speak_while_the_database_is_away() {
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    let mut world = World::start_at(database, &url).await;
    let copy = world.router.state_path("registry-snapshot.json");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&copy.metadata().expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds keys");

    proxy.cut().await;
    world.router.respawn();
    world.router.until_ready().await;
    let said = world.router.readiness().await.expect("an answer");
    assert_eq!(said["registry_source"], "disk", "{said}");
    let body = world.peer.open("model", SUBJECT, TEN_MINUTES);
    world.peer.publish(hint(&body), None).await;
    world.until_refused("hint", "unsigned", 1.0).await;
    assert!(!world.is_suspicious().await);

    world.peer.hint(&body).await;
    let heard = async || {
        world.gateway.route(&request("chat")).await;
        world.is_suspicious().await.then_some(())
    };
    eventually(LIMIT, "a true hint is heard", heard).await;
    // And it signs what it says itself.
    let mut questions = world.listen(Peer::QUESTIONS).await;
    assert_eq!(world.replicas().await, 1);
    let question = within("it asks", questions.next()).await.expect("asked");
    let headers = question.headers.expect("it is signed");
    assert!(headers.get(Peer::HEADER).is_some());
}
