//! A PostgreSQL server of the test's own, which can be killed, frozen, and started again on its
//! port.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};
use tempfile::TempDir;

use super::process::Process;
use super::{LIMIT, eventually, free_port};

#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    port: u16,
    data: PathBuf,
    _directory: Option<TempDir>,
}

/// After the order to end; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl PostgresServer {
    pub async fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().to_owned();
        let mut server = Self::start_in(&path).await;
        server._directory = Some(directory);
        server
    }

    /// With its data in a directory that the caller made.
    pub async fn start_in(directory: &Path) -> Self {
        let data = directory.join("data");
        if let Some((user, group)) = unprivileged() {
            chown(directory, Some(user), Some(group)).expect("a directory for PostgreSQL");
        }
        let mut initdb = command("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]);
        let made = initdb.current_dir(directory).output().expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = free_port();
        let process = launch(&data, port);
        let server = Self {
            process,
            port,
            data,
            _directory: None,
        };
        server.until_ready().await;
        server
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// For a proxy.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection past the router, to look and to meddle.
    pub async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url().parse().expect("an address");
        eventually(LIMIT, "PostgreSQL answers", async || {
            options.connect().await.ok()
        })
        .await
    }

    /// From now on everybody but `postgres` needs a password.
    pub async fn ask_for_passwords(&self) {
        let rules =
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(self.data.join("pg_hba.conf"), rules).expect("its rules");
        let mut connection = self.connect().await;
        let reloaded = connection.execute("SELECT pg_reload_conf()").await;
        reloaded.expect("the rules are read");
    }

    /// As by a crash; its other processes notice that by themselves.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// In an orderly way.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::SIGINT);
        self.process.wait_exit(LIMIT).await;
    }

    pub async fn restart(&mut self) {
        self.process.kill();
        // What is left of a killed server keeps a new one from starting for a moment.
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            self.process = launch(&self.data, self.port);
            if self.is_ready().await {
                return;
            }
        }
        panic!("PostgreSQL does not start again: {}", self.process.log());
    }

    /// The server and all of its processes.
    pub async fn pause(&self) {
        self.process.pause().await;
        self.signal_children(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal_children(Signal::SIGCONT);
        self.process.resume();
    }

    async fn until_ready(&self) {
        let options: PgConnectOptions = self.url().parse().expect("an address");
        eventually(LIMIT, "PostgreSQL answers", async || {
            options.connect().await.ok()
        })
        .await;
    }

    /// False when the process ended instead.
    async fn is_ready(&mut self) -> bool {
        let options: PgConnectOptions = self.url().parse().expect("an address");
        let process = &mut self.process;
        eventually(LIMIT, "PostgreSQL answers or ends", async || {
            if process.ended().is_some() {
                return Some(false);
            }
            options.connect().await.ok().map(|_| true)
        })
        .await
    }

    fn signal_children(&self, signal: Signal) {
        let path = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
        {
            let _ended_meanwhile = kill(Pid::from_raw(child), signal);
        }
    }
}

impl Drop for PostgresServer {
    /// In an orderly way, so that the shared memory goes with it.
    fn drop(&mut self) {
        if self.process.ended().is_some() {
            return;
        }
        self.resume();
        self.process.signal(Signal::SIGQUIT);
        let limit = Instant::now() + STOP_LIMIT;
        while self.process.ended().is_none() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn launch(data: &Path, port: u16) -> Process {
    let mut server = command("postgres");
    server
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    server.args([
        "-c",
        "unix_socket_directories=",
        "-c",
        "fsync=off",
        "-c",
        "max_connections=50",
    ]);
    server.current_dir(data);
    let log = std::env::temp_dir();
    Process::start(server, data.parent().unwrap_or(&log).join("log"))
}

/// PostgreSQL refuses to run as root.
fn command(program: &str) -> Command {
    let mut command = Command::new(find(program));
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command
}

/// Distributions keep the programs of the server out of the PATH.
fn find(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let found = versions
        .map(|version| version.path().join("bin").join(program))
        .find(|path| path.exists());
    found.unwrap_or_else(|| program.into())
}

/// User and group for PostgreSQL when the test runs as root.
fn unprivileged() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}
