//! PgBouncer in front of a PostgreSQL server, where it is installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::Process;
use super::{LIMIT, eventually, free_port};

#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl PgBouncer {
    /// In session mode, before a server such as `127.0.0.1:5432`, whose every database it opens as
    /// `postgres`. Nothing where it is not installed.
    pub async fn start(server: &str) -> Option<Self> {
        let version = Command::new("pgbouncer")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !version.is_ok_and(|status| status.success()) {
            println!("SKIPPED: pgbouncer is not installed (apt-get install pgbouncer)");
            return None;
        }
        let (host, port) = server.rsplit_once(':').expect("an address with a port");
        let directory = TempDir::new().expect("a directory");
        let listen = free_port();
        let settings = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = session\nignore_startup_parameters = extra_float_digits\n"
        );
        // It gives up the rights of root before it reads.
        let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755));
        open(directory.path()).expect("permissions");
        fs::write(settings_in(&directory), settings).expect("its settings");
        let bouncer = Self {
            process: launch(&directory),
            port: listen,
            directory,
        };
        bouncer.until_there().await;
        Some(bouncer)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As an update of its package does.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.directory);
        self.until_there().await;
    }

    async fn until_there(&self) {
        eventually(LIMIT, "PgBouncer listens", async || {
            TcpStream::connect(("127.0.0.1", self.port)).await.ok()
        })
        .await;
    }
}

fn settings_in(directory: &TempDir) -> PathBuf {
    directory.path().join("pgbouncer.ini")
}

fn launch(directory: &TempDir) -> Process {
    let mut command = Command::new("pgbouncer");
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        // It refuses to run as root.
        command.args(["-u", "nobody"]);
    }
    command.arg(settings_in(directory));
    Process::start(command, directory.path().join("log"))
}
