use super::*;
use crate::config::{Overrides, load_from};

fn config(set: &[(&str, &str)]) -> Config {
    let set = set
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    load_from(
        &Overrides {
            set,
            ..Overrides::default()
        },
        [],
    )
    .expect("a valid configuration")
}

#[test]
fn a_port_that_was_asked_for_is_not_replaced() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("an address");
    let mut asked = config(&[("http.listen", &address.to_string())]);
    assert_eq!(choose_http(&mut asked), None);
    assert_eq!(asked.http.listen, address);

    let mut default = config(&[]);
    default.http.listen = address;
    assert_eq!(choose_http(&mut default), Some(address));
    assert_eq!(default.http.listen.port(), 0);
}

#[test]
fn what_up_brings_itself_is_not_taken_from_the_configuration() {
    let config = config(&[
        ("nats.url", "nats://10.0.0.1:4222"),
        ("router.environment", "test"),
    ]);
    assert_eq!(ignored(&config), ["nats.url"]);
}

#[tokio::test]
async fn nats_comes_up_on_a_free_port_and_goes_when_we_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(directory.path())
        .await
        .expect("a state directory");
    let mut companions = Companions::new(state);
    let mut config = config(&[]);
    companions
        .start_nats(None, None, &mut config)
        .await
        .expect("nats-server starts");
    assert!(
        config.nats.url.starts_with("nats://127.0.0.1:"),
        "{}",
        config.nats.url
    );
    let client = connect(&config.nats).await.expect("a connection");
    assert!(client.server_info().jetstream);
    companions.stop().await;
    let refused = TcpListener::bind(config.nats.url.trim_start_matches("nats://"));
    assert!(refused.is_ok(), "the port is free again: {refused:?}");
}
