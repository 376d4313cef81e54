//! A gateway and an administrator as NATS sees them: what they send, and what comes back.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{LIMIT, Nats, schemas};

#[derive(Debug, Clone)]
pub struct Gateway {
    client: async_nats::Client,
}

/// An answer, also as it was written.
#[derive(Debug)]
pub struct Received {
    pub json: Value,
    pub text: String,
    pub headers: HeaderMap,
}

impl Gateway {
    pub async fn connect(nats: &Nats) -> Self {
        Self {
            client: nats.client().await,
        }
    }

    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// Sends any bytes to `beamline.router.v1.{operation}`.
    pub async fn send(
        &self,
        operation: &str,
        body: impl Into<Bytes>,
        headers: &[(&'static str, &str)],
    ) -> Received {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                value.parse::<HeaderValue>().expect("fit for a header"),
            );
        }
        let sent = body.into();
        let request = async_nats::Request::new()
            .payload(sent.clone())
            .headers(map)
            .timeout(Some(LIMIT));
        let subject = format!("beamline.router.v1.{operation}");
        let answer = self
            .client
            .send_request(subject, request)
            .await
            .expect("an answer");
        let text = String::from_utf8(answer.payload.to_vec()).expect("UTF-8");
        let json = schemas::read(&text).unwrap_or_else(|| panic!("not JSON: {text}"));
        schemas::check(operation, &sent, &json);
        Received {
            json,
            text,
            headers: answer.headers.unwrap_or_default(),
        }
    }

    pub async fn route(&self, body: &Value) -> Value {
        self.send("route", body.to_string(), &[]).await.json
    }

    pub async fn decide(&self, body: &Value) -> Value {
        self.send("decide", body.to_string(), &[]).await.json
    }

    pub async fn admin(&self, operation: &str, body: &Value) -> Value {
        self.admin_as(None, operation, body).await
    }

    /// With a key, or without one.
    pub async fn admin_as(&self, key: Option<&str>, operation: &str, body: &Value) -> Value {
        let bearer = key.map(|key| format!("Bearer {key}"));
        let headers: Vec<_> = bearer
            .iter()
            .map(|value| ("Authorization", value.as_str()))
            .collect();
        let operation = format!("admin.{operation}");
        let answer = self.send(&operation, body.to_string(), &headers).await;
        answer.json
    }

    /// Creates an extension with quick limits unless the record says otherwise.
    pub async fn register(&self, kind: &str, id: &str, more: Value) {
        let mut record = json!({"id": id, "type": kind, "timeout_ms": 20_000});
        merge(&mut record, more);
        let answer = self.admin("create_extension", &record).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }

    /// Saves a policy of the tenant `acme`.
    pub async fn policy(&self, policy_id: &str, document: &Value) {
        let body = json!({"tenant_id": "acme", "policy_id": policy_id, "policy": document});
        let answer = self.admin("put_policy", &body).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
}

/// A good request of the tenant `acme` under a policy.
pub fn request(policy_id: &str) -> Value {
    json!({
        "version": "1", "tenant_id": "acme", "request_id": "req-123", "policy_id": policy_id, "timeout_ms": 30_000,
        "message": {"message_id": "m-1", "message_type": "chat", "payload": "hello", "metadata": {"channel": "web"}},
    })
}

/// The same with some keys replaced.
pub fn request_with(policy_id: &str, more: Value) -> Value {
    let mut body = request(policy_id);
    merge(&mut body, more);
    body
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
