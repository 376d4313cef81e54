//! `beamline-router up` in a directory of its own, and commands that are typed there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use async_nats::{Client, ConnectOptions};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, program, without_foreign};
use super::{LIMIT, eventually};

#[derive(Debug)]
pub struct Up {
    pub process: Process,
    pub directory: TempDir,
    pub nats_url: String,
}

impl Up {
    pub async fn start() -> Self {
        Self::start_in(TempDir::new().expect("a directory"), &[]).await
    }

    pub async fn start_in(directory: TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(program("beamline-router"));
        command
            .args(["up", "--http-listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(directory.path());
        let mut process = Process::start(command, directory.path().join("up.log"));
        let announcement = directory.path().join(".beamline/up.json");
        let running: Value = eventually(LIMIT, "everything answers", async || {
            assert!(process.ended().is_none(), "up ended: {}", process.log());
            serde_json::from_slice(&fs::read(&announcement).ok()?).ok()
        })
        .await;
        let nats_url = running["nats_url"].as_str().expect("an address").to_owned();
        Self {
            process,
            directory,
            nats_url,
        }
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join(".beamline")
    }

    /// Another command in the same directory, without any flag that says where the router is.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("beamline-router"));
        command.args(arguments).current_dir(self.directory.path());
        without_foreign(&mut command);
        command.output().expect("it runs")
    }

    /// A program in a shell that was told how to reach what runs here, and stands elsewhere.
    pub fn told(&self, program: impl AsRef<Path>) -> Command {
        let mut shell = Command::new("sh");
        without_foreign(&mut shell);
        shell
            .args(["-c", r#". "$0" && exec "$@""#])
            .arg(self.state().join("env"))
            .arg(program.as_ref());
        shell
    }

    /// A variable that such a shell has.
    pub fn variable(&self, name: &str) -> String {
        let said = self.told("printenv").arg(name).output().expect("a shell");
        let said = String::from_utf8(said.stdout).expect("text");
        said.trim_end_matches('\n').to_owned()
    }

    /// Somebody who has the login.
    pub async fn client(&self) -> Client {
        let user = self.variable("NATS_USER");
        let password = self.variable("NATS_PASSWORD");
        ConnectOptions::with_user_and_password(user, password)
            .connect(&self.nats_url)
            .await
            .expect("the login is right")
    }

    /// All that `up` has started, with its command line. Each of them has the address of NATS or
    /// the state directory there.
    pub fn children(&self) -> Vec<(i32, String)> {
        let place = self.directory.path().canonicalize().expect("a directory");
        let place = place.display().to_string();
        let numbers = fs::read_dir("/proc").expect("processes").flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let lines = numbers.filter_map(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, line))
        });
        lines
            .filter(|(_, line)| line.contains(&place) || line.contains(&self.nats_url))
            .collect()
    }

    /// The programs, without the shell that watches over one of them.
    pub fn programs(&self) -> Vec<(i32, String)> {
        let mut programs = self.children();
        programs.retain(|(_, line)| !line.starts_with("sh\0"));
        programs
    }

    /// Stops everything, and answers the directory that it leaves behind.
    pub async fn stop(mut self) -> TempDir {
        self.process.signal(Signal::SIGTERM);
        let ended = self.process.wait_exit(LIMIT).await;
        assert!(ended.success(), "{}", self.process.log());
        self.nothing_is_left().await;
        self.directory
    }

    pub async fn nothing_is_left(&self) {
        eventually(LIMIT, "every program has ended", async || {
            self.children().is_empty().then_some(())
        })
        .await;
    }
}
