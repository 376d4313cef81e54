//! The router's side of a call of an extension, as the bytes on the wire.

use async_nats::{Client, HeaderMap, Message};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::LIMIT;

/// A call as the router makes it; answers the text on the wire.
pub async fn call(
    client: &Client,
    subject: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> String {
    let reply = timeout(LIMIT, send(client, subject, headers, body))
        .await
        .expect("an answer in time")
        .expect("an answer");
    String::from_utf8(reply.payload.to_vec()).expect("UTF-8")
}

pub async fn call_json(client: &Client, subject: &str, body: &Value) -> Value {
    serde_json::from_str(&call(client, subject, &[], &body.to_string()).await).expect("JSON")
}

pub async fn send(
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

pub fn request(payload: Value) -> Value {
    request_with(payload, json!({}))
}

pub fn request_with(payload: Value, config: Value) -> Value {
    json!({
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "tenant_id": "acme", "request_id": "req-1", "extension_id": "x",
        "payload": {"message_id": "m-1", "message_type": "chat", "payload": payload, "metadata": {"channel": "web"}},
        "metadata": {"lang": "en"}, "config": config,
    })
}
