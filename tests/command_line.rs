//! `ext` and `policy` of the command line against a router: tables, JSON, sentences and exit codes.

use std::fs;
use std::process::{Command, Stdio};

use beamline_test_support::{LIMIT, Nats, RouterProcess, eventually, program};
use serde_json::{Value, json};
use tempfile::TempDir;

mod first_day;
mod looking;

struct World {
    nats: Nats,
    directory: TempDir,
    router: RouterProcess,
}

/// What a command left behind.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        let settings: Vec<_> = settings
            .iter()
            .copied()
            .chain([("nats.url", nats.url())])
            .collect();
        let router = RouterProcess::start(&settings).await;
        Self {
            nats,
            directory: TempDir::new().expect("a directory"),
            router,
        }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(program("beamline-router"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BEAMLINE"))
        {
            command.env_remove(name);
        }
        let command = command
            .args(["--nats-url", self.nats.url(), "--timeout", "10s"])
            .args(arguments)
            .env("COLUMNS", "200");
        let output = command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.err);
        serde_json::from_str(&said.out).expect("one JSON document")
    }

    /// The exit code of a command that fails, and what it said.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let said = self.run(arguments);
        assert!(said.out.is_empty(), "{arguments:?}: {}", said.out);
        (said.code.expect("an exit code"), said.err)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    }
}

#[tokio::test]
async fn extensions_from_the_command_line() {
    let world = World::start(&[]).await;
    let created = world.run(&[
        "ext",
        "create",
        "--id",
        "upper",
        "--type",
        "pre",
        "--timeout-ms",
        "80",
    ]);
    assert_eq!(created.code, Some(0), "{}", created.err);
    assert!(
        created
            .out
            .starts_with("extension 'upper' created at revision "),
        "{}",
        created.out
    );
    let table = world.run(&["ext", "list", "--type", "pre"]).out;
    let row = table
        .lines()
        .find(|line| line.starts_with("upper"))
        .expect("a row")
        .split_whitespace()
        .collect::<Vec<_>>();
    assert_eq!(row, ["upper", "pre", "v1", "yes", "unknown", "closed"]);
    let wide = world.run(&["ext", "list", "--wide"]).out;
    assert!(wide.contains("  beamline.ext.pre.upper.v1 "), "{wide}");
    assert!(
        table.starts_with("ID ") && !table.contains("mock_provider"),
        "{table}"
    );
    assert!(
        world
            .run(&["ext", "get", "upper"])
            .out
            .contains("timeout_ms  80")
    );

    let mut record = world.json(&["ext", "get", "upper"]);
    assert_eq!(record["id"], "upper", "{record}");
    record["retry"] = json!(2);
    record["versions"] = json!([{"version": "v2", "routing_rules": {"lang": "en"}}]);
    let file = world.file("upper.json", &record.to_string());
    let updated = world.json(&["ext", "update", "upper", "-f", &file]);
    assert_eq!(
        (&updated["ok"], &updated["extension"]["retry"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        updated["extension"]["versions"][0]["routing_rules"],
        json!({"lang": "en"})
    );

    let disabled = world.run(&["ext", "disable", "mask_pii"]);
    assert_eq!(disabled.code, Some(0), "{}", disabled.err);
    assert!(
        disabled
            .err
            .contains("these policies still use it: demo/default"),
        "{}",
        disabled.err
    );
    assert_eq!(
        world.json(&["ext", "enable", "mask_pii"])["extension"]["enabled"],
        true
    );

    let (code, sentence) = world.fails(&["ext", "delete", "upper"]);
    assert!(
        code == 2 && sentence.contains("--yes"),
        "{code}: {sentence}"
    );
    assert_eq!(
        world.run(&["ext", "delete", "upper", "--yes"]).code,
        Some(0)
    );
    let (code, sentence) = world.fails(&["ext", "get", "upper"]);
    assert!(
        code == 3 && sentence.contains("not_found"),
        "{code}: {sentence}"
    );
}

#[tokio::test]
async fn versions_one_at_a_time_from_the_command_line() {
    let world = World::start(&[]).await;
    let version = |arguments: &[&'static str]| [&["ext", "version"], arguments].concat();
    let added = world.run(&version(&["add", "mock_provider", "v2", "--percent", "10"]));
    assert_eq!(added.code, Some(0), "{}", added.err);
    assert!(
        added.out.starts_with(
            "extension 'mock_provider' has version 'v2' (10 % by session or tenant) at revision "
        ),
        "{}",
        added.out
    );
    assert!(
        added
            .err
            .contains("warning: /versions/0/subject: no NATS service listens on "),
        "{}",
        added.err
    );
    let table = world.run(&["ext", "list"]).out;
    assert!(table.contains("  v1 (+v2 10 %)  "), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );

    let answer = world.json(&version(&["promote", "mock_provider", "v2"]));
    assert_eq!(answer["extension"]["version"], "v2", "{answer}");
    assert_eq!(answer["extension"]["versions"], json!([]), "{answer}");
    let back = world.json(&version(&["rollback", "mock_provider"]));
    assert_eq!(back["extension"]["version"], "v1", "{back}");

    let rule = [
        "add",
        "mock_provider",
        "v3",
        "--rule",
        "teir=gold",
        "--rule",
        "seats:=[1, 2]",
    ];
    let added = world.json(&version(&rule));
    assert_eq!(
        added["extension"]["versions"][0]["routing_rules"],
        json!({"teir": "gold", "seats": [1, 2]})
    );
    assert_eq!(
        added["warnings"][0]["pointer"], "/versions/0/subject",
        "{added}"
    );
    for (arguments, want, words) in [
        (&["add", "mock_provider", "v3"][..], 4, "ext version update"),
        (&["remove", "mock_provider", "v33"], 3, "did you mean v3?"),
        (
            &["remove", "mock_provder", "v3"],
            3,
            "Did you mean mock_provider?",
        ),
        (
            &["add", "mock_provider", "v4", "--percent", "101"],
            2,
            "from 0 to 100",
        ),
    ] {
        let (code, sentence) = world.fails(&version(arguments));
        assert!(
            code == want && sentence.contains(words),
            "{code}: {sentence}"
        );
    }
    assert_eq!(
        world.run(&version(&["remove", "mock_provider", "v3"])).code,
        Some(0)
    );
}

#[tokio::test]
async fn the_policies_are_named_before_an_extension_is_taken_from_them() {
    let world = World::start(&[]).await;
    let open = ["breaker", "force-open", "pii_guard", "--reason", "a trial"];
    let opened = world.run(&open);
    assert_eq!(opened.code, Some(0), "{}", opened.err);
    let named = "these policies still use it: demo/default. With 'pii_guard' ";
    assert!(opened.err.contains(named), "{}", opened.err);
    let deleted = world.run(&["ext", "delete", "pii_guard", "--yes"]);
    assert_eq!(
        deleted.err.matches(named).count(),
        1,
        "once: {}",
        deleted.err
    );
}

#[tokio::test]
async fn policies_from_the_command_line() {
    let world = World::start(&[]).await;
    let document = "{\"providers\": [{\"weight\": 7.0e1, \"name\": \"mock_provider\"}], \"metadata\": {\"n\": 123456789012345678901234567890}}";
    let file = world.file("policy.json", document);
    let put = world.run(&["policy", "put", "acme", "mine", "-f", &file]);
    assert_eq!(put.code, Some(0), "{}", put.err);
    assert!(
        put.out
            .starts_with("policy 'mine' of tenant 'acme' saved at revision "),
        "{}",
        put.out
    );

    let got = world.run(&["policy", "get", "acme", "mine"]);
    assert!(
        got.out.contains("7.0e1") && got.out.contains("123456789012345678901234567890"),
        "{}",
        got.out
    );
    let again = world.file("again.json", &got.out);
    assert_eq!(
        world.json(&["policy", "put", "acme", "mine", "-f", &again])["ok"],
        true
    );

    let table = world.run(&["policy", "list"]).out;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        rows.contains(&vec!["demo", "default", "1.0", "1", "1", "1", "1"]),
        "{table}"
    );
    assert!(
        rows.iter()
            .any(|row| row.starts_with(&["acme", "mine", "1.0"])),
        "{table}"
    );
    let listed = world.json(&["policy", "list", "--tenant", "acme"]);
    assert_eq!(
        listed["policies"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );

    assert_eq!(
        world.json(&["policy", "delete", "acme", "mine", "--yes"])["ok"],
        true
    );
    for arguments in [
        ["get", "acme", "mine", "--no-color"],
        ["delete", "acme", "mine", "--yes"],
    ] {
        assert_eq!(
            world.fails(&[&["policy"], arguments.as_slice()].concat()).0,
            3,
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn documents_are_checked_and_compared_whatever_their_form() {
    let mut world = World::start(&[]).await;
    let old = world.file(
        "old.json",
        r#"{"weights": {"mock_provider": 70}, "pre": [{"id": "normalize_text", "config": {"lowercase": true}}]}"#,
    );
    let new = world.file(
        "new.json",
        r#"{"steps": [{"action": "extension_pre", "extension_id": "normalize_text", "config": {"lowercase": false}},
            {"action": "extension_validator", "extension_id": "pii_guard"},
            {"action": "select_provider", "provider_id": "mock_provider", "weight": 70}]}"#,
    );
    assert_eq!(
        world.json(&["policy", "put", "acme", "mine", "-f", &old])["ok"],
        true
    );
    let same = world.run(&["policy", "diff", "router:acme/mine", &old]);
    assert_eq!(
        (same.code, same.out.as_str()),
        (Some(0), "no changes: both mean the same\n"),
        "{}",
        same.err
    );
    let changes = world.run(&["policy", "diff", "router:acme/mine", &new]);
    let want = "config of normalize_text: lowercase true -> false\nvalidator pii_guard is new (on_fail block)\n";
    assert_eq!(
        (changes.code, changes.out.as_str()),
        (Some(0), want),
        "{}",
        changes.err
    );
    let listed = world.json(&["policy", "diff", &new, "router:acme/mine"]);
    assert_eq!(
        listed["changes"][1]["sentence"], "validator pii_guard is gone",
        "{listed}"
    );
    assert_eq!(
        world.fails(&["policy", "diff", &new, "router:acme/none"]).0,
        3
    );

    // Nothing of the rest asks anybody.
    world.nats.kill();
    let checked = world.run(&["policy", "check", &old, &new]);
    assert_eq!(
        (checked.code, checked.out.lines().count()),
        (Some(0), 2),
        "{}",
        checked.err
    );
    assert!(
        checked
            .out
            .contains("/new.json: ok; step form; 1 pre-processor, 1 validator; "),
        "{}",
        checked.out
    );
    let canonical = world.run(&["policy", "check", "--canonical", &new]).out;
    let canonical = world.file("canonical.json", &canonical);
    assert!(
        world
            .run(&["policy", "diff", &canonical, &new])
            .out
            .starts_with("no changes: "),
        "{canonical}"
    );

    let bad = world.file(
        "bad.json",
        "{\n  \"providers\": [],\n  \"stepps\": [],\n  \"sticky\": {\"ttl\": 10}\n}",
    );
    let (code, sentence) = world.fails(&["policy", "check", &bad]);
    let places = [
        ":2:16: /providers: ",
        ":3:3: /stepps: is not a known key; did you mean steps?",
        ":4:21: /sticky/ttl: ",
    ];
    assert!(
        code == 1 && places.iter().all(|place| sentence.contains(place)),
        "{code}: {sentence}"
    );
    let said = world.run(&["policy", "check", &bad, "--output", "json"]);
    let document: Value = serde_json::from_str(&said.out).expect("one JSON document");
    assert_eq!(
        (said.code, &document["ok"], &document["mistakes"][1]["line"]),
        (Some(1), &json!(false), &json!(3))
    );
    assert_eq!(world.fails(&["policy", "check", "/nowhere/at.all"]).0, 2);
    assert_eq!(
        world.json(&["policy", "schema"])["title"],
        "Beamline Router policy"
    );
}

#[tokio::test]
async fn refusals_have_their_exit_codes_and_say_where_the_mistake_is() {
    let world = World::start(&[]).await;
    let (code, sentence) =
        world.fails(&["ext", "create", "--id", "normalize_text", "--type", "pre"]);
    assert!(
        code == 4 && sentence.contains("conflict"),
        "{code}: {sentence}"
    );
    let (code, sentence) = world.fails(&[
        "ext",
        "create",
        "--id",
        "Upper",
        "--type",
        "pre",
        "--timeout-ms",
        "0",
    ]);
    assert!(
        code == 1 && sentence.contains("  /id: ") && sentence.contains("  /timeout_ms: "),
        "{code}: {sentence}"
    );
    let file = world.file("policy.json", r#"{"providers": [{"name": "gpt"}]}"#);
    let (code, sentence) = world.fails(&["policy", "put", "acme", "mine", "-f", &file]);
    assert!(
        code == 1 && sentence.contains("  /providers/0/name: gpt is not registered"),
        "{code}: {sentence}"
    );
    let said = world.run(&[
        "--output", "json", "policy", "put", "acme", "mine", "-f", &file,
    ]);
    let document: Value = serde_json::from_str(&said.out).expect("one JSON document");
    assert_eq!(
        (
            said.code,
            &document["error"]["details"]["mistakes"][0]["pointer"]
        ),
        (Some(1), &json!("/providers/0/name"))
    );
    assert_eq!(
        world
            .fails(&["policy", "put", "acme", "mine", "-f", "/nowhere/at.all"])
            .0,
        2
    );
}

#[tokio::test]
async fn without_a_router_or_its_key_nothing_is_done() {
    let settings = [
        ("admin.api_key", "a-key-of-enough-length"),
        ("admin.anonymous", "none"),
    ];
    let mut world = World::start(&settings).await;
    let (code, sentence) = world.fails(&["ext", "list"]);
    assert!(
        code == 1 && sentence.contains("admin.api_key"),
        "{code}: {sentence}"
    );
    assert_eq!(
        world
            .run(&[
                "--set",
                "admin.api_key=a-key-of-enough-length",
                "ext",
                "list"
            ])
            .code,
        Some(0)
    );
    let (code, sentence) = world.fails(&["--subject-prefix", "elsewhere", "ext", "list"]);
    assert_eq!(code, 5, "{sentence}");
    world.nats.kill();
    let (code, sentence) = world.fails(&["ext", "list"]);
    assert!(
        code == 5 && sentence.contains("no NATS server at"),
        "{code}: {sentence}"
    );
}

/// Nobody shall take an empty file for an answer.
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["policy", "--help"],
        &["help", "ext"],
        &["config", "print"],
        &["config", "print", "--output", "json"],
        &["completions", "bash"],
        &["completions", "zsh"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full");
        let mut command = Command::new(program("beamline-router"));
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(full.expect("/dev/full"))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.contains("standard output does not take the answer"),
            "{arguments:?}: {said}"
        );
    }
}
