//! Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, so that `nats micro ls` and the router see
//! every extension process.
//!
//! The NATS client has a service module that would do the same. Its endpoint can only be
//! unsubscribed, not drained, which loses the requests that are on their way when a process stops;
//! its error answers panic on text with a line break; and it does not count the contract's error
//! answers as errors. Its wire types are used where they fit (ADR-32 of NATS).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_nats::service::{Info, PingResponse, endpoint};
use async_nats::{Client, Message, SubscribeError, Subscriber};
use beamline_contract::discovery::CONFIG_SCHEMA;
use beamline_contract::record::Kind;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use serde_json::json;

use crate::server::Server;
use crate::settings::Settings;

/// What this process says about itself.
pub(crate) struct Service {
    client: Client,
    info: Info,
    /// The ids of its extensions, where they are not its name.
    other_names: Vec<String>,
    started: SystemTime,
}

pub(crate) struct SubscribedService {
    service: Service,
    requests: SelectAll<Subscriber>,
}

/// One extension of the process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) subject: String,
    pub(crate) queue_group: String,
    pub(crate) config_schema: Option<String>,
}

impl Service {
    pub(crate) fn new(
        name: &str,
        endpoints: &[Endpoint],
        settings: &Settings,
        client: &Client,
    ) -> Self {
        let kinds: Vec<&str> = endpoints.iter().map(|one| one.kind.as_str()).collect();
        let metadata = HashMap::from([
            ("beamline.type".to_owned(), kinds.join(",")),
            ("beamline.version".to_owned(), settings.version_tag.clone()),
            (
                "beamline.sdk".to_owned(),
                format!("rust/{}", env!("CARGO_PKG_VERSION")),
            ),
        ]);
        let info = Info {
            kind: "io.nats.micro.v1.info_response".to_owned(),
            name: name.to_owned(),
            id: unique_id(client),
            description: format!("Beamline {} extension", kinds.join(" and ")),
            version: semantic_version(&settings.version_tag),
            metadata,
            endpoints: endpoints.iter().map(info_of).collect(),
        };
        let ids = endpoints.iter().map(|one| one.id.clone());
        let mut other_names: Vec<String> = ids.filter(|id| id != name).collect();
        other_names.sort_unstable();
        other_names.dedup();
        Self {
            client: client.clone(),
            info,
            other_names,
            started: SystemTime::now(),
        }
    }

    pub(crate) fn own_ping_subject(&self) -> String {
        format!("$SRV.PING.{}.{}", self.info.name, self.info.id)
    }

    /// Each verb is asked of all services, of those with a name, and of one process. The ids of its
    /// extensions are names as well: who knows only an extension finds its program.
    pub(crate) async fn subscribe(self) -> Result<SubscribedService, SubscribeError> {
        let name = &self.info.name;
        let id = &self.info.id;
        let mut subscriptions = Vec::new();
        for verb in ["PING", "INFO", "STATS"] {
            for subject in [
                format!("$SRV.{verb}"),
                format!("$SRV.{verb}.{name}"),
                format!("$SRV.{verb}.{name}.{id}"),
            ] {
                subscriptions.push(self.client.subscribe(subject).await?);
            }
            for other in &self.other_names {
                let subject = format!("$SRV.{verb}.{other}");
                subscriptions.push(self.client.subscribe(subject).await?);
            }
        }
        Ok(SubscribedService {
            service: self,
            requests: select_all(subscriptions),
        })
    }

    fn answer(&self, subject: &str, servers: &[Arc<Server>]) -> Option<Bytes> {
        let json = match subject.split('.').nth(1) {
            Some("PING") => serde_json::to_vec(&self.pong()),
            Some("INFO") => self.info(),
            Some("STATS") => serde_json::to_vec(&self.stats(servers)),
            _ => return None,
        };
        json.ok().map(Bytes::from)
    }

    /// Where the server carries less than usual, without the schema: to be found matters more.
    fn info(&self) -> serde_json::Result<Vec<u8>> {
        let whole = serde_json::to_vec(&self.info)?;
        if whole.len() <= self.client.server_info().max_payload {
            return Ok(whole);
        }
        let mut info = self.info.clone();
        for endpoint in &mut info.endpoints {
            endpoint.metadata.remove(CONFIG_SCHEMA);
        }
        serde_json::to_vec(&info)
    }

    fn pong(&self) -> PingResponse {
        PingResponse {
            kind: "io.nats.micro.v1.ping_response".to_owned(),
            name: self.info.name.clone(),
            id: self.info.id.clone(),
            version: self.info.version.clone(),
            metadata: self.info.metadata.clone(),
        }
    }

    fn stats(&self, servers: &[Arc<Server>]) -> serde_json::Value {
        let endpoints = self.info.endpoints.iter().zip(servers);
        let endpoints: Vec<_> = endpoints
            .map(|(endpoint, server)| stats_of(endpoint, server))
            .collect();
        json!({
            "type": "io.nats.micro.v1.stats_response",
            "name": self.info.name,
            "id": self.info.id,
            "version": self.info.version,
            "metadata": self.info.metadata,
            "started": humantime::format_rfc3339_millis(self.started).to_string(),
            "endpoints": endpoints,
        })
    }
}

/// `servers` in the order of the endpoints.
pub(crate) async fn run(subscribed: SubscribedService, servers: Vec<Arc<Server>>) {
    let SubscribedService {
        service,
        mut requests,
    } = subscribed;
    while let Some(Message { subject, reply, .. }) = requests.next().await {
        if let (Some(reply), Some(answer)) = (reply, service.answer(&subject, &servers)) {
            // A failed publish means that the connection is gone; then the stream ends too.
            let _ = service.client.publish(reply, answer).await;
        }
    }
}

/// Only `INFO` has the schema, so that pings and counters stay short.
fn info_of(one: &Endpoint) -> endpoint::Info {
    let schema = one.config_schema.iter();
    endpoint::Info {
        name: one.id.clone(),
        subject: one.subject.clone(),
        queue_group: one.queue_group.clone(),
        metadata: schema
            .map(|schema| (CONFIG_SCHEMA.to_owned(), schema.clone()))
            .collect(),
    }
}

fn stats_of(endpoint: &endpoint::Info, server: &Server) -> serde_json::Value {
    let counts = server.stats.counts();
    let busy = counts.busy.as_nanos();
    let average = busy / u128::from(counts.requests.max(1));
    json!({
        "name": endpoint.name,
        "subject": endpoint.subject,
        "queue_group": endpoint.queue_group,
        "num_requests": counts.requests,
        "num_errors": counts.errors,
        "last_error": counts.last_error,
        "processing_time": saturated(busy),
        "average_processing_time": saturated(average),
        "data": {"expired": counts.expired, "overloaded": counts.overloaded},
    })
}

/// The client makes unique names only for inboxes; the last token is one.
fn unique_id(client: &Client) -> String {
    let inbox = client.new_inbox();
    inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
}

/// The service protocol wants a semantic version; "v2" becomes "2.0.0", any other tag goes into the
/// build part.
fn semantic_version(tag: &str) -> String {
    match tag.strip_prefix('v').unwrap_or(tag).parse::<u32>() {
        Ok(major) => format!("{major}.0.0"),
        Err(_) => format!(
            "0.0.0+{}",
            tag.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        ),
    }
}

fn saturated(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_tags_become_semantic_versions() {
        for (tag, version) in [
            ("v1", "1.0.0"),
            ("12", "12.0.0"),
            ("canary_2", "0.0.0+canary-2"),
            ("v1-rc", "0.0.0+v1-rc"),
        ] {
            assert_eq!(semantic_version(tag), version);
        }
    }
}
