//! How the programs end: by a signal, with their parent, before NATS was there, and with settings
//! that cannot work.

use beamline_test_support::calls::call;
use beamline_test_support::{LIMIT, Nats, until};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::program::{MOCK_PROVIDER, PII_GUARD, Program};

#[tokio::test]
async fn a_signal_lets_running_calls_finish() {
    for signal in ["TERM", "INT"] {
        let server = Nats::start().await;
        let client = server.client().await;
        let mut program = Program::start(MOCK_PROVIDER, server.url(), &["--latency-ms", "300"]);
        program.until_ready(&client, "mock_provider").await;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.unwrap();
        let subject = "beamline.provider.mock_provider.v1";
        client
            .publish_with_reply(subject, inbox, r#"{"prompt":"a"}"#.into())
            .await
            .unwrap();
        // Messages keep their order on the way: when this is answered, the call before it has
        // arrived.
        call(&client, "$SRV.PING.mock_provider", &[], "").await;

        program.signal(signal);
        let answer = timeout(LIMIT, answers.next())
            .await
            .unwrap_or_else(|_| panic!("{signal}: {}", program.log()))
            .unwrap();
        assert!(
            answer
                .payload
                .starts_with(br#"{"provider_id":"mock_provider","output":"echo: a""#),
            "{signal}"
        );
        assert_eq!(
            program.ended().await.code(),
            Some(0),
            "{signal}: {}",
            program.log()
        );
    }
}

#[tokio::test]
async fn a_program_ends_with_its_parent() {
    let server = Nats::start().await;
    let client = server.client().await;
    let mut program = Program::start(PII_GUARD, server.url(), &[]);
    program.until_ready(&client, "pii_guard").await;
    drop(program.process.stdin.take());
    assert_eq!(program.ended().await.code(), Some(0), "{}", program.log());
}

#[tokio::test]
async fn a_program_waits_for_nats_and_can_be_stopped_meanwhile() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", free.local_addr().unwrap());
    drop(free);
    let mut program = Program::start(PII_GUARD, &url, &[]);
    until("it says that it waits", || {
        program.log().contains("waiting for the NATS server")
    })
    .await;
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0), "{}", program.log());
}

#[tokio::test]
async fn settings_that_cannot_work_end_with_a_reason() {
    for (flags, code, reason) in [
        (&["--version-tag", "v1.2"][..], 78, "version tag"),
        (&["--queue-group", "a b"], 78, "queue group"),
        (
            &["--creds-file", "/nonexistent/file.creds"],
            78,
            "credentials file",
        ),
        (&["--max-in-flight", "0"], 2, "--max-in-flight"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
    ] {
        let mut program = Program::start(PII_GUARD, "nats://127.0.0.1:9", flags);
        assert_eq!(program.ended().await.code(), Some(code), "{flags:?}");
        assert!(
            program.log().contains(reason),
            "{flags:?}: {}",
            program.log()
        );
    }
    let mut program = Program::start(
        MOCK_PROVIDER,
        "nats://127.0.0.1:9",
        &["--failure-rate", "1.5"],
    );
    assert_eq!(program.ended().await.code(), Some(2));
}
