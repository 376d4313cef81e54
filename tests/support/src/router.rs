//! `beamline-router serve` as a process, configured by its environment.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::copied::router_settings;
use super::process::{LogPipe, Process, program};
use super::{LIMIT, eventually, free_port};

#[derive(Debug)]
pub struct RouterProcess {
    process: Process,
    http: SocketAddr,
    directory: TempDir,
    settings: Vec<(String, String)>,
    pipe: Option<LogPipe>,
}

impl RouterProcess {
    /// Starts a router, with keys such as `nats.url` and their values, and waits until it is ready.
    /// Without `database.url` it has an SQLite database of its own, and without a setting of the
    /// section `admin` everybody may administrate.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut router = Self::spawn(settings);
        router.until_ready().await;
        router
    }

    /// Starts a router without waiting for it.
    pub fn spawn(settings: &[(&str, &str)]) -> Self {
        Self::spawn_with(settings, &[])
    }

    /// The same with a log that goes through a pipe.
    pub fn spawn_piped(settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        Self::launch(settings, variables, true)
    }

    /// The same with environment variables that are no settings.
    pub fn spawn_with(settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        Self::launch(settings, variables, false)
    }

    /// The same in a control group from its first moment on.
    pub fn spawn_in(group: &Path, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let group = group.display().to_string();
        let variables: Vec<_> = variables
            .iter()
            .copied()
            .chain([(GROUP, group.as_str())])
            .collect();
        Self::launch(settings, &variables, false)
    }

    fn launch(settings: &[(&str, &str)], variables: &[(&str, &str)], piped: bool) -> Self {
        let directory = TempDir::new().expect("a directory");
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let database = format!(
            "sqlite://{}",
            directory.path().join("registry.db").display()
        );
        let own = [
            ("http.listen", http.to_string()),
            (
                "router.state_dir",
                directory.path().join("state").display().to_string(),
            ),
            ("database.url", database),
            ("telemetry.log_format", "human".to_owned()),
        ];
        let has_address = settings.iter().any(|(key, _)| *key == "database.url_file");
        let own = own
            .into_iter()
            .filter(|(key, _)| !(has_address && *key == "database.url"));
        // Most tests are about something else than who may administrate.
        let says_who = settings.iter().any(|(key, _)| key.starts_with("admin."));
        let open = (!says_who).then(|| ("admin.open", "true".to_owned()));
        let given = settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        let other = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let logs_in = settings.iter().any(|(key, _)| *key == "nats.user");
        let login = router_settings().into_iter().filter(|_| !logs_in);
        let settings = own
            .chain(open)
            .chain(login)
            .chain(given)
            .map(|(key, value)| (variable(key), value));
        let settings: Vec<_> = settings.chain(other).collect();
        let (command, log) = command(&settings, &directory);
        let (process, pipe) = if piped {
            let (process, pipe) = Process::start_piped(command, log);
            (process, Some(pipe))
        } else {
            (Process::start(command, log), None)
        };
        Self {
            process,
            http,
            directory,
            settings,
            pipe,
        }
    }

    /// Again with the same settings, state and ports, after it has ended or been killed.
    pub fn respawn(&mut self) {
        self.process.kill();
        let (command, log) = command(&self.settings, &self.directory);
        self.process = Process::start(command, log);
    }

    pub async fn until_ready(&mut self) {
        let http = self.http;
        let process = &mut self.process;
        eventually(LIMIT, "the router is ready", async || {
            if let Some(status) = process.ended() {
                panic!("the router ended ({status}): {}", process.log());
            }
            get(http, "/readyz")
                .await
                .filter(|(status, _)| *status == 200)
        })
        .await;
    }

    /// Status and body of a GET, or nothing if nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.http, path).await
    }

    /// What `/readyz` says, with its status as `code`, or nothing if nobody answers.
    pub async fn readiness(&self) -> Option<Value> {
        let (code, body) = self.get("/readyz").await?;
        let mut said: Value = serde_json::from_str(&body).ok()?;
        said["code"] = code.into();
        Some(said)
    }

    /// The value of a setting, such as `http.listen`.
    pub fn setting(&self, key: &str) -> &str {
        let name = variable(key);
        let last = self.settings.iter().rev().find(|(set, _)| *set == name);
        last.map_or("", |(_, value)| value)
    }

    /// A file that it keeps, if it is there.
    pub fn state_file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.state_path(name)).ok()
    }

    /// Where it keeps that.
    pub fn state_path(&self, name: &str) -> PathBuf {
        self.directory.path().join("state").join(name)
    }

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn alive(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Not one file more than it has open now.
    pub fn take_files(&self) {
        let open: HashSet<_> = std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("our own child")
            .map(|file| {
                file.expect("a descriptor")
                    .file_name()
                    .into_string()
                    .expect("a number")
            })
            .collect();
        // A new one takes the lowest free number, which must be below the limit.
        let free = (0..)
            .map(|number: u32| number.to_string())
            .find(|number| !open.contains(number));
        self.limit_files(&free.expect("a free number"));
    }

    /// How many files it may have open from now on; those that it has stay.
    pub fn limit_files(&self, most: &str) {
        let mut prlimit = Command::new("prlimit");
        let done = prlimit
            .args([
                "--pid",
                &self.id().to_string(),
                &format!("--nofile={most}:"),
            ])
            .output();
        assert!(
            done.is_ok_and(|done| done.status.success()),
            "prlimit of util-linux"
        );
    }

    pub fn sigterm(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// As a terminal that is closed.
    pub fn hang_up(&self) {
        self.process.signal(Signal::SIGHUP);
    }

    pub async fn pause(&self) {
        self.process.pause().await;
    }

    pub fn resume(&self) {
        self.process.resume();
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        self.process.wait_exit(limit).await
    }

    /// Of a router whose log goes through a pipe.
    pub fn log_pipe(&self) -> &LogPipe {
        self.pipe.as_ref().expect("a pipe")
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Says that a router is started with SIGHUP ignored, as `nohup` does.
pub const IGNORES_HANGUP: &str = "TEST_IGNORES_HANGUP";

/// Names the control group of a router, also when it is started again.
const GROUP: &str = "TEST_CONTROL_GROUP";

/// And the file of its log.
fn command(settings: &[(String, String)], directory: &TempDir) -> (Command, PathBuf) {
    let router = program("beamline-router");
    let mut command = Command::new(&router);
    if let Some((_, group)) = settings.iter().find(|(name, _)| name == GROUP) {
        // The shell goes into the group and becomes the router.
        command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"", group]);
        command.arg(router);
    } else if settings.iter().any(|(name, _)| name == IGNORES_HANGUP) {
        command = Command::new("sh");
        command.args(["-c", "trap '' HUP && exec \"$0\" \"$@\""]);
        command.arg(router);
    }
    command
        .arg("serve")
        .current_dir(directory.path())
        .envs(settings.iter().map(|(name, value)| (name, value)));
    (command, directory.path().join("router.log"))
}

fn variable(key: &str) -> String {
    format!("BEAMLINE__{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// Status and body of a GET, or nothing if nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        // By the older protocol nobody cuts the answer into chunks.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    };
    timeout(LIMIT, asking).await.ok().flatten()
}
