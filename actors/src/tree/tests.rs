use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::metrics::{Metrics, NodeLabel};

const SOON: Duration = Duration::from_secs(60);

async fn start(children: Vec<Child>) -> Result<Root, TreeNotStarted> {
    Root::start(Node::root(), children, Metrics::default()).await
}

fn worker(name: &'static str) -> Arc<Node> {
    Node::new(name, NodeKind::Worker)
}

fn blow_up() {
    panic!("planned panic");
}

/// A task that stays and can be made to panic.
fn fragile(node: &Arc<Node>) -> (Child, Arc<Notify>) {
    let blow = Arc::new(Notify::new());
    let for_task = Arc::clone(&blow);
    let child = Child::task(node, move || {
        let blow = Arc::clone(&for_task);
        async move {
            blow.notified().await;
            blow_up();
        }
    });
    (child, blow)
}

/// Retries until it holds.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let retrying = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, retrying).await.expect(what);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_comes_back_and_is_counted() {
    let node = worker("task");
    let (child, blow) = fragile(&node);
    let children = vec![child];
    let metrics = Metrics::default();
    let root = Root::start(Node::root(), children, metrics.clone())
        .await
        .unwrap();
    for panics in 1..=10 {
        blow.notify_one();
        eventually("it comes back", || {
            let view = node.view();
            (view.restarts, view.status) == (panics, "running".into())
        })
        .await;
    }
    let shown = root.tree().children.remove(0);
    assert_eq!(
        shown.last_exit.as_deref(),
        Some("the task panicked: planned panic")
    );
    let counted = metrics.restarts.get_or_create(&NodeLabel { node: "task" });
    assert_eq!(counted.get(), 10);
    drop(counted);
    assert!(root.stop(SOON).await, "it takes nobody down");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_returns_is_made_anew_unless_its_work_is_done() {
    let made = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let count = |which: usize| {
        let made = Arc::clone(&made);
        move || {
            // The first of each panics.
            let times = made[which].fetch_add(1, Ordering::SeqCst);
            async move { assert_ne!(times, 0, "planned panic") }
        }
    };
    let lasting = worker("lasting");
    let once = worker("once");
    let children = vec![
        Child::task(&lasting, count(0)),
        Child::task_until_done(&once, count(1)),
    ];
    let _root = start(children).await.unwrap();
    sleep(SOON).await;
    assert!(made[0].load(Ordering::SeqCst) > 10);
    assert_eq!(made[1].load(Ordering::SeqCst), 2, "the panic, and the work");
    let view = once.view();
    assert_eq!(
        (view.status, view.restarts, view.last_exit.as_deref()),
        ("stopped".into(), 1, Some("done"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_says_why_it_could_not_go_on() {
    let node = worker("task");
    let child = Child::task(&node, || async { Err::<(), _>("no room for it") });
    let _root = start(vec![child]).await.unwrap();
    eventually("it fails again and again", || node.view().restarts > 3).await;
    assert_eq!(node.view().last_exit.as_deref(), Some("no room for it"));
}

#[tokio::test]
async fn the_panic_of_a_thread_is_that_of_its_task() {
    let node = worker("thread");
    let child = Child::task(&node, || async { on_own_thread("test", blow_up).await });
    let _root = start(vec![child]).await.unwrap();
    eventually("it comes back", || node.view().restarts > 0).await;
    assert_eq!(
        node.view().last_exit.as_deref(),
        Some("the task panicked: planned panic")
    );
    let done = on_own_thread("test", || 7).await;
    assert_eq!(done.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_root_is_there_before_what_stands_below_it() {
    let node = Node::root();
    assert_eq!(node.view().status, "starting");
    let children = vec![Child::task(&worker("task"), std::future::pending::<()>)];
    let _root = Root::start(Arc::clone(&node), children, Metrics::default())
        .await
        .unwrap();
    assert_eq!(node.view().children[0].name, "task");
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_with_its_tree() {
    let held = Arc::new(());
    let for_task = Arc::clone(&held);
    let child = Child::task(&worker("task"), move || {
        let held = Arc::clone(&for_task);
        async move {
            std::future::pending::<()>().await;
            drop(held);
        }
    });
    let root = start(vec![child]).await.unwrap();
    assert!(root.stop(SOON).await);
    eventually("nothing is left of it", || Arc::strong_count(&held) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_starts_when_the_one_before_it_has_started() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let child = |name: &'static str, takes: u64| {
        let begun = Arc::clone(&log);
        let ready = Arc::clone(&log);
        Child::task_with_start(
            &worker(name),
            move || {
                begun.lock().push(format!("{name} begins"));
                std::future::pending::<()>()
            },
            move || {
                let ready = Arc::clone(&ready);
                async move {
                    sleep(Duration::from_millis(takes)).await;
                    ready.lock().push(format!("{name} is there"));
                }
            },
        )
    };
    let root = start(vec![child("slow", 500), child("fast", 1)])
        .await
        .unwrap();
    assert_eq!(
        *log.lock(),
        [
            "slow begins",
            "slow is there",
            "fast begins",
            "fast is there"
        ]
    );
    assert!(
        root.tree()
            .children
            .iter()
            .all(|child| child.status == "running")
    );
}

#[tokio::test(start_paused = true)]
async fn while_a_child_starts_anew_the_others_are_looked_after() {
    let stuck = worker("stuck");
    let blow = Arc::new(Notify::new());
    let for_task = Arc::clone(&blow);
    let starts = AtomicUsize::new(0);
    let slow = Child::task_with_start(
        &stuck,
        move || {
            let blow = Arc::clone(&for_task);
            async move {
                blow.notified().await;
                blow_up();
            }
        },
        move || {
            let hangs = starts.fetch_add(1, Ordering::SeqCst) > 0;
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
            }
        },
    );
    let other = worker("other");
    let (fragile, blow_other) = fragile(&other);
    let root = start(vec![slow, fragile]).await.unwrap();
    blow.notify_one();
    eventually("it starts anew", || stuck.view().status == "starting").await;
    blow_other.notify_one();
    eventually("the other one is back", || {
        (other.view().restarts, other.view().status) == (1, "running".into())
    })
    .await;
    assert_eq!(stuck.view().status, "starting", "and that one still hangs");
    let begun = Instant::now();
    assert!(root.stop(SOON).await, "it is killed when its time is over");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_start_at_first_is_the_end_of_the_start() {
    let later = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&later);
    let children = vec![
        Child::task_with_start(&worker("bad"), std::future::pending::<()>, || async {
            panic!("no room")
        }),
        Child::task(&worker("later"), move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>()
        }),
    ];
    assert_eq!(start(children).await.unwrap_err().to_string(), "no room");
    assert_eq!(later.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_below_the_root_looks_after_its_own() {
    let leaf = worker("leaf");
    let (child, blow) = fragile(&leaf);
    let metrics = Metrics::default();
    let beside = worker("beside");
    let children = vec![
        Child::supervisor("branch", vec![child], &metrics),
        Child::task(&beside, std::future::pending::<()>),
    ];
    let mut root = start(children).await.unwrap();
    eventually("all run", || leaf.view().status == "running").await;
    for panics in 1..=20 {
        blow.notify_one();
        eventually("the leaf is back", || {
            (leaf.view().restarts, leaf.view().status) == (panics, "running".into())
        })
        .await;
    }
    let tree = root.tree();
    let branch = &tree.children[0];
    assert_eq!((branch.name.as_str(), branch.restarts), ("branch", 0));
    assert_eq!(branch.children[0].name, "leaf");
    assert!(root.ended().now_or_never().is_none());
    assert!(root.stop(SOON).await);
    eventually("all have ended", || leaf.view().status == "stopped").await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_killed_has_not_done_its_work() {
    let node = worker("once");
    let child = Child::task_until_done(&node, std::future::pending::<()>);
    let _root = start(vec![child]).await.unwrap();
    node.kill();
    eventually("it is made anew", || {
        (node.view().restarts, &*node.view().status) == (1, "running")
    })
    .await;
    assert_eq!(node.view().last_exit.as_deref(), Some("killed"));
}

/// An actor that says when it has stopped, which takes it a while.
struct Leaving;

impl Actor for Leaving {
    type Msg = ();
    type State = (Arc<Node>, Arc<Mutex<Vec<String>>>);
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (node, left): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        node.started(myself.get_cell());
        Ok((node, left))
    }

    async fn post_stop(
        &self,
        _: ActorRef<()>,
        (node, left): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        sleep(Duration::from_millis(100)).await;
        left.lock().push(node.name().to_owned());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_branch_stop_in_reverse_order_before_what_stands_before_it() {
    let left = Arc::new(Mutex::new(Vec::new()));
    let leaving = |name: &'static str| {
        let left = Arc::clone(&left);
        let node = worker(name);
        Child::lasting(&Arc::clone(&node), move || {
            (Leaving, (Arc::clone(&node), Arc::clone(&left)))
        })
    };
    let branch = vec![leaving("first"), leaving("second"), leaving("third")];
    let branch = Child::supervisor("branch", branch, &Metrics::default());
    let root = start(vec![leaving("before"), branch]).await.unwrap();
    eventually("all run", || {
        let branch = root.tree().children.remove(1);
        branch.children.iter().all(|leaf| leaf.status == "running")
    })
    .await;
    assert!(root.stop(SOON).await);
    assert_eq!(*left.lock(), ["third", "second", "first", "before"]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_one_actor_takes_nothing_off_the_queue_of_the_next() {
    let node = worker("place");
    let address = Address::new(Arc::clone(&node));
    let spawn = async || {
        let arguments = (worker("actor"), Arc::default());
        Actor::spawn(None, Leaving, arguments).await.unwrap().0
    };
    let actor = spawn().await;
    let before = node.started(actor.get_cell());
    before.fetch_add(1, Ordering::Relaxed);
    address.filled_by(&spawn().await);
    before.fetch_sub(1, Ordering::Relaxed);
    address.send(()).unwrap();
    assert_eq!(node.view().queue_depth, 1);
}
