//! Every policy and every record in the documents is saved, and run by the real programs.

use std::collections::BTreeMap;

use beamline_domain::policy::Policy;
use beamline_domain::record;
use beamline_extension::Kind;
use beamline_markdown::blocks;
use beamline_test_support::{ExtensionProcess, LIMIT, Routing, Stub, eventually, request_with};
use serde_json::{Value, json};

const DOCUMENTS: [(&str, &str); 4] = [
    (
        "docs/routing-policy.md",
        include_str!("../docs/routing-policy.md"),
    ),
    ("docs/pii.md", include_str!("../docs/pii.md")),
    (
        "extensions/README.md",
        include_str!("../extensions/README.md"),
    ),
    ("README.md", include_str!("../README.md")),
];

const PROGRAMS: [(&str, &str, Kind); 5] = [
    ("beamline-normalize-text", "normalize_text", Kind::Pre),
    ("beamline-pii-guard", "pii_guard", Kind::Validator),
    ("beamline-mask-pii", "mask_pii", Kind::Post),
    ("beamline-mask-pii", "mask_pii_in", Kind::Pre),
    ("beamline-mock-provider", "mock_provider", Kind::Provider),
];

/// A router with the reference programs, and whoever else the documents name.
struct World {
    routing: Routing,
    programs: Vec<ExtensionProcess>,
    others: BTreeMap<String, Stub>,
    policies: usize,
    records: usize,
}

impl World {
    async fn start() -> Self {
        let mut world = Self {
            routing: Routing::start(&[]).await,
            programs: Vec::new(),
            others: BTreeMap::new(),
            policies: 0,
            records: 0,
        };
        for (_, id, kind) in PROGRAMS {
            world.serve(id, kind, "v1").await;
        }
        world
    }

    /// The reference program under a version.
    async fn serve(&mut self, id: &str, kind: Kind, version: &str) {
        let program = PROGRAMS.iter().find(|(_, known, _)| *known == id);
        let (program, ..) = program.expect("a reference program");
        let flags = ["--version-tag", version];
        let process = ExtensionProcess::start(&self.routing.nats, program, id, &flags).await;
        self.programs.push(process);
        // Whoever answered first may have been another version of it.
        let subject = beamline_contract::subject::extension("beamline", kind, id, version);
        let client = self.routing.gateway.client();
        eventually(LIMIT, &format!("{subject} answers"), async || {
            client.request(subject.clone(), "{}".into()).await.ok()
        })
        .await;
    }

    /// Somebody who is no program of ours.
    async fn invent(&mut self, id: &str, kind: Kind) {
        if is_ours(id) || self.others.contains_key(id) {
            return;
        }
        let answer = match kind {
            Kind::Pre | Kind::Post => "{}",
            Kind::Validator => r#"{"status": "ok"}"#,
            Kind::Provider => r#"{"output": "an answer"}"#,
        };
        let gateway = &self.routing.gateway;
        let enabled = gateway.admin("enable_extension", &json!({"id": id})).await;
        if enabled["ok"] != true {
            gateway.register(kind.as_str(), id, json!({})).await;
        }
        let stub = Stub::saying(&self.routing.nats, kind, id, answer).await;
        self.others.insert(id.to_owned(), stub);
    }

    async fn record(&mut self, place: &str, text: &str) {
        let read = record::parse(text, "beamline").expect("a record");
        if is_ours(&read.id) {
            for version in read.versions.iter().filter(|version| version.enabled) {
                self.serve(&read.id, read.kind, &version.version).await;
            }
        }
        let body: Value = serde_json::from_str(text).expect("JSON");
        let gateway = &self.routing.gateway;
        let known = gateway
            .admin("get_extension", &json!({"id": read.id}))
            .await;
        let operation = if known["ok"] == true {
            "update_extension"
        } else {
            "create_extension"
        };
        let saved = gateway.admin(operation, &body).await;
        assert_eq!(saved["ok"], true, "{place}: {saved}");
        self.records += 1;
    }

    async fn policy(&mut self, place: &str, text: &str) {
        let read = Policy::parse(text).expect("a policy");
        for (id, kind, _) in read.references() {
            self.invent(id, kind).await;
        }
        self.policies += 1;
        let id = read.policy_id.as_deref().unwrap_or("example");
        let document: Value = serde_json::from_str(text).expect("JSON");
        let put = json!({"tenant_id": "acme", "policy_id": id, "policy": document});
        let saved = self.routing.gateway.admin("put_policy", &put).await;
        assert_eq!(saved["ok"], true, "{place}: {saved}");
        let context = json!({"lang": "en", "masked": true, "tier": "gold"});
        let asked = request_with(id, json!({"context": context}));
        let answer = self.routing.gateway.route(&asked).await;
        let reports = answer["extensions"].as_array().expect("reports");
        let ours = reports
            .iter()
            .filter(|report| report["id"].as_str().is_some_and(is_ours));
        for report in ours {
            let is_fine = ["success", "skipped"].contains(&report["status"].as_str().unwrap_or(""));
            assert!(is_fine, "{place}: {answer:#}");
        }
    }
}

fn is_ours(id: &str) -> bool {
    PROGRAMS.iter().any(|(_, known, _)| *known == id)
}

#[tokio::test]
async fn every_example_runs_with_the_real_programs() {
    let mut world = World::start().await;
    for (document, text) in DOCUMENTS {
        for block in blocks(text) {
            let place = format!("{document}:{}", block.line);
            let marks: Vec<&str> = block.marks.iter().map(String::as_str).collect();
            match marks.as_slice() {
                ["json", "policy"] | ["json", "policy", "same"] => {
                    world.policy(&place, &block.text).await;
                }
                ["json", "extension"] => world.record(&place, &block.text).await,
                _ => {}
            }
        }
    }
    assert!(
        world.policies > 25 && world.records > 5,
        "examples are gone"
    );
}
