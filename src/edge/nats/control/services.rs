//! "Who listens?": every program that speaks the NATS service protocol tells its subjects, and who
//! asks collects what comes in a short time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::StatusCode;
use beamline_contract::discovery::CONFIG_SCHEMA;
use beamline_contract::fields::Fields;
use beamline_domain::document::shorten;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::Fleet;
use crate::admin::{Heard, Listener, Listeners, Whom, covers};

const INFO: &str = "$SRV.INFO";
/// A write waits for as long when somebody is missing.
const GATHER: Duration = Duration::from_millis(300);
/// When nobody is missing and everybody is to be heard: for as long somebody else may be about to
/// answer.
const QUIET: Duration = Duration::from_millis(100);
/// Programs whose answers are read, and of each so many subscriptions.
const MOST_PROGRAMS: usize = 10_000;
const MOST_ENDPOINTS: usize = 1_000;

/// As far as it matters here.
#[derive(Debug, Deserialize)]
struct ServiceInfo {
    #[serde(default)]
    name: String,
    #[serde(default)]
    endpoints: Vec<EndpointInfo>,
}

#[derive(Debug, Deserialize)]
struct EndpointInfo {
    subject: String,
    #[serde(default)]
    metadata: Option<Fields>,
}

/// What is still waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Whoever answers in time.
    Fully,
    /// Nobody in particular: whoever answers soon after the last.
    ABit,
    No,
}

impl Listeners for Fleet {
    fn heard_on(&self, subjects: BTreeSet<String>, whom: Whom) -> BoxFuture<'_, Option<Heard>> {
        async move {
            let mut missing = subjects.clone();
            let mut heard = Heard::default();
            let is_answered = self
                .gather_services(|program| {
                    for subject in hear(program, &subjects, &mut heard) {
                        missing.remove(&subject);
                    }
                    match (missing.is_empty(), whom) {
                        (false, Whom::Anybody | Whom::Everybody) => Waits::Fully,
                        (true, Whom::Everybody) => Waits::ABit,
                        (true, Whom::Anybody) => Waits::No,
                    }
                })
                .await;
            is_answered.then_some(heard)
        }
        .boxed()
    }

    fn services_on(
        &self,
        subjects: BTreeSet<String>,
    ) -> BoxFuture<'_, Option<BTreeMap<String, BTreeSet<String>>>> {
        async move {
            let mut services = BTreeMap::new();
            let is_answered = self
                .gather_services(|program| {
                    note_services(&program, &subjects, &mut services);
                    Waits::Fully
                })
                .await;
            is_answered.then_some(services)
        }
        .boxed()
    }
}

impl Fleet {
    /// Hands every program that answers in time to `take`, until that waits for no more. False when
    /// nobody answered at all.
    async fn gather_services(&self, mut take: impl FnMut(ServiceInfo) -> Waits + Send) -> bool {
        let mut is_answered = false;
        let deadline = Instant::now() + GATHER;
        let asking = self.ask_services(&mut is_answered, &mut take, deadline);
        let _late = timeout_at(deadline, asking).await;
        is_answered
    }

    /// Goes on for as long as it is not dropped.
    async fn ask_services(
        &self,
        is_answered: &mut bool,
        take: &mut (impl FnMut(ServiceInfo) -> Waits + Send),
        deadline: Instant,
    ) {
        let connection = &self.shared.connection;
        if !connection.is_connected() {
            return;
        }
        let client = connection.client();
        let inbox = connection.new_inbox();
        let Ok(mut answers) = client.subscribe(inbox.clone()).await else {
            return;
        };
        let asked = client.publish_with_reply(INFO, inbox, Vec::new().into());
        if asked.await.is_err() {
            return;
        }
        let mut until = deadline;
        for _ in 0..MOST_PROGRAMS {
            let Ok(Some(message)) = timeout_at(until, answers.next()).await else {
                return;
            };
            *is_answered = true;
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return;
            }
            let Ok(program) = serde_json::from_slice(&message.payload) else {
                continue;
            };
            until = match take(program) {
                Waits::Fully => deadline,
                Waits::ABit => deadline.min(Instant::now() + QUIET),
                Waits::No => return,
            };
        }
    }
}

/// Takes what a program says of the wanted subjects, and answers which of them it listens on.
fn hear(program: ServiceInfo, wanted: &BTreeSet<String>, heard: &mut Heard) -> Vec<String> {
    let name = shorten(&program.name);
    let mut subjects = Vec::new();
    for endpoint in program.endpoints.into_iter().take(MOST_ENDPOINTS) {
        let schema = endpoint.metadata.and_then(|all| all.text(CONFIG_SCHEMA));
        let listener = Listener {
            program: name.clone(),
            subject: endpoint.subject,
            config_schema: schema.map(Into::into),
        };
        subjects.extend(heard.take(listener, wanted));
    }
    subjects
}

/// Notes the name of a program at each subject that it listens on.
fn note_services(
    program: &ServiceInfo,
    subjects: &BTreeSet<String>,
    services: &mut BTreeMap<String, BTreeSet<String>>,
) {
    for subject in subjects {
        let mut endpoints = program.endpoints.iter();
        if endpoints.any(|endpoint| covers(&endpoint.subject, subject)) {
            let names = services.entry(subject.clone()).or_default();
            names.insert(program.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(json: &str) -> ServiceInfo {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_endpoints_of_a_program_are_found_by_their_subjects() {
        let wanted = ["b.v1", "b.v2"].map(str::to_owned).into();
        let mut heard = Heard::default();
        let one = program(
            r#"{"name": "b", "endpoints": [{"name": "e", "subject": "b.v2"}, {"subject": "c"}]}"#,
        );
        assert_eq!(hear(one, &wanted, &mut heard), ["b.v2"]);
        assert_eq!(hear(program("{}"), &wanted, &mut heard), [""; 0]);
        assert!(heard.is_on("b.v2") && !heard.is_on("b.v1"));
    }

    #[test]
    fn a_schema_is_a_text_in_the_metadata_of_an_endpoint() {
        let wanted: BTreeSet<String> = ["a".to_owned()].into();
        for (metadata, schema) in [
            (r#"{"beamline.config_schema": "{}"}"#, Some("{}")),
            (r#"{"beamline.config_schema": {}}"#, None),
            (r#"{"other": "{}"}"#, None),
            ("null", None),
        ] {
            let mut heard = Heard::default();
            let info = format!(r#"{{"endpoints": [{{"subject": "a", "metadata": {metadata}}}]}}"#);
            hear(program(&info), &wanted, &mut heard);
            let listeners = heard.on("a");
            let published = listeners.first().expect("a listener");
            assert_eq!(published.config_schema.as_deref(), schema, "{metadata}");
        }
    }

    #[test]
    fn programs_are_known_by_the_subjects_of_their_endpoints() {
        let subjects = ["b.v1", "b.v2", "b.v3"].map(str::to_owned).into();
        let mut services = BTreeMap::new();
        for json in [
            r#"{"name": "b", "endpoints": [{"name": "e", "subject": "b.v2"}, {"subject": "c"}]}"#,
            r#"{"name": "all", "endpoints": [{"subject": "b.>"}]}"#,
            "{}",
        ] {
            note_services(&program(json), &subjects, &mut services);
        }
        let names = |subject: &str| {
            let names = services.get(subject).into_iter().flatten();
            names.map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (names("b.v1"), names("b.v2")),
            ("all".into(), "all b".into())
        );
    }
}
