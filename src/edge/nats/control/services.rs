//! "Who listens?": every program that speaks the NATS service protocol tells its subjects, and who
//! asks collects what comes in a short time.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use beamline_contract::discovery::CONFIG_SCHEMA;
use beamline_contract::fields::Fields;
use beamline_domain::document::shorten;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::Fleet;
use crate::admin::{Heard, Listener, Listeners, Whom};

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
    name: Option<String>,
    #[serde(default)]
    endpoints: Vec<EndpointInfo>,
}

#[derive(Debug, Deserialize)]
struct EndpointInfo {
    subject: String,
    #[serde(default)]
    metadata: Option<Fields>,
}

impl Listeners for Fleet {
    fn heard_on(&self, subjects: BTreeSet<String>, whom: Whom) -> BoxFuture<'_, Option<Heard>> {
        async move {
            let mut gathering = Gathering::of(subjects, whom);
            let _late = timeout_at(gathering.until, self.ask_services(&mut gathering)).await;
            gathering.is_answered.then_some(gathering.heard)
        }
        .boxed()
    }
}

impl Fleet {
    /// Collects what is wanted, for as long as it is not dropped.
    async fn ask_services(&self, gathering: &mut Gathering) {
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
        for _ in 0..MOST_PROGRAMS {
            let Some(answer) = gathering.next(&mut answers).await else {
                return;
            };
            gathering.is_answered = true;
            gathering.take(&answer.payload);
            let is_nobody = answer.status == Some(StatusCode::NO_RESPONDERS);
            if is_nobody || gathering.is_done() {
                return;
            }
        }
    }
}

/// What was heard so far.
#[derive(Debug)]
struct Gathering {
    wanted: BTreeSet<String>,
    missing: BTreeSet<String>,
    heard: Heard,
    whom: Whom,
    until: Instant,
    is_answered: bool,
}

impl Gathering {
    fn of(wanted: BTreeSet<String>, whom: Whom) -> Self {
        Self {
            missing: wanted.clone(),
            wanted,
            heard: Heard::default(),
            whom,
            until: Instant::now() + GATHER,
            is_answered: false,
        }
    }

    fn is_done(&self) -> bool {
        self.missing.is_empty() && self.whom == Whom::Anybody
    }

    /// `None` when nothing more is waited for.
    async fn next(&self, answers: &mut Subscriber) -> Option<Message> {
        let mut until = self.until;
        if self.missing.is_empty() {
            until = until.min(Instant::now() + QUIET);
        }
        timeout_at(until, answers.next()).await.ok().flatten()
    }

    fn take(&mut self, payload: &[u8]) {
        let Ok(program) = serde_json::from_slice::<ServiceInfo>(payload) else {
            return;
        };
        let name = shorten(program.name.as_deref().unwrap_or("a program"));
        for endpoint in program.endpoints.into_iter().take(MOST_ENDPOINTS) {
            let schema = endpoint.metadata.and_then(|all| all.text(CONFIG_SCHEMA));
            let listener = Listener {
                program: name.clone(),
                subject: endpoint.subject,
                config_schema: schema.map(Into::into),
            };
            for subject in self.heard.take(listener, &self.wanted) {
                self.missing.remove(&subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_endpoints_of_a_program_are_found_by_their_subjects() {
        let wanted = ["b.v1", "b.v2"].map(str::to_owned).into();
        let mut gathering = Gathering::of(wanted, Whom::Anybody);
        gathering.take(
            br#"{"name": "b", "endpoints": [{"name": "e", "subject": "b.v2"}, {"subject": "c"}]}"#,
        );
        gathering.take(b"{}");
        gathering.take(b"no JSON");
        assert_eq!(gathering.missing, ["b.v1".to_owned()].into());
        assert!(gathering.heard.is_on("b.v2") && !gathering.is_done());
        gathering.take(br#"{"endpoints": [{"subject": "b.*", "metadata": null}]}"#);
        assert!(gathering.is_done());
    }

    #[tokio::test]
    async fn a_schema_is_a_text_in_the_metadata_of_an_endpoint() {
        let wanted: BTreeSet<String> = ["a".to_owned()].into();
        for (metadata, schema) in [
            (r#"{"beamline.config_schema": "{}"}"#, Some("{}")),
            (r#"{"beamline.config_schema": {}}"#, None),
            (r#"{"other": "{}"}"#, None),
            ("null", None),
        ] {
            let mut gathering = Gathering::of(wanted.clone(), Whom::Everybody);
            let info = format!(r#"{{"endpoints": [{{"subject": "a", "metadata": {metadata}}}]}}"#);
            gathering.take(info.as_bytes());
            let heard = gathering.heard.on("a");
            let published = heard.first().expect("a listener").config_schema.as_deref();
            assert_eq!(published, schema, "{metadata}");
        }
    }
}
