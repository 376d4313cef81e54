//! A replica that a test plays. It has a key of the fleet, and signs by the words of
//! docs/control.md and none of the router's code.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_nats::{Client, HeaderMap, Subscriber};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::copied::Part;
use super::{LIMIT, Nats, RouterProcess, eventually};

#[derive(Debug)]
pub struct Peer {
    pub name: String,
    client: Client,
    key: String,
    secret: Vec<u8>,
    sequence: AtomicU64,
}

/// A message before it is signed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unsigned<'m> {
    pub subject: &'m str,
    pub reply: &'m str,
    pub question: &'m str,
    pub body: &'m str,
}

impl Peer {
    pub const HEADER: &str = "Router-Fleet";
    pub const HINTS: &str = "beamline.router.v1.control.breaker";
    pub const QUESTIONS: &str = "beamline.router.v1.control.breakers";

    /// With the newest key of a router, as soon as that has one.
    pub async fn of(router: &RouterProcess, nats: &Nats, name: &str) -> Self {
        let key = eventually(LIMIT, "the router has a key", async || {
            keys_of(router).into_iter().next()
        });
        Self::with_key(&key.await, nats, name).await
    }

    /// `key` as [`keys_of`] has it.
    pub async fn with_key(key: &Value, nats: &Nats, name: &str) -> Self {
        let client = Part::Router.options().connect(nats.url()).await;
        let text = |field: &str| key[field].as_str().expect("a text").to_owned();
        Self {
            name: name.to_owned(),
            client: client.expect("the server answers"),
            key: text("id"),
            secret: HEXLOWER
                .decode(text("secret").as_bytes())
                .expect("hexadecimal"),
            sequence: AtomicU64::new(0),
        }
    }

    /// With a secret of its own under the name of the same key.
    pub fn forger(&self) -> Self {
        Self {
            name: self.name.clone(),
            client: self.client.clone(),
            key: self.key.clone(),
            secret: vec![7; 32],
            sequence: AtomicU64::new(0),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The header of its next message, sent now.
    pub fn sign(&self, message: Unsigned<'_>) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.expect("after 1970").as_millis();
        self.sign_at(message, u64::try_from(now).expect("before the end of time"))
    }

    /// `sent_at` in milliseconds since 1970.
    pub fn sign_at(&self, message: Unsigned<'_>, sent_at: u64) -> String {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let Unsigned {
            subject,
            reply,
            question,
            body,
        } = message;
        let Self { key, name, .. } = self;
        let digest = HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
        let lines = [
            "beamline-router fleet v1",
            subject,
            reply,
            question,
            key,
            name,
            &sent_at.to_string(),
            &sequence.to_string(),
            &digest,
        ];
        let mut code = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length");
        code.update(lines.join("\n").as_bytes());
        let signature = BASE64URL_NOPAD.encode(&code.finalize().into_bytes());
        format!("v1;{key};{name};{sent_at};{sequence};{signature}")
    }

    /// A hint of its own about a target.
    pub fn open(&self, extension_id: &str, subject: &str, open_for_ms: u64) -> String {
        let hint = serde_json::json!({
            "replica_id": self.name, "extension_id": extension_id, "subject": subject, "state": "open", "generation": 1,
            "open_for_ms": open_for_ms,
        });
        hint.to_string()
    }

    /// Says a hint as it should be said.
    pub async fn hint(&self, body: &str) {
        let message = Unsigned {
            subject: Self::HINTS,
            body,
            ..Unsigned::default()
        };
        let header = self.sign(message);
        self.publish(message, Some(&header)).await;
    }

    /// A place for answers, where a router could wait.
    pub fn inbox(&self) -> String {
        let own = self.client.new_inbox();
        let (start, rest) = own.split_once('.').expect("an inbox");
        format!("{start}.beamline_router.{rest}")
    }

    /// Asks all replicas for their breakers, and brings what they answer.
    pub async fn ask(&self, body: &str) -> Subscriber {
        let inbox = self.inbox();
        let answers = self.client.subscribe(inbox.clone()).await;
        let question = Unsigned {
            subject: Self::QUESTIONS,
            reply: &inbox,
            question: "",
            body,
        };
        self.publish(question, Some(&self.sign(question))).await;
        answers.expect("subscribed")
    }

    /// Publishes with any header, and waits until the server has it.
    pub async fn publish(&self, message: Unsigned<'_>, header: Option<&str>) {
        let subject = message.subject.to_owned();
        let body = message.body.to_owned().into();
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(Self::HEADER, header);
        }
        let client = &self.client;
        let published = if message.reply.is_empty() {
            client.publish_with_headers(subject, headers, body).await
        } else {
            let reply = message.reply.to_owned();
            client
                .publish_with_reply_and_headers(subject, reply, headers, body)
                .await
        };
        published.expect("published");
        client.flush().await.expect("flushed");
    }
}

/// The keys that a router has in its copy on disk, the newest first.
pub fn keys_of(router: &RouterProcess) -> Vec<Value> {
    let copy = router.state_file("registry-snapshot.json");
    let copy: Option<Value> = copy.and_then(|copy| serde_json::from_str(&copy).ok());
    let keys = copy.map(|copy| copy["fleet_keys"].clone());
    keys.and_then(|keys| keys.as_array().cloned())
        .unwrap_or_default()
}
