//! Logging in to servers that know this router, do not, or offer no TLS.

use std::path::Path;
use std::time::Duration;

use beamline_test_support::{Nats, TcpProxy, until, within};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::edge::nats::testing::{config_with, connect, connected, subscribe};

fn user(password: &str) -> String {
    format!("authorization {{ user: joe, password: {password} }}")
}

#[tokio::test]
async fn a_password_that_is_replaced_is_read_again() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "old-password\n").unwrap();
    let server = Nats::start_configured(&user("old-password")).await;
    let path = file.display().to_string();
    let set = [("nats.user", "joe"), ("nats.password_file", path.as_str())];
    let connection = connected(&config_with(server.url(), &set)).await;
    // The server turns out who has the password from before.
    server.reload(&user("new-password"));
    until("it is outside", || !connection.is_connected()).await;
    std::fs::write(&file, "new-password\n").unwrap();
    until("it is inside again", || connection.is_connected()).await;
    let _works = subscribe(&connection.client(), "x").await;
}

#[tokio::test]
async fn a_file_that_is_gone_for_a_while_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "a-token").unwrap();
    let mut server = Nats::start_configured("authorization { token: a-token }").await;
    let path = file.display().to_string();
    let connection = connected(&config_with(server.url(), &[("nats.token_file", &path)])).await;
    std::fs::remove_file(&file).unwrap();
    server.restart().await;
    until("the loss is noticed", || !connection.is_connected()).await;
    std::fs::write(&file, "a-token").unwrap();
    until("it is back", || connection.is_connected()).await;
}

#[tokio::test]
async fn one_server_of_several_may_refuse_the_login() {
    let strict = Nats::start_configured(&user("another")).await;
    let right = Nats::start_configured(&user("right-password")).await;
    // In either order, and each time: the client shuffles them.
    for url in [
        format!("{},{}", strict.url(), right.url()),
        format!("{},{}", right.url(), strict.url()),
    ] {
        for _ in 0..5 {
            let set = [("nats.user", "joe"), ("nats.password", "right-password")];
            let connection = connect(&config_with(&url, &set), "t").await.unwrap();
            let pool = connection.client().server_pool().await.unwrap();
            assert_eq!(pool.len(), 2, "the other one may let it in later");
        }
    }
    let url = format!("{},{}", strict.url(), strict.url());
    let set = [("nats.user", "joe"), ("nats.password", "right-password")];
    let refused = within("it gives up", connect(&config_with(&url, &set), "t")).await;
    let sentence = refused.unwrap_err().to_string();
    assert!(sentence.contains("refuses these credentials"), "{sentence}");
}

/// A server without TLS that keeps what it is told.
async fn listening() -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info =
            r#"INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"headers":true}"#;
        stream
            .write_all(format!("{info}\r\n").as_bytes())
            .await
            .unwrap();
        let mut heard = Vec::new();
        let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut heard)).await;
        heard
    });
    (url, heard)
}

#[tokio::test]
async fn whoever_names_an_authority_tells_nothing_without_tls() {
    let directory = TempDir::new().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, CERTIFICATE).unwrap();
    let (url, heard) = listening().await;
    let path = ca.display().to_string();
    let set = [
        ("nats.tls.ca_file", path.as_str()),
        ("nats.token", "secret-token"),
        ("nats.startup_timeout", "2s"),
    ];
    let refused = connect(&config_with(&url, &set), "t").await;
    assert!(refused.is_err());
    let heard = heard.await.unwrap();
    assert!(!heard.is_empty(), "it begins with TLS");
    let text = String::from_utf8_lossy(&heard);
    assert!(
        !text.contains("secret-token") && !text.contains("CONNECT"),
        "{text}"
    );
}

/// Of nobody: the connection never gets as far as looking at it.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIURq27B2HBw/CWR6XXXKkk6U/w53cwCgYIKoZIzj0EAwIw
IjEgMB4GA1UEAwwXYmVhbWxpbmUgdGVzdCBhdXRob3JpdHkwIBcNMjYxMTI5MDkw
NDMwWhgPMjEyNjExMDUwOTA0MzBaMCIxIDAeBgNVBAMMF2JlYW1saW5lIHRlc3Qg
YXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/IiuNrH2KpjB8PWZ
XETwQAnlJINWgmW+7L5flRbvCHqysybcy2I7y1a0QnXpdQcelQrL4uN26wZs9WcV
MYT4DaNTMFEwHQYDVR0OBBYEFKqMqJJYGs6cOnX+5zkeia0boH6SMB8GA1UdIwQY
MBaAFKqMqJJYGs6cOnX+5zkeia0boH6SMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSAAwRQIgNj777U963SCk/Yg3xL+IGoDqMqosPDYhB2j84jnjm1gCIQCJ
G3WT9aRw+04SNUf3GNvVHBG7A41AYqv0lC7yXSVWdQ==
-----END CERTIFICATE-----
";

#[tokio::test]
async fn credentials_of_nsc_are_taken_and_read_again() {
    let operator = KeyPair::new_operator();
    let account = KeyPair::new_account();
    let trusted = jwt(&operator, &operator, &json!({"type": "operator"}));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let known = jwt(
        &operator,
        &account,
        &json!({"type": "account", "limits": limits}),
    );
    let server = Nats::start_in_cluster(&format!(
        "operator: \"{trusted}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{known}\" }}",
        account.public_key()
    ))
    .await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("router.creds");
    write_credentials(&file, &account);
    let path = file.display().to_string();
    let mut wire = TcpProxy::start(server.address()).await;
    let config = config_with(&wire.nats_url(), &[("nats.creds_file", &path)]);
    let connection = connected(&config).await;
    let _works = subscribe(&connection.client(), "x").await;
    // Another user, and another key.
    write_credentials(&file, &account);
    wire.cut().await;
    until("the loss is noticed", || !connection.is_connected()).await;
    wire.restore();
    until("it is back", || connection.is_connected()).await;
    // What is not one is told as such.
    std::fs::write(&file, "no credentials").unwrap();
    let refused = within("it gives up", connect(&config, "t")).await;
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.starts_with(&format!(
            "cannot log in to NATS: the credentials file {path} holds no JWT"
        )),
        "{sentence}"
    );
}

fn write_credentials(file: &Path, account: &KeyPair) {
    let user = KeyPair::new_user();
    let claims =
        json!({"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
    let jwt = jwt(account, &user, &claims);
    let seed = user.seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(file, text).unwrap();
}

/// What `issuer` says of `subject`, in the form that NATS takes.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let mut nats = nats.clone();
    nats["version"] = json!(2);
    let claims = json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats,
    });
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let head = encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(&signature))
}
