//! The NATS server of docker/nats: what each user may do works, and everything else is refused.

use std::path::Path;
use std::process::{Command, Stdio};

use async_nats::{Client, ConnectOptions};
use beamline_test_support::{
    COPIED_USERS, LIMIT, Nats, Process, RouterProcess, copied_password, eventually, program, within,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FILE: &str = "docker/nats/nats-server.conf";
async fn server() -> Nats {
    let variables = COPIED_USERS.map(|user| {
        (
            format!("{}_PASSWORD", user.to_ascii_uppercase()),
            copied_password(user),
        )
    });
    let variables = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    Nats::start_from(&file, &variables.collect::<Vec<_>>()).await
}

/// A client with the inboxes that its user may have.
async fn client(nats: &Nats, user: &str) -> Client {
    ConnectOptions::with_user_and_password(user.to_owned(), copied_password(user))
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .connect(nats.url())
        .await
        .unwrap()
}

/// What the server says to one command of a user before it answers a ping.
async fn said(nats: &Nats, user: &str, command: &str) -> String {
    let mut stream = TcpStream::connect(nats.address()).await.unwrap();
    let connect =
        json!({"user": user, "pass": copied_password(user), "verbose": false, "headers": true});
    let commands = format!("CONNECT {connect}\r\n{command}\r\nPING\r\n");
    stream.write_all(commands.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let pings = commands.matches("PING\r\n").count();
    let pongs = |heard: &[u8]| heard.windows(4).filter(|window| window == b"PONG").count();
    while pongs(&heard) < pings {
        let read = within("the server answers", stream.read_buf(&mut heard)).await;
        assert_ne!(read.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8(heard).unwrap()
}

async fn refuses(nats: &Nats, user: &str, command: &str) -> bool {
    let said = said(nats, user, command).await;
    said.contains("Permissions Violation")
}

fn publish(subject: &str) -> String {
    format!("PUB {subject} 0\r\n")
}

fn subscribe(subject: &str) -> String {
    format!("SUB {subject} 1")
}

/// Subjects of every part that somebody else might want to publish to.
const PUBLISHED: [&str; 16] = [
    "beamline.router.v1.decide",
    "beamline.router.v1.route",
    "beamline.router.v1.route.acme",
    "beamline.router.v1.route.other",
    "beamline.router.v1.admin.put_policy",
    "beamline.router.v1.admin.supervision_tree",
    "beamline.router.v1.control.breaker",
    "beamline.ext.validate.pii_guard.v1",
    "beamline.provider.mock_provider.v1",
    "$SRV.INFO",
    "$KV.beamline_sessions.x",
    "$JS.API.STREAM.DELETE.KV_beamline_sessions",
    "$JS.API.STREAM.PURGE.KV_beamline_sessions",
    "_INBOX_router.beamline_router.x",
    "_INBOX_gateway.x",
    "payments.transfer",
];

/// Which of those each user may publish to.
const MAY_PUBLISH: [(&str, &[&str]); 9] = [
    (
        "router",
        &[
            "beamline.router.v1.control.breaker",
            "beamline.ext.validate.pii_guard.v1",
            "beamline.provider.mock_provider.v1",
            "$SRV.INFO",
            "$KV.beamline_sessions.x",
            "_INBOX_router.beamline_router.x",
            "_INBOX_gateway.x",
        ],
    ),
    (
        "gateway",
        &[
            "beamline.router.v1.decide",
            "beamline.router.v1.route",
            "beamline.router.v1.route.acme",
            "beamline.router.v1.route.other",
        ],
    ),
    ("shop", &["beamline.router.v1.route.acme"]),
    ("pii_guard", &["_INBOX_router.beamline_router.x"]),
    ("mock_provider", &["_INBOX_router.beamline_router.x"]),
    ("normalize_text", &["_INBOX_router.beamline_router.x"]),
    ("mask_pii", &["_INBOX_router.beamline_router.x"]),
    (
        "administrator",
        &[
            "beamline.router.v1.admin.put_policy",
            "beamline.router.v1.admin.supervision_tree",
        ],
    ),
    (
        "observer",
        &["beamline.router.v1.admin.supervision_tree", "$SRV.INFO"],
    ),
];

/// Subjects that somebody else might want to hear.
const HEARD: [&str; 14] = [
    ">",
    "beamline.>",
    "beamline.router.v1.route",
    "beamline.router.v1.route.acme",
    "beamline.router.v1.admin.*",
    "beamline.router.v1.control.*",
    "beamline.ext.validate.pii_guard.v1",
    "beamline.provider.mock_provider.v1",
    "_INBOX.>",
    "_INBOX_router.>",
    "_INBOX_gateway.>",
    "_INBOX_shop.>",
    "_INBOX_administrator.>",
    "$KV.beamline_sessions.>",
];

const MAY_HEAR: [(&str, &[&str]); 9] = [
    (
        "router",
        &["beamline.router.v1.control.*", "_INBOX_router.>"],
    ),
    ("gateway", &["_INBOX_gateway.>"]),
    ("shop", &["_INBOX_shop.>"]),
    ("pii_guard", &["beamline.ext.validate.pii_guard.v1"]),
    ("mock_provider", &["beamline.provider.mock_provider.v1"]),
    ("normalize_text", &[]),
    ("mask_pii", &[]),
    ("administrator", &["_INBOX_administrator.>"]),
    ("observer", &[]),
];

#[tokio::test]
async fn each_user_tries_what_is_not_its_own() {
    let nats = server().await;
    for (user, allowed) in MAY_PUBLISH {
        for subject in PUBLISHED {
            let refused = refuses(&nats, user, &publish(subject)).await;
            assert_eq!(
                refused,
                !allowed.contains(&subject),
                "{user} publishes to {subject}"
            );
        }
    }
    for (user, allowed) in MAY_HEAR {
        for subject in HEARD {
            let refused = refuses(&nats, user, &subscribe(subject)).await;
            assert_eq!(
                refused,
                !allowed.contains(&subject),
                "{user} hears {subject}"
            );
        }
    }
    // In its queue group a router hears requests, and nobody else joins it.
    let join = "SUB beamline.router.v1.route beamline-router 1";
    for user in COPIED_USERS {
        assert_eq!(refuses(&nats, user, join).await, user != "router", "{user}");
    }
    let mut stranger = TcpStream::connect(nats.address()).await.unwrap();
    let connect = "CONNECT {\"verbose\":false}\r\nPING\r\n";
    stranger.write_all(connect.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let _ = within("it is turned out", stranger.read_to_string(&mut heard)).await;
    assert!(heard.contains("Authorization Violation"), "{heard}");
}

/// A router, a guard and a provider, each with its own user.
struct World {
    nats: Nats,
    router: RouterProcess,
    _extensions: [Process; 2],
    directory: TempDir,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = server().await;
        let directory = TempDir::new().unwrap();
        let extension = |id: &str| {
            let mut command = Command::new(program(&format!("beamline-{}", id.replace('_', "-"))));
            let address = format!("nats://{id}:{}@{}", copied_password(id), nats.address());
            command.args([
                "--nats-url",
                &address,
                "--inbox-prefix",
                &format!("_INBOX_{id}"),
            ]);
            Process::start(command, directory.path().join(id))
        };
        let extensions = [extension("pii_guard"), extension("mock_provider")];
        let own = [
            ("nats.url", nats.url()),
            ("nats.user", "router"),
            ("nats.password", "p-router"),
            ("nats.inbox_prefix", "_INBOX_router"),
        ];
        let all: Vec<_> = own.iter().chain(settings).copied().collect();
        let router = RouterProcess::start(&all).await;
        for extension in &extensions {
            eventually(LIMIT, "it serves", async || {
                extension.log().contains("serving").then_some(())
            })
            .await;
        }
        Self {
            nats,
            router,
            _extensions: extensions,
            directory,
        }
    }

    /// A command of a user, as `--output json` has it.
    async fn run(&self, user: &str, arguments: &[&str]) -> Value {
        let mut command = Command::new(program("beamline-router"));
        let prefix = format!("nats.inbox_prefix=_INBOX_{user}");
        command
            .args([
                "--nats-url",
                self.nats.url(),
                "--timeout",
                "10s",
                "--output",
                "json",
            ])
            .args(["--set", &format!("nats.user={user}"), "--set", &prefix])
            .args(arguments)
            .env("BEAMLINE__NATS__PASSWORD", copied_password(user))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&out)
            .unwrap_or_else(|_| panic!("{user} {out} {}", String::from_utf8_lossy(&output.stderr)))
    }
}

async fn ask(client: &Client, operation: &str, body: &Value) -> Value {
    let subject = format!("beamline.router.v1.{operation}");
    let answer = client.request(subject, body.to_string().into());
    let answer = within("an answer", answer).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

fn policy() -> Value {
    json!({
        "version": "1.0", "validators": [{"id": "pii_guard", "on_fail": "block"}], "providers": ["mock_provider"],
        "sticky": {"enabled": true, "session_key": "session_id", "ttl": "10m"},
    })
}

fn request(text: &str) -> Value {
    json!({
        "version": "1", "tenant_id": "acme", "request_id": "r-1", "context": {"session_id": "s"},
        "message": {"message_id": "m", "message_type": "chat", "payload": text},
    })
}

#[tokio::test]
async fn everything_works_with_what_each_user_may_do() {
    let world = World::start(&[]).await;
    let file = world.directory.path().join("policy.json");
    std::fs::write(&file, policy().to_string()).unwrap();
    let path = file.display().to_string();
    let put = ["policy", "put", "acme", "default", "--file", path.as_str()];
    let put = world.run("administrator", &put).await;
    assert_eq!(put["ok"], true, "{put}");
    for command in [
        &["tree"][..],
        &["ext", "list"],
        &["ext", "get", "pii_guard"],
        &["ext", "health"],
        &["breaker", "list"],
        &["policy", "list"],
        &["policy", "get", "acme", "default"],
        &["policy", "explain", "acme", "default", "hello"],
    ] {
        let said = world.run("administrator", command).await;
        assert_ne!(said["ok"], false, "{command:?} {said}");
    }
    for command in [&["tree"][..], &["ext", "list"], &["breaker", "list"]] {
        let said = world.run("observer", command).await;
        assert_ne!(said["ok"], false, "{command:?} {said}");
    }
    let gateway = client(&world.nats, "gateway").await;
    for operation in ["decide", "route"] {
        for _ in 0..3 {
            let answer = ask(&gateway, operation, &request("hello")).await;
            assert_eq!(answer["ok"], true, "{answer}");
        }
    }
    let blocked = ask(&gateway, "route", &request("4111 1111 1111 1111")).await;
    assert_eq!(blocked["error"]["code"], "validator_blocked", "{blocked}");
    // The bucket of sessions is there and used.
    eventually(LIMIT, "the second answer is sticky", async || {
        let answer = ask(&gateway, "decide", &request("hello")).await;
        (answer["decision"]["reason"] == "sticky").then_some(())
    })
    .await;
    let log = world.router.log();
    assert!(!log.contains("config_error"), "{log}");
    assert!(!log.contains("does not keep the bucket"), "{log}");
}

/// With `allow_responses` the server lets whoever hears a message publish to its reply subject.
#[tokio::test]
async fn an_extension_asks_itself_to_be_let_answer_anywhere() {
    let nats = server().await;
    for wanted in [
        "payments.transfer",
        "beamline.router.v1.route",
        "$JS.API.STREAM.DELETE.KV_beamline_sessions",
        "_INBOX_gateway.x.y",
    ] {
        let ping = "$SRV.PING.pii_guard.z";
        let commands =
            format!("SUB {ping} 1\r\nPUB {ping} {wanted} 0\r\n\r\nPING\r\nPUB {wanted} 0\r\n");
        assert!(refuses(&nats, "pii_guard", &commands).await, "{wanted}");
        let own = "_INBOX_router.beamline_router.z";
        let commands =
            format!("SUB {own} 1\r\nPUB {own} {wanted} 0\r\n\r\nPING\r\nPUB {wanted} 0\r\n");
        let is_its_own = wanted == "_INBOX_gateway.x.y";
        assert_eq!(
            refuses(&nats, "router", &commands).await,
            !is_its_own,
            "{wanted}"
        );
    }
}

#[tokio::test]
async fn a_gateway_of_two_tenants_asks_for_a_third() {
    let world = World::start(&[("router.tenant_from", "subject")]).await;
    let administrator = client(&world.nats, "administrator").await;
    for tenant in ["acme", "globex", "initech"] {
        let body = json!({"tenant_id": tenant, "policy_id": "default", "policy": policy()});
        let put = ask(&administrator, "admin.put_policy", &body).await;
        assert_eq!(put["ok"], true, "{put}");
    }
    let shop = client(&world.nats, "shop").await;
    for tenant in ["acme", "globex"] {
        let mut body = request("hello");
        body["tenant_id"] = json!(tenant);
        let answer = ask(&shop, &format!("route.{tenant}"), &body).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let mut other = request("hello");
    other["tenant_id"] = json!("initech");
    let answer = ask(&shop, "route.acme", &other).await;
    assert_eq!(
        answer["error"]["intake_error_code"], "TENANT_FORBIDDEN",
        "{answer}"
    );
    let publish = publish("beamline.router.v1.route.initech");
    assert!(refuses(&world.nats, "shop", &publish).await);
}

/// A permission that is missing is named, and not left to be found.
#[tokio::test]
async fn a_router_starts_without_a_right_that_it_needs() {
    let nats = server().await;
    // The inboxes are those of another user.
    let settings = [
        ("nats.url", nats.url()),
        ("nats.user", "router"),
        ("nats.password", "p-router"),
        ("nats.inbox_prefix", "_INBOX_pii_guard"),
    ];
    let mut router = RouterProcess::spawn(&settings);
    let status = router.wait_exit(LIMIT).await;
    assert!(!status.success());
    let log = router.log();
    for missing in [
        "publish to _INBOX_pii_guard.",
        "subscribe to _INBOX_pii_guard.",
    ] {
        assert!(log.contains(missing), "{missing} in {log}");
    }
    assert!(log.contains("Grant that to its user"), "{log}");
}

#[test]
fn whoever_starts_it_in_containers_has_a_password_for_each_user() {
    let read = |file: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
    };
    let set_up = read(FILE);
    let compose = read("docker/compose.yaml");
    let made = read("docker/make-env.sh");
    for user in COPIED_USERS {
        let name = user.to_ascii_uppercase();
        assert!(set_up.contains(&format!("${name}_PASSWORD")), "{user}");
        assert!(compose.contains(&format!("- {name}_PASSWORD")), "{user}");
        assert!(made.contains(&format!(" {name}")), "{user}");
    }
    assert_eq!(set_up.matches("_PASSWORD\n").count(), COPIED_USERS.len());
}
