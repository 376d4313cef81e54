//! `policy explain`, `policy complexity`, `policy check --against` and `request --explain` against
//! a router with the reference extensions.

use std::fs;
use std::process::{Command, Stdio};

use beamline_test_support::{ExtensionProcess, Nats, RouterProcess, program};
use serde_json::Value;
use tempfile::TempDir;

struct World {
    nats: Nats,
    directory: TempDir,
    _router: RouterProcess,
    _extensions: [ExtensionProcess; 4],
}

/// Exit code, standard output and standard error of a command.
struct Said(i32, String, String);

impl World {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let router = RouterProcess::start(&[("nats.url", nats.url())]).await;
        let extensions = [
            ExtensionProcess::start(&nats, "beamline-normalize-text", "normalize_text", &[]).await,
            ExtensionProcess::start(&nats, "beamline-pii-guard", "pii_guard", &[]).await,
            ExtensionProcess::start(&nats, "beamline-mock-provider", "mock_provider", &[]).await,
            ExtensionProcess::start(&nats, "beamline-mask-pii", "mask_pii", &[]).await,
        ];
        Self {
            nats,
            directory: TempDir::new().expect("a directory"),
            _router: router,
            _extensions: extensions,
        }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(program("beamline-router"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BEAMLINE"))
        {
            command.env_remove(name);
        }
        command
            .args(["--nats-url", self.nats.url(), "--timeout", "10s"])
            .args(arguments)
            .env("COLUMNS", "60");
        let output = command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said(
            output.status.code().expect("an exit code"),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// What a command that works prints.
    fn shown(&self, arguments: &[&str]) -> String {
        let Said(code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.shown(&[arguments, &["--output", "json"]].concat()))
            .expect("one JSON document")
    }

    /// Exit code and sentence of a command that fails.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let Said(code, out, err) = self.run(arguments);
        assert!(out.is_empty() && code != 0, "{arguments:?}: {out}");
        (code, err)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.directory.path().join(name), text).expect("written");
        name.to_owned()
    }
}

/// The picture without what is measured.
fn skeleton(shown: &str) -> Vec<&str> {
    shown
        .lines()
        .filter(|line| line.starts_with(['├', '┌', '└']) || line.contains(" v1 "))
        .collect()
}

#[tokio::test]
async fn a_plan_is_explained_before_anything_is_called() {
    let world = World::start().await;
    let shown = world.shown(&["policy", "explain", "demo", "default"]);
    assert!(
        shown.starts_with("policy demo/default version 1.0, registry revision "),
        "{shown}"
    );
    let expected = "\
┌─ 1 pre ──────────────────────────────────────────────────┐
│ normalize_text v1                                        │
├─ 2 validator ────────────────────────────────────────────┤
│ pii_guard v1                                             │
├─ 3 provider ─────────────────────────────────────────────┤
│ mock_provider v1                                         │
├─ 4 post ─────────────────────────────────────────────────┤
│ mask_pii v1                                              │
└──────────────────────────────────────────────────────────┘";
    assert_eq!(skeleton(&shown).join("\n"), expected, "{shown}");
    assert!(
        shown.contains("not called yet") && shown.contains("assumed, nothing was called yet"),
        "{shown}"
    );
    assert!(
        shown.contains("\nprovider    mock_provider, the only one that can be chosen\n"),
        "{shown}"
    );
    let answer = world.json(&["policy", "explain", "demo", "default", "hello"]);
    assert_eq!(
        (&answer["result"]["called_extensions"], &answer["ok"]),
        (&false.into(), &true.into()),
        "{answer}"
    );

    let (code, sentence) = world.fails(&["policy", "explain", "demo", "none"]);
    assert!(
        code == 3 && sentence.contains("Tenant demo has no policy none"),
        "{code}: {sentence}"
    );
}

#[tokio::test]
async fn extensions_are_called_if_asked_for_and_the_provider_never() {
    let world = World::start().await;
    let explain = ["policy", "explain", "demo", "default", "--call-extensions"];
    let shown = world.shown(
        &[
            &explain[..],
            &[
                "Hello    you",
                "--provider-output",
                "\"write to a@example.org\"",
            ],
        ]
        .concat(),
    );
    assert!(
        shown.contains("It would be answered") && shown.matches("│ ✓ success in ").count() == 3,
        "{shown}"
    );
    assert!(
        shown.ends_with("What comes out in the end:\n  write to [EMAIL]\n"),
        "{shown}"
    );

    let blocked = world.shown(&[&explain[..], &["My card is 4111 1111 1111 1111"]].concat());
    assert!(
        blocked.contains("\nBLOCKED: pii_guard ") && blocked.contains("(validator_blocked)"),
        "{blocked}"
    );
    assert!(
        blocked.contains("│ ✗ rejected in ") && blocked.contains("│ not reached"),
        "{blocked}"
    );
    assert!(blocked.contains("│ not called  "), "{blocked}");

    let health = world.shown(&["ext", "list", "--type", "provider"]);
    let row = health
        .lines()
        .find(|line| line.starts_with("mock_provider"))
        .expect("a row");
    assert!(row.contains("unknown"), "nobody called it: {row}");
}

#[tokio::test]
async fn a_document_can_be_explained_and_checked_before_it_is_saved() {
    let world = World::start().await;
    let good = world.file(
        "good.json",
        r#"{"pre": [{"id": "normalize_text", "config": {"lowercase": true}}], "providers": ["mock_provider"]}"#,
    );
    let shown = world.shown(&[
        "policy", "explain", "acme", "new", "--file", &good, "--detail", "verbose",
    ]);
    assert!(
        shown.starts_with("policy acme/new version 1.0, as in good.json, which is not saved; "),
        "{shown}"
    );
    assert!(
        shown.contains(r#"beamline.ext.pre.normalize_text.v1  {"lowercase":true}"#),
        "{shown}"
    );
    assert!(
        shown.contains("\nsteps       1. policy new version 1.0"),
        "{shown}"
    );
    assert!(
        world
            .shown(&["policy", "check", &good, "--against", "acme/new"])
            .starts_with("good.json: ok; ")
    );

    let missing = world.file(
        "missing.json",
        "{\"providers\": [\"mock_provider\"],\n \"pre\": [{\"id\": \"nope\"}]}",
    );
    let (code, sentence) = world.fails(&["policy", "explain", "acme", "new", "--file", &missing]);
    assert!(
        code == 3 && sentence.contains("nope, which is not registered"),
        "{code}: {sentence}"
    );
    assert_eq!(
        world.run(&["policy", "check", &missing]).0,
        0,
        "nobody was asked"
    );
    let (code, sentence) = world.fails(&["policy", "check", &missing, "--against", "acme/new"]);
    let want = "error: 1 mistake in missing.json:\nmissing.json:2:17: /pre/0/id: nope is not registered; create it first\n";
    assert_eq!((code, sentence.as_str()), (1, want));

    let slip = world.file(
        "slip.json",
        "{\"providers\": [\"mock_provider\"],\n \"pre\": [{\"id\": \"normalize_text\", \"config\": {\"lowercas\": true}}]}",
    );
    assert_eq!(world.run(&["policy", "check", &slip]).0, 0);
    let (code, sentence) = world.fails(&["policy", "check", &slip, "--against", "acme/new"]);
    let told = "/pre/0/config/lowercas: is not a known key; did you mean lowercase?\n";
    let want = format!("error: 1 mistake in slip.json:\nslip.json:2:58: {told}");
    assert_eq!((code, sentence), (1, want));
    let (code, sentence) = world.fails(&["policy", "put", "acme", "new", "-f", &slip]);
    let want = format!("error: The policy has 1 mistake. (invalid_request)\n  {told}");
    assert_eq!((code, sentence), (1, want));
    let blurred = r#"{"style": "blur"}"#;
    let wrong = ["ext", "update", "mask_pii", "--config-json", blurred];
    let (code, sentence) = world.fails(&wrong);
    let told = "/config/style: must be one of label, partial, stars, is \"blur\"\n";
    let want = format!("error: The extension has 1 mistake. (invalid_request)\n  {told}");
    assert_eq!((code, sentence), (1, want));
    // Nothing of all that was saved.
    assert_eq!(
        world.json(&["policy", "list", "--tenant", "acme"])["policies"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn complexity_and_the_steps_of_a_request_are_told() {
    let world = World::start().await;
    let before = world.shown(&["policy", "complexity", "demo", "default"]);
    let expected = "\
policy      demo/default
complexity  45 of 100, medium  █████████░░░░░░░░░░░
extensions  1 pre-processor, 1 validator, 1 post-processor
estimate    90.0 ms (assumed, nothing was called yet)

Nothing to improve.
";
    assert_eq!(before, expected);
    let shown = world.shown(&[
        "request",
        "--tenant",
        "demo",
        "hello",
        "--explain",
        "--context",
        "vip:=true",
    ]);
    assert!(
        shown.contains("echo: hello") && shown.contains("\n\n1. policy default version 1.0 at "),
        "{shown}"
    );
    assert!(
        !world
            .shown(&["request", "--tenant", "demo", "hello"])
            .contains("1. policy")
    );
    let after = world.shown(&["policy", "complexity", "demo", "default"]);
    assert!(after.contains(" (measured)\n"), "{after}");
    assert_eq!(world.fails(&["policy", "complexity", "demo", "none"]).0, 3);
}
