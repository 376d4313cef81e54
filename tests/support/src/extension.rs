//! Extensions for a test: the reference programs as processes, and those that the test writes
//! itself with the SDK.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use beamline_extension::{Extension, Running, Settings};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::copied::{extension_variables, settings_for};
use super::process::{Process, program};
use super::{LIMIT, Nats, eventually, within};

/// Serves an extension inside the test; it answers when this returns, until it is stopped or
/// dropped.
pub async fn serve(nats: &Nats, extension: Extension) -> Running {
    serve_with(nats, extension, |_| {}).await
}

/// The same with settings of its own.
pub async fn serve_with(
    nats: &Nats,
    extension: Extension,
    change: impl FnOnce(&mut Settings),
) -> Running {
    let mut settings = settings_for(nats);
    change(&mut settings);
    within("the extension starts", extension.serve(&settings))
        .await
        .expect("it can be started")
}

/// A program such as `beamline-mock-provider`.
#[derive(Debug)]
pub struct ExtensionProcess {
    process: Process,
    _directory: TempDir,
}

impl ExtensionProcess {
    /// Starts a program that stands beside the router, and waits until it answers under its id.
    pub async fn start(nats: &Nats, name: &str, id: &str, flags: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut command = Command::new(program(name));
        command.args(["--nats-url", nats.url()]).args(flags);
        command.envs(extension_variables());
        let process = Process::start(command, directory.path().join(name));
        let client = nats.client().await;
        let subject = format!("$SRV.PING.{id}");
        eventually(LIMIT, &format!("{name} answers"), async || {
            client.request(subject.clone(), "".into()).await.ok()
        })
        .await;
        Self {
            process,
            _directory: directory,
        }
    }

    pub fn sigterm(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Alive, subscribed, and silent.
    pub async fn pause(&self) {
        self.process.pause().await;
    }

    pub fn resume(&self) {
        self.process.resume();
    }

    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        self.process.wait_exit(limit).await
    }
}
