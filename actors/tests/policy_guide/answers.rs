//! Every answer in the guide is what a router in memory answers under the policy before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::children;
use beamline_actors::door::Door;
use beamline_actors::incoming::Incoming;
use beamline_actors::invokers::Invokers;
use beamline_actors::metrics::Metrics;
use beamline_actors::ports::{Store, TransportError};
use beamline_actors::registry::{Registry, RegistrySettings};
use beamline_actors::services::PipelineSettings;
use beamline_actors::sessions::Sessions;
use beamline_actors::testing::answer_to;
use beamline_actors::testing::{MemorySessions, MemoryStore, MemoryTransport, content};
use beamline_actors::tree::{Node, Root};
use beamline_actors::watch::WatchSettings;
use beamline_contract::record::Kind;
use beamline_domain::admission::AdmissionSettings;
use beamline_domain::policy::Policy;
use beamline_domain::record;
use beamline_domain::request::plan::PlanLimits;
use beamline_domain::request::{RequestHeaders, RequestKind, RequestLimits};
use beamline_markdown::{Item, items};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::GUIDE;

/// What the guide has said so far: a policy, and within a section records and a request.
#[derive(Debug, Default)]
struct Told {
    policy: String,
    records: BTreeMap<String, String>,
    request: Option<String>,
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_what_a_router_answers() {
    let mut told = Told::default();
    let mut count = 0;
    for item in items(GUIDE) {
        let block = match item {
            Item::Block(block) => block,
            Item::Section => {
                told = Told {
                    policy: told.policy,
                    ..Told::default()
                };
                continue;
            }
            Item::Table(_) => continue,
        };
        let marks: Vec<&str> = block.marks.iter().map(String::as_str).collect();
        match marks.as_slice() {
            ["json", "policy"] => told.policy = block.text,
            ["json", "extension"] => {
                let id = record::parse(&block.text, "beamline").unwrap().id;
                told.records.insert(id, block.text);
            }
            ["json", "request"] => told.request = Some(block.text),
            ["json", "answer", scene] => {
                let want: Value = serde_json::from_str(&block.text).unwrap();
                let got = Stage::set(&told, scene).await.answer(&told, scene).await;
                if let Err(place) = is_within(&want, &got, "") {
                    panic!(
                        "line {}, {scene}: {place} differs; the whole answer is {got:#}",
                        block.line
                    );
                }
                count += 1;
            }
            _ => {}
        }
    }
    assert!(count >= 9, "the guide has lost its answers");
}

/// A router and what surrounds it.
struct Stage {
    bus: Arc<MemoryTransport>,
    sessions: Arc<MemorySessions>,
    door: Door,
    root: Root,
}

impl Stage {
    /// The extensions of the policy, with the records that the guide shows and plain ones for the
    /// others.
    async fn set(told: &Told, scene: &str) -> Self {
        let policy = Policy::parse(&told.policy).unwrap();
        let mut records = told.records.clone();
        for (id, kind, _) in policy.references() {
            let plain = json!({"id": id, "type": kind.as_str()}).to_string();
            records.entry(id.to_owned()).or_insert(plain);
        }
        let records: Vec<&str> = records.values().map(String::as_str).collect();
        let store = MemoryStore::new(content(&records, &[("acme", "default", &told.policy)]));
        let loaded = store.load().await.unwrap();
        let metrics = Metrics::default();
        let bus = MemoryTransport::new();
        for extension in &loaded.extensions {
            extension
                .subjects("beamline")
                .iter()
                .for_each(|subject| bus.answers(subject, usual(extension.kind)));
        }
        let sessions = MemorySessions::new();
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let registry = Registry::new(store, settings, metrics.clone(), Some((loaded, true)));
        let invokers = Invokers::new(bus.clone(), registry.clone(), metrics.clone());
        sessions.set_away(scene == "session-of-one-replica");
        let shared = Sessions::new(sessions.clone());
        let door = Door::new(
            as_deployed(),
            registry.clone(),
            invokers.clone(),
            shared,
            metrics.clone(),
            std::sync::Arc::new(beamline_actors::story::Unobserved),
        );
        let children = children::core(
            &registry,
            &invokers,
            &door,
            WatchSettings::default(),
            &metrics,
        );
        let root = Root::start(Node::root(), children, metrics).await.unwrap();
        let stage = Self {
            bus,
            sessions,
            door,
            root,
        };
        stage.play(scene);
        stage
    }

    /// What the sentence before the answer says.
    fn play(&self, scene: &str) {
        let openai = "beamline.provider.openai_gpt4.v1";
        let anthropic = "beamline.provider.anthropic_claude.v1";
        let is_503 = |subject| {
            self.bus
                .answers(subject, r#"{"error": {"code": "503", "message": "down"}}"#)
        };
        match scene {
            "head-is-gone" => self.bus.fails(openai, TransportError::NoResponders),
            "both-models-are-down" | "budget-is-used-up" => {
                [openai, anthropic].into_iter().for_each(is_503)
            }
            "provider-as-slow-as-the-request" | "provider-with-a-short-time" => {
                self.bus.hangs(openai)
            }
            "explained" => is_503(openai),
            "first-validator-rejects" => {
                self.bus.answers(
                    "beamline.ext.validate.pii_guard.v1",
                    r#"{"status": "reject", "reason": "pii_detected"}"#,
                );
                self.bus.hangs("beamline.ext.validate.tone_check.v1");
            }
            "no-weight" | "second-of-a-session" | "session-of-one-replica" => {}
            other => panic!("nobody knows what happens in {other}"),
        }
    }

    async fn answer(self, told: &Told, scene: &str) -> Value {
        let plain = json!({"version": "1", "tenant_id": "acme", "request_id": "r-1", "message": {"payload": "hello"}});
        let body = told.request.clone().unwrap_or_else(|| plain.to_string());
        let first = self.ask(&body).await;
        let answer = if scene == "second-of-a-session" {
            self.ask(&body).await
        } else {
            first
        };
        assert!(
            self.root.stop(Duration::from_secs(60)).await,
            "the router stops"
        );
        drop(self.sessions);
        answer
    }

    async fn ask(&self, body: &str) -> Value {
        let (answer, answered) = oneshot::channel();
        self.door.admit(Incoming {
            edge: "nats",
            kind: RequestKind::Route,
            headers: RequestHeaders::default(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            received: Instant::now(),
            responder: answer_to(move |outgoing| answer.send(outgoing.body).unwrap()),
        });
        let body = timeout(Duration::from_secs(300), answered)
            .await
            .expect("an answer")
            .expect("an answer");
        serde_json::from_slice(&body).unwrap()
    }
}

/// The defaults of docs/configuration.md.
fn as_deployed() -> PipelineSettings {
    PipelineSettings {
        admission: AdmissionSettings::limited_to(1024),
        environment: "dev".into(),
        requests: RequestLimits {
            default_timeout: Duration::from_secs(30),
            max_timeout: Duration::from_secs(120),
            allowed_tenants: None,
        },
        plans: PlanLimits {
            subject_prefix: "beamline".into(),
            max_extensions: 32,
        },
        extra_attempts: 6,
    }
}

fn usual(kind: Kind) -> &'static str {
    match kind {
        Kind::Pre | Kind::Post => "{}",
        Kind::Validator => r#"{"status": "ok"}"#,
        Kind::Provider => r#"{"output": "an answer"}"#,
    }
}

/// Objects may have more than is shown; lists may not. The error is the place of the first
/// difference.
fn is_within(want: &Value, got: &Value, place: &str) -> Result<(), String> {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            let found = |key: &String| got.get(key).unwrap_or(&Value::Null);
            want.iter().try_for_each(|(key, value)| {
                is_within(value, found(key), &format!("{place}/{key}"))
            })
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            let mut both = want.iter().zip(got).enumerate();
            both.try_for_each(|(index, (want, got))| {
                is_within(want, got, &format!("{place}/{index}"))
            })
        }
        (want, got) if want == got => Ok(()),
        _ => Err(place.to_owned()),
    }
}
