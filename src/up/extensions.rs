//! The reference extensions as programs of their own, speaking the same NATS contract as any other
//! extension.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::Client;
use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::error::UpError;
use super::login::{self, Login};
use super::process::{Spec, Supervised};
use super::state::StateDir;

/// One of the programs that come with the router.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    pub id: &'static str,
    program: &'static str,
}

/// In the order of a pipeline.
pub const REFERENCE: [Reference; 4] = [
    Reference {
        id: "normalize_text",
        program: "beamline-normalize-text",
    },
    Reference {
        id: "pii_guard",
        program: "beamline-pii-guard",
    },
    Reference {
        id: "mock_provider",
        program: "beamline-mock-provider",
    },
    Reference {
        id: "mask_pii",
        program: "beamline-mask-pii",
    },
];

/// Would lead an extension to another server or under another name, when they are set for other
/// work on this machine.
const ELSEWHERE: [&str; 7] = [
    "NATS_CREDS",
    "NATS_PASSWORD",
    "NATS_INBOX_PREFIX",
    "BEAMLINE_EXTENSION_SUBJECT",
    "BEAMLINE_EXTENSION_VERSION",
    "BEAMLINE_QUEUE_GROUP",
    "BEAMLINE_PROVIDER_ID",
];
/// An extension drains for ten seconds at most.
const GRACE: Duration = Duration::from_secs(12);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A program that comes with the router, and where it is.
#[derive(Debug)]
pub(super) struct Found {
    reference: Reference,
    path: PathBuf,
}

/// The programs are built and installed together with the router, so they are found beside it.
pub(super) fn find() -> Result<Vec<Found>, UpError> {
    let own = std::env::current_exe().map_err(|error| {
        UpError(format!(
            "this program does not find itself: {error}. Use --no-demo."
        ))
    })?;
    let directory = own.parent().unwrap_or(Path::new("."));
    find_in(directory)
}

fn find_in(directory: &Path) -> Result<Vec<Found>, UpError> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for reference in REFERENCE {
        let path = directory.join(reference.program);
        if path.is_file() {
            found.push(Found { reference, path });
        } else {
            missing.push(reference.program);
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(UpError(format!(
        "{} must stand beside beamline-router in {}. Build all of them with \
         `cargo build --workspace`, or use --no-demo.",
        missing.join(" and "),
        directory.display()
    )))
}

/// Starts one program, and keeps it running.
pub(super) fn start(
    found: Found,
    nats_url: &str,
    subject_prefix: &str,
    login: &Login,
    state: &StateDir,
) -> Result<Supervised, UpError> {
    let name = found.reference.program;
    let spec = Spec {
        name,
        program: found.path,
        arguments: vec![
            "--nats-url".into(),
            nats_url.into(),
            "--subject-prefix".into(),
            subject_prefix.into(),
        ],
        environment: vec![
            ("BEAMLINE_EXIT_ON_STDIN_EOF", "1".into()),
            ("BEAMLINE_LOG_FORMAT", "human".into()),
            ("NATS_USER", login::USER.into()),
            ("NATS_PASSWORD_FILE", login.password_file.clone().into()),
        ],
        withheld: &ELSEWHERE,
        log: state.log_file(name),
        grace: GRACE,
        guarded: false,
    };
    match spec.spawn() {
        Ok(running) => Ok(Supervised::keep(running, spec)),
        Err(error) => Err(UpError(format!(
            "{} cannot be started: {error}.",
            spec.program.display()
        ))),
    }
}

/// Waits until each of them answers.
pub(super) async fn until_all_answer(nats: &Client, state: &StateDir) -> Result<(), UpError> {
    let answers = REFERENCE.map(|reference| until_answer(nats, state, reference));
    try_join_all(answers).await?;
    Ok(())
}

async fn until_answer(
    nats: &Client,
    state: &StateDir,
    reference: Reference,
) -> Result<(), UpError> {
    let answer = timeout(ANSWER_LIMIT, until_one_answers(nats, reference.id)).await;
    answer.map_err(|_elapsed| {
        UpError(format!(
            "{} does not answer within {} s. Its log is {}.",
            reference.program,
            ANSWER_LIMIT.as_secs(),
            state.log_file(reference.program).display()
        ))
    })
}

/// Without anybody on the subject, NATS answers at once that nobody is there.
async fn until_one_answers(nats: &Client, id: &str) {
    let subject = format!("$SRV.PING.{id}");
    while nats.request(subject.clone(), "".into()).await.is_err() {
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        for reference in &REFERENCE[1..] {
            std::fs::write(directory.path().join(reference.program), "").expect("written");
        }
        let missing = find_in(directory.path())
            .expect_err("one is missing")
            .to_string();
        assert!(
            missing.starts_with("beamline-normalize-text must stand beside"),
            "{missing}"
        );
        assert!(missing.contains("cargo build --workspace"), "{missing}");
    }
}
