//! A NATS server of the test's own, which can be killed, started again on its port, and made to
//! hang.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::copied::{self, Part};
use super::process::Process;
use super::{LIMIT, eventually, within};

const CONFIGURATION: &str = "server.conf";

#[derive(Debug)]
pub struct Nats {
    process: Process,
    directory: TempDir,
    url: String,
}

impl Nats {
    /// With JetStream.
    pub async fn start() -> Self {
        Self::start_with(true, "").await
    }

    pub async fn start_without_jetstream() -> Self {
        Self::start_with(false, "").await
    }

    /// With JetStream, and what else the configuration file says.
    pub async fn start_configured(configuration: &str) -> Self {
        Self::start_with(true, configuration).await
    }

    /// With a configuration file that stands elsewhere, and what it takes from the environment.
    pub async fn start_from(file: &Path, variables: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a directory");
        std::fs::copy(file, directory.path().join(CONFIGURATION)).expect("a file");
        let (process, url) = launch_with(directory.path(), "-1", true, variables).await;
        Self {
            process,
            directory,
            url,
        }
    }

    async fn start_with(jetstream: bool, configuration: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let configuration = copied::configuration(configuration);
        std::fs::write(directory.path().join(CONFIGURATION), configuration).expect("a file");
        let (process, url) = launch(directory.path(), "-1", jetstream).await;
        Self {
            process,
            directory,
            url,
        }
    }

    /// Without JetStream: in a cluster it wants a majority.
    pub async fn start_in_cluster(configuration: &str) -> Self {
        Self::start_with(false, configuration).await
    }

    /// Two servers that know each other, without JetStream.
    pub async fn start_two() -> [Self; 2] {
        let cluster = "name: test, listen: \"127.0.0.1:-1\"";
        let first = Self::start_in_cluster(&format!("cluster {{ {cluster} }}")).await;
        let route = port_of(&first.process, first.directory.path(), "cluster").expect("a route");
        let joins = format!("cluster {{ {cluster}, routes: [\"{route}\"] }}");
        let second = Self::start_in_cluster(&joins).await;
        [first, second]
    }

    /// Takes other settings while it runs.
    pub fn reload(&self, configuration: &str) {
        let configuration = copied::configuration(configuration);
        std::fs::write(self.directory.path().join(CONFIGURATION), configuration).expect("a file");
        self.process.signal(Signal::SIGHUP);
    }

    /// Announces its end to its clients, takes no new ones, and ends after a while.
    pub fn lame_duck(&self) {
        self.process.signal(Signal::SIGUSR2);
    }

    /// Who is connected, by name. The configuration must have `http: "127.0.0.1:-1"`.
    pub async fn clients(&self) -> Option<Vec<String>> {
        let address = port_of(&self.process, self.directory.path(), "monitoring")?;
        let (_, body) = super::http_get(
            address.trim_start_matches("http://").parse().ok()?,
            "/connz",
        )
        .await?;
        let said: Value = serde_json::from_str(&body).ok()?;
        let names = said["connections"]
            .as_array()?
            .iter()
            .map(|client| client["name"].as_str().unwrap_or_default());
        Some(names.map(str::to_owned).collect())
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// For a proxy.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("nats://")
    }

    /// A connection that is made anew when the server comes back.
    pub async fn client(&self) -> async_nats::Client {
        Part::Tester
            .options()
            .connect(&self.url)
            .await
            .expect("the server answers")
    }

    /// A bare connection, which publishes what no client library writes.
    pub async fn bare(&self) -> BareClient {
        let mut stream = TcpStream::connect(self.address())
            .await
            .expect("a connection");
        let connect = "CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\n";
        stream.write_all(connect.as_bytes()).await.expect("written");
        BareClient { stream }
    }

    /// Publishes over such a connection.
    pub async fn publish_bare(&self, subject: &str, block: &str, body: &str) {
        let mut client = self.bare().await;
        client.publish(subject, block.as_bytes(), body).await;
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// On the same port, with JetStream. Of what it knew it keeps its JetStream store.
    pub async fn restart(&mut self) {
        self.kill();
        let port = self.url.rsplit(':').next().expect("a port").to_owned();
        (self.process, self.url) = launch(self.directory.path(), &port, true).await;
    }

    /// Connections stay open and nothing answers.
    pub async fn pause(&self) {
        self.process.pause().await;
    }

    pub fn resume(&self) {
        self.process.resume();
    }
}

/// A connection without a client library.
#[derive(Debug)]
pub struct BareClient {
    stream: TcpStream,
}

impl BareClient {
    /// Publishes a block of headers as it is, with a reply subject that can be answered, and waits
    /// until the server has taken it.
    pub async fn publish(&mut self, subject: &str, block: &[u8], body: &str) {
        let head = block.len();
        let total = block.len() + body.len();
        let publish = format!("HPUB {subject} _INBOX.some {head} {total}\r\n");
        let rest = format!("{body}\r\nPING\r\n");
        let message = [publish.as_bytes(), block, rest.as_bytes()].concat();
        self.stream.write_all(&message).await.expect("written");
        let mut heard = Vec::new();
        while !heard.windows(4).any(|window| window == b"PONG") {
            let read = within("the server takes it", self.stream.read_buf(&mut heard)).await;
            assert_ne!(
                read.expect("read"),
                0,
                "{}",
                String::from_utf8_lossy(&heard)
            );
        }
    }
}

async fn launch(directory: &Path, port: &str, jetstream: bool) -> (Process, String) {
    launch_with(directory, port, jetstream, &[]).await
}

async fn launch_with(
    directory: &Path,
    port: &str,
    jetstream: bool,
    variables: &[(&str, &str)],
) -> (Process, String) {
    let mut command = Command::new("nats-server");
    command.envs(variables.iter().copied());
    command.arg("-c").arg(directory.join(CONFIGURATION));
    command
        .args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"])
        .arg(directory);
    if jetstream {
        command.args(["-js", "-sd"]).arg(directory);
    }
    let mut process = Process::start(command, directory.join("log"));
    let url = eventually(LIMIT, "nats-server listens", async || {
        assert!(
            process.ended().is_none(),
            "nats-server ended: {}",
            process.log()
        );
        port_of(&process, directory, "nats")
    })
    .await;
    (process, url)
}

/// An address that it has written down.
fn port_of(process: &Process, directory: &Path, kind: &str) -> Option<String> {
    let ports = directory.join(format!("nats-server_{}.ports", process.id()));
    let ports: Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
    ports[kind][0].as_str().map(str::to_owned)
}
