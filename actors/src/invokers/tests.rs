use ractor::Actor;

use super::*;
use crate::invoker::InvokerActor;
use crate::registry::RegistrySettings;
use crate::testing::{MemoryStore, MemoryTransport, content};
use crate::tree::{Child, Root};
use beamline_domain::target::breaker::State;

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
