//! "Who listens?": every program that speaks the NATS service protocol tells its subjects, and who
//! asks collects what comes in a short time.

use std::collections::BTreeSet;
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
    endpoints: Vec<EndpointInfo>,
}

#[derive(Debug, Deserialize)]
struct EndpointInfo {
    subject: String,
}

impl Listeners for Fleet {
    fn heard_on(&self, subjects: BTreeSet<String>) -> BoxFuture<'_, Option<BTreeSet<String>>> {
        async move {
            let mut heard = Heard {
                missing: subjects,
                found: BTreeSet::new(),
                is_answered: false,
            };
            let deadline = Instant::now() + GATHER;
            let _late = timeout_at(deadline, self.ask_services(&mut heard)).await;
            heard.is_answered.then_some(heard.found)
        }
        .boxed()
    }
}

impl Fleet {
    /// Collects until all are found, for as long as it is not dropped.
    async fn ask_services(&self, heard: &mut Heard) {
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
            heard.is_answered = true;
            let is_nobody = message.status == Some(StatusCode::NO_RESPONDERS);
            heard.take(&message.payload);
            programs += 1;
            if is_nobody || heard.missing.is_empty() || programs == MOST_PROGRAMS {
                return;
            }
        }
    }
}

/// What was heard so far.
#[derive(Debug)]
struct Heard {
    missing: BTreeSet<String>,
    found: BTreeSet<String>,
    is_answered: bool,
}

impl Heard {
    fn take(&mut self, payload: &[u8]) {
        let Ok(program) = serde_json::from_slice::<ServiceInfo>(payload) else {
            return;
        };
        for endpoint in &program.endpoints {
            let is_heard = |subject: &String| covers(&endpoint.subject, subject);
            self.found
                .extend(self.missing.extract_if(.., |subject| is_heard(subject)));
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
    fn the_endpoints_of_a_program_are_found_by_their_subjects() {
        let mut heard = Heard {
            missing: ["b.v1", "b.v2"].map(str::to_owned).into(),
            found: BTreeSet::new(),
            is_answered: false,
        };
        heard.take(
            br#"{"name": "b", "endpoints": [{"name": "e", "subject": "b.v2"}, {"subject": "c"}]}"#,
        );
        heard.take(b"{}");
        heard.take(b"no JSON");
        assert_eq!(heard.missing, ["b.v1".to_owned()].into());
        assert_eq!(heard.found, ["b.v2".to_owned()].into());
    }
}
