//! The support of the other tests does what it says: what is broken is away, and what is restored
//! is back.

use std::time::Duration;

use beamline_extension::{CallContext, Edit, Extension, Failure, Message};
use beamline_test_support::{
    ExtensionProcess, LIMIT, Nats, PostgresDatabase, TcpProxy, eventually, serve,
};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn call(client: &async_nats::Client, subject: &str) -> Option<Value> {
    let body = json!({
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "tenant_id": "acme", "request_id": "r-1", "extension_id": "x",
        "payload": {"message_id": "m-1", "message_type": "chat", "payload": "  hello ", "metadata": {}},
        "metadata": {}, "config": {},
    });
    let answer = timeout(
        Duration::from_secs(2),
        client.request(subject.to_owned(), body.to_string().into()),
    )
    .await;
    serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()
}

async fn unchanged(_message: Message, _call: CallContext) -> Result<Edit, Failure> {
    Ok(Edit::unchanged())
}

#[tokio::test]
async fn a_cut_proxy_closes_and_refuses_and_a_restored_one_passes_on() {
    let database = PostgresDatabase::create().await;
    let mut proxy = TcpProxy::start(&database.address()).await;
    let url = database.url_through(proxy.address().port());
    let mut before = sqlx::PgConnection::connect(&url)
        .await
        .expect("through the proxy");
    let mut idle = TcpStream::connect(proxy.address())
        .await
        .expect("through the proxy");

    proxy.cut().await;
    before.ping().await.expect_err("cut");
    let mut nothing = [0; 1];
    assert!(
        timeout(LIMIT, idle.read(&mut nothing))
            .await
            .expect("an end")
            .is_ok_and(|read| read == 0)
            || idle.write_all(b"x").await.is_err()
    );
    let refused = TcpStream::connect(proxy.address())
        .await
        .expect_err("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    proxy.restore();
    let mut after = sqlx::PgConnection::connect(&url)
        .await
        .expect("through the proxy");
    after.ping().await.expect("restored");
    assert_eq!(
        database.connect().await.ping().await.ok(),
        Some(()),
        "the database itself was there all the time"
    );
}

#[tokio::test]
async fn a_database_goes_with_its_test() {
    let other = PostgresDatabase::create().await;
    let database = PostgresDatabase::create().await;
    let name = database
        .url()
        .rsplit('/')
        .next()
        .and_then(|rest| rest.split('?').next())
        .expect("a name")
        .to_owned();
    let _open = database.connect().await;
    drop(database);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
        .bind(name)
        .fetch_one(&mut other.connect().await)
        .await
        .expect("an answer");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_nats_server_comes_back_on_its_port() {
    let mut nats = Nats::start().await;
    let extension = serve(&nats, Extension::pre("still_there", unchanged)).await;
    let client = nats.client().await;
    let subject = "beamline.ext.pre.still_there.v1";
    assert_eq!(call(&client, subject).await, Some(json!({})));

    let url = nats.url().to_owned();
    nats.kill();
    TcpStream::connect(nats.address()).await.expect_err("gone");
    nats.restart().await;
    assert_eq!(nats.url(), url);
    eventually(LIMIT, "both ends are connected again", async || {
        call(&client, subject).await
    })
    .await;

    nats.pause().await;
    assert_eq!(
        call(&client, subject).await,
        None,
        "nothing answers while it hangs"
    );
    nats.resume();
    eventually(LIMIT, "it goes on", async || call(&client, subject).await).await;
    extension.stop().await;
}

#[tokio::test]
async fn a_reference_program_hangs_and_dies_on_request() {
    let nats = Nats::start().await;
    let mut program =
        ExtensionProcess::start(&nats, "beamline-normalize-text", "normalize_text", &[]).await;
    let client = nats.client().await;
    let subject = "beamline.ext.pre.normalize_text.v1";
    let answer = call(&client, subject).await.expect("an answer");
    assert_eq!(answer["payload"]["payload"], "hello");

    program.pause().await;
    assert_eq!(
        call(&client, subject).await,
        None,
        "nothing answers while it hangs"
    );
    program.resume();
    eventually(LIMIT, "it goes on", async || call(&client, subject).await).await;
    program.sigterm();
    assert!(
        program.wait_exit(LIMIT).await.success(),
        "{}",
        program.log()
    );

    let mut second =
        ExtensionProcess::start(&nats, "beamline-normalize-text", "normalize_text", &[]).await;
    second.kill();
    eventually(LIMIT, "the server has noticed", async || {
        // One sent just before the end waits for an answer in vain.
        let asked = async_nats::Request::new()
            .payload("{}".into())
            .timeout(Some(Duration::from_millis(500)));
        let gone = client.send_request(subject, asked).await.err()?;
        (gone.kind() == async_nats::RequestErrorKind::NoResponders).then_some(())
    })
    .await;
}
