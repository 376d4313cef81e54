use ractor::Actor;

use super::*;
use crate::invoker::InvokerActor;
use crate::registry::RegistrySettings;
use crate::testing::{MemoryStore, MemoryTransport, content};
use crate::tree::{Child, Root};
use beamline_contract::record::{BreakerOverrides, ExtensionRecord, Kind};
use beamline_domain::record;
use beamline_domain::target::breaker::{Outcome, Settings};

const SUBJECT: &str = "p.ext.pre.clean.v1";
const LEFT: Duration = Duration::from_secs(5);

fn invokers() -> Invokers {
    let content = content(&[r#"{"id": "clean", "type": "pre"}"#], &[]);
    let settings = RegistrySettings {
        poll_interval: Duration::from_secs(5),
        disk_copy: None,
    };
    let registry = Registry::new(
        MemoryStore::new(content.clone()),
        settings,
        Metrics::default(),
        Some((content, true)),
    );
    Invokers::new(MemoryTransport::new(), registry, Metrics::default())
}

#[test]
fn a_hint_about_what_nobody_calls_here_makes_no_state() {
    let invokers = invokers();
    assert!(
        !invokers.heard_open("nobody", SUBJECT, LEFT),
        "no such extension"
    );
    assert!(
        !invokers.heard_open("clean", "p.ext.pre.other.v1", LEFT),
        "nor such a subject of it"
    );
    assert!(!invokers.heard_open("clean", SUBJECT, Duration::ZERO));
    assert_eq!(invokers.peers().remembers(), 0);
    assert!(invokers.heard_open("clean", SUBJECT, LEFT));
    assert!(invokers.find("clean").is_none());

    let invoker = Invoker::among(Arc::clone(invokers.peers()), "clean");
    let reading = invoker.target(&SUBJECT.into()).breaker();
    assert!(
        reading.suspect_until.is_some(),
        "its first call finds what was heard"
    );
    assert_eq!(
        (reading.state, invokers.peers().remembers()),
        (State::Closed, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_a_fallen_supervisor_has_left_behind_is_replaced() {
    let invokers = invokers();
    let invoker = invokers.insert("clean");
    let arguments = (Arc::clone(&invoker), Metrics::default(), None);
    let (left, _ending) = Actor::spawn(None, InvokerActor, arguments).await.unwrap();
    invoker.address.filled_by(&left);
    let for_actor = invokers.clone();
    let child = Child::essential(invokers.node(), move || (InvokersActor, for_actor.clone()));
    let _root = Root::start(Node::root(), vec![child], Metrics::default())
        .await
        .unwrap();
    let replaced = async {
        while invoker.address.cell().unwrap().get_id() == left.get_id() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LEFT, replaced).await.expect("another actor");
    left.kill();
    tokio::time::sleep(LEFT).await;
    assert_eq!(invoker.address.node().view().status, "running");
}

const V1: &str = "p.ext.pre.clean.v1";
const V2: &str = "p.ext.pre.clean.v2";

/// Its version v2 takes calls by these rules, as JSON.
fn versions(rules: &str) -> ExtensionRecord {
    let versions = format!(r#"[{{"version": "v2", "routing_rules": {rules}}}]"#);
    let json =
        format!(r#"{{"id": "clean", "type": "pre", "version": "v1", "versions": {versions}}}"#);
    record::parse(&json, "p").expect("a record")
}

/// Calls of one version, all with this end.
fn call(invoker: &Invoker, subject: &str, outcome: Outcome) {
    let settings = Settings::new(
        Kind::Pre,
        Duration::from_secs(1),
        &BreakerOverrides::default(),
    );
    for _ in 0..9 {
        if let Ok(permit) = invoker
            .target(&subject.into())
            .permit(Mode::Normal, &settings)
        {
            permit.finish(outcome, Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_what_the_version_has_that_the_next_call_meets() {
    let invoker = Invoker::new("clean");
    let met = |rules: &str| {
        let breakers = invoker.breakers(&versions(rules));
        (breakers.whole.state.as_str(), breakers.at)
    };
    let open_at_v2 = ("open", Some("v2".to_owned()));
    assert_eq!(met("{}"), ("closed", None), "nobody has called it");
    call(&invoker, V1, Outcome::Success);
    call(&invoker, V2, Outcome::NoResponders);
    for (rules, want) in [
        ("{}", &open_at_v2),
        (r#"{"percent": 5}"#, &open_at_v2),
        (r#"{"percent": 0}"#, &("closed", None)),
    ] {
        assert_eq!(met(rules), *want, "{rules}");
    }
    let by_version = invoker.breakers(&versions("{}")).versions;
    let states: Vec<_> = by_version
        .iter()
        .map(|(version, reading)| (version.as_str(), reading.state.as_str()))
        .collect();
    assert_eq!(states, [("v1", "closed"), ("v2", "open")]);

    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(met("{}"), ("half_open", Some("v2".to_owned())));
    call(&invoker, V1, Outcome::Success);
    assert_eq!(
        met(r#"{"percent": 5}"#),
        ("closed", None),
        "nobody asks for the other one any more"
    );
}
