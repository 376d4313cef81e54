//! One of the programs as a child process, killed with its test.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};

use beamline_extension::async_nats::Client;
use beamline_test_support::calls::call;
use beamline_test_support::{LIMIT, eventually};
use tempfile::TempDir;

pub(crate) const NORMALIZE_TEXT: &str = env!("CARGO_BIN_EXE_beamline-normalize-text");
pub(crate) const PII_GUARD: &str = env!("CARGO_BIN_EXE_beamline-pii-guard");
pub(crate) const MASK_PII: &str = env!("CARGO_BIN_EXE_beamline-mask-pii");
pub(crate) const MOCK_PROVIDER: &str = env!("CARGO_BIN_EXE_beamline-mock-provider");

pub(crate) struct Program {
    pub(crate) process: Child,
    directory: TempDir,
}

impl Program {
    /// Starts a program that watches its stdin, with this server and these flags.
    pub(crate) fn start(path: &str, url: &str, flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let process = Command::new(path)
            .args(["--nats-url", url])
            .args(flags)
            .env("BEAMLINE_EXIT_ON_STDIN_EOF", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, directory }
    }

    /// Waits until the service with this name can be seen.
    pub(crate) async fn until_ready(&self, client: &Client, name: &str) {
        let ready = async {
            let subject = format!("$SRV.PING.{name}");
            while client.request(subject.clone(), "".into()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, ready)
            .await
            .expect("the program starts");
        call(client, &format!("$SRV.INFO.{name}"), &[], "").await;
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let process = &mut self.process;
        eventually(LIMIT, "the program ends", async || {
            process.try_wait().unwrap()
        })
        .await
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
