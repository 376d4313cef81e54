//! A NATS server of the test's own on a free port, and the router's side of a call.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use beamline_extension::async_nats::{self, Client, HeaderMap, Message};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Far beyond what anything here takes; reaching it means that something never happens.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

pub(crate) struct Server {
    process: Child,
    _directory: TempDir,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let process = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server must be on the PATH");
        let ports = directory
            .path()
            .join(format!("nats-server_{}.ports", process.id()));
        let url = eventually("the server writes its ports", || read_url(&ports)).await;
        Self {
            process,
            _directory: directory,
            url,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        async_nats::connect(&self.url).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_url(ports: &Path) -> Option<String> {
    let ports: Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    ports["nats"][0].as_str().map(str::to_owned)
}

/// Tries until there is something, up to the limit.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            sleep(POLL).await;
        }
    };
    timeout(LIMIT, tries)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

/// A call as the router makes it; answers the text on the wire.
pub(crate) async fn call(
    client: &Client,
    subject: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> String {
    let reply = timeout(LIMIT, send(client, subject, headers, body))
        .await
        .expect("an answer")
        .unwrap();
    String::from_utf8(reply.payload.to_vec()).unwrap()
}

pub(crate) async fn call_json(client: &Client, subject: &str, body: &Value) -> Value {
    serde_json::from_str(&call(client, subject, &[], &body.to_string()).await).unwrap()
}

pub(crate) async fn send(
    client: &Client,
    subject: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Result<Message, async_nats::RequestError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let request = async_nats::Request::new()
        .headers(map)
        .payload(body.to_owned().into())
        .timeout(Some(LIMIT));
    client.send_request(subject.to_owned(), request).await
}

pub(crate) fn request(payload: Value) -> Value {
    request_with(payload, json!({}))
}

pub(crate) fn request_with(payload: Value, config: Value) -> Value {
    json!({
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "tenant_id": "acme", "request_id": "req-1", "extension_id": "x",
        "payload": {"message_id": "m-1", "message_type": "chat", "payload": payload, "metadata": {"channel": "web"}},
        "metadata": {"lang": "en"}, "config": config,
    })
}
