//! "Who listens?": every program that speaks the NATS service protocol tells its subjects, and who
//! asks collects what comes in a short time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::StatusCode;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::Fleet;
use crate::admin::Listeners;

const INFO: &str = "$SRV.INFO";
/// A write waits for as long when somebody is missing.
const GATHER: Duration = Duration::from_millis(300);
/// Programs whose answers are read.
const MOST_PROGRAMS: usize = 10_000;

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
}

impl Listeners for Fleet {
    fn heard_on(&self, subjects: BTreeSet<String>) -> BoxFuture<'_, Option<BTreeSet<String>>> {
        async move {
            let mut missing = subjects;
            let mut found = BTreeSet::new();
            let is_answered = self
                .gather_services(|program| {
                    for endpoint in &program.endpoints {
                        let is_heard = |subject: &String| covers(&endpoint.subject, subject);
                        found.extend(missing.extract_if(.., |subject| is_heard(subject)));
                    }
                    missing.is_empty()
                })
                .await;
            is_answered.then_some(found)
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
                    false
                })
                .await;
            is_answered.then_some(services)
        }
        .boxed()
    }
}

impl Fleet {
    /// Hands every program that answers in time to `take`, until that has enough. False when nobody
    /// answered at all.
    async fn gather_services(&self, mut take: impl FnMut(ServiceInfo) -> bool + Send) -> bool {
        let mut is_answered = false;
        let deadline = Instant::now() + GATHER;
        let _late = timeout_at(deadline, self.ask_services(&mut is_answered, &mut take)).await;
        is_answered
    }

    /// Goes on for as long as it is not dropped.
    async fn ask_services(
        &self,
        is_answered: &mut bool,
        take: &mut (impl FnMut(ServiceInfo) -> bool + Send),
    ) {
        let connection = &self.shared.connection;
        if !connection.is_connected() {
            return;
        }
        let client = connection.client();
        let inbox = client.new_inbox();
        let Ok(mut answers) = client.subscribe(inbox.clone()).await else {
            return;
        };
        let asked = client.publish_with_reply(INFO, inbox, Vec::new().into());
        if asked.await.is_err() {
            return;
        }
        let mut programs = 0;
        while let Some(message) = answers.next().await {
            *is_answered = true;
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return;
            }
            let has_enough = match serde_json::from_slice(&message.payload) {
                Ok(program) => take(program),
                Err(_not_a_service) => false,
            };
            programs += 1;
            if has_enough || programs == MOST_PROGRAMS {
                return;
            }
        }
    }
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

/// Whether a subscription to `pattern` gets what is sent to `subject`.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match tokens.next() {
            Some(_) if part == ">" => return true,
            Some(token) if part == "*" || part == token => {}
            Some(_) | None => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_covers_its_subjects() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.b", "a.c", false),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.>", "a", false),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
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
            let program: ServiceInfo = serde_json::from_str(json).unwrap();
            note_services(&program, &subjects, &mut services);
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
