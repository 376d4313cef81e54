//! `up`: one command starts everything, other commands find it, and nothing is left when it ends,
//! however it ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use beamline_test_support::{LIMIT, Process, Up, eventually, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How often the provider was called since the start.
fn provider_calls(up: &Up) -> Value {
    let health = up.run(&["--output", "json", "ext", "health", "mock_provider"]);
    let health: Value = serde_json::from_slice(&health.stdout).expect("JSON");
    health["health"]["mock_provider"]["requests"].clone()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn one_command_starts_everything_and_an_interrupt_leaves_nothing() {
    let mut up = Up::start().await;
    assert_eq!(
        up.programs().len(),
        5,
        "nats-server and four extensions: {:?}",
        up.programs()
    );
    eventually(LIMIT, "the summary", async || {
        up.process
            .log()
            .contains("request --tenant demo")
            .then_some(())
    })
    .await;

    let answer = up.run(&["request", "--tenant", "demo", "Hello   there"]);
    assert!(
        answer.status.success() && said(&answer).contains("Hello there"),
        "{}",
        said(&answer)
    );
    let origin = up.run(&["config", "print"]);
    assert!(
        said(&origin).contains(".beamline/up.json of the running `up`"),
        "{}",
        said(&origin)
    );
    let second = up.run(&["up"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        said(&second).contains("running already"),
        "{}",
        said(&second)
    );

    up.process.signal(Signal::SIGINT);
    assert!(
        up.process.wait_exit(LIMIT).await.success(),
        "{}",
        up.process.log()
    );
    up.nothing_is_left().await;
    let state = up.directory.path().join(".beamline");
    assert!(!state.join("up.json").exists());
    assert!(state.join("registry.db").exists());
    let nobody = up.run(&["--timeout", "1s", "--nats-url", &up.nats_url, "tree"]);
    assert_eq!(nobody.status.code(), Some(5), "{}", said(&nobody));
}

#[tokio::test]
async fn the_login_outlives_a_run_and_a_shell_that_was_told_has_it() {
    let up = Up::start().await;
    let password = up.variable("NATS_PASSWORD");
    let url = up.variable("NATS_URL");
    let directory = up.stop().await;
    let up = Up::start_in(directory, &[]).await;
    assert_eq!(up.variable("NATS_PASSWORD"), password);
    assert_eq!(up.variable("NATS_URL"), url);

    let mut extension = up.told(program("beamline-mock-provider"));
    extension
        .args(["--id", "my_own"])
        // Of other work on this machine.
        .env("NATS_CREDS", "/nowhere.creds")
        .env("NATS_PASSWORD_FILE", "/nowhere.password");
    let extension = Process::start(extension, up.directory.path().join("own.log"));
    let client = up.client().await;
    eventually(LIMIT, "the extension answers", async || {
        let pinged = client.request("$SRV.PING.my_own", "".into()).await;
        pinged.ok()
    })
    .await;
    drop(extension);

    let elsewhere = TempDir::new().expect("a directory");
    let mut command = up.told(program("beamline-router"));
    command
        .args(["request", "--tenant", "demo", "hi"])
        .current_dir(elsewhere.path());
    let answer = command.output().expect("it runs");
    assert!(answer.status.success(), "{}", said(&answer));
}

#[tokio::test]
async fn whoever_names_the_server_in_the_same_folder_need_not_log_in() {
    let up = Up::start().await;
    let named = up.run(&[
        "--nats-url",
        &up.nats_url,
        "--set",
        "nats.token=of-another",
        "ext",
        "update",
        "mock_provider",
        "--retry",
        "0",
    ]);
    assert!(named.status.success(), "{}", said(&named));
}

#[tokio::test]
async fn the_next_run_has_the_same_port_and_keeps_the_logs_of_the_last() {
    let up = Up::start().await;
    let first = up.nats_url.clone();
    let directory = up.stop().await;
    let up = Up::start_in(directory, &[]).await;
    assert_eq!(up.nats_url, first);
    let logs = up.directory.path().join(".beamline/logs");
    let earlier = fs::read_to_string(logs.join("earlier/1/beamline-router.log"));
    assert!(
        earlier
            .expect("the log of the last run")
            .contains("stopped")
    );

    let directory = up.stop().await;
    let port = first.rsplit(':').next().expect("a port").to_owned();
    let taken = TcpListener::bind(format!("127.0.0.1:{port}")).expect("it is free");
    let up = Up::start_in(directory, &[]).await;
    assert_ne!(up.nats_url, first);
    let says = format!("port {port} of earlier runs is taken");
    eventually(LIMIT, "the summary", async || {
        up.process.log().contains(&says).then_some(())
    })
    .await;
    drop(taken);
    let directory = up.stop().await;
    let up = Up::start_in(directory, &["--nats-port", &port]).await;
    assert_eq!(up.nats_url, first);
}

#[tokio::test]
async fn a_changed_registry_gets_no_request_of_ups_own() {
    let up = Up::start().await;
    assert_eq!(
        provider_calls(&up),
        1,
        "the first one shows that all of it works"
    );
    let changed = up.run(&["ext", "update", "mock_provider", "--retry", "0"]);
    assert!(changed.status.success(), "{}", said(&changed));
    let directory = up.stop().await;
    let up = Up::start_in(directory, &[]).await;
    assert_eq!(provider_calls(&up), 0);
    let answer = up.run(&["request", "--tenant", "demo", "hi"]);
    assert!(answer.status.success(), "{}", said(&answer));
}

#[tokio::test]
async fn a_program_that_dies_is_started_again() {
    let up = Up::start().await;
    let works = || {
        up.run(&["request", "--tenant", "demo", "hi"])
            .status
            .success()
    };
    for program in ["nats-server", "beamline-mock-provider"] {
        let find = || {
            up.programs()
                .into_iter()
                .find(|(_, line)| line.contains(program))
                .map(|(pid, _)| pid)
        };
        let killed = find().expect("it runs");
        kill(Pid::from_raw(killed), Signal::SIGKILL).expect("it is there");
        eventually(LIMIT, program, async || find().filter(|pid| *pid != killed)).await;
        eventually(LIMIT, "requests are answered again", async || {
            works().then_some(())
        })
        .await;
    }
    let log = up.process.log();
    for said in [
        "ended by itself",
        "started again",
        "connected to NATS again",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_one() {
    let mut up = Up::start().await;
    up.process.kill();
    up.nothing_is_left().await;
    assert!(
        up.directory.path().join(".beamline/up.json").exists(),
        "nobody could remove it"
    );
    let origin = up.run(&["config", "print"]);
    assert!(
        !said(&origin).contains("up.json"),
        "nobody believes it: {}",
        said(&origin)
    );
}

#[tokio::test]
async fn without_extensions_only_nats_and_the_router_run() {
    let directory = TempDir::new().expect("a directory");
    let mut command = Command::new(program("beamline-router"));
    command
        .args([
            "--output",
            "json",
            "up",
            "--no-demo",
            "--http-listen",
            "127.0.0.1:0",
        ])
        .current_dir(directory.path());
    let mut process = Process::start(command, directory.path().join("up.log"));
    let document: Value = eventually(LIMIT, "the summary", async || {
        let log = process.log();
        serde_json::from_str(log.get(log.find('{')?..)?).ok()
    })
    .await;
    assert_eq!(document["extensions"], serde_json::json!([]));
    assert!(Path::new(&directory.path().join(".beamline/logs/nats-server.log")).exists());
    assert!(
        !directory
            .path()
            .join(".beamline/logs/beamline-pii-guard.log")
            .exists()
    );
    process.signal(Signal::SIGTERM);
    assert!(
        process.wait_exit(LIMIT).await.success(),
        "{}",
        process.log()
    );
}
