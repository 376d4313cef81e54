//! What somebody meets on the first day: mistakes, narrow terminals, the tab key.

use super::*;

#[tokio::test]
async fn what_does_not_exist_comes_with_what_may_have_been_meant() {
    let world = World::start(&[]).await;
    for arguments in [
        ["policy", "get", "demo", "defualt"].as_slice(),
        &["policy", "delete", "demo", "defualt"],
        &["policy", "explain", "demo", "defualt", "hi"],
        &["policy", "complexity", "demo", "defualt"],
        &["request", "--tenant", "demo", "--policy", "defualt", "hi"],
    ] {
        let (code, sentence) = world.fails(arguments);
        let hint = "Did you mean policy 'default' of tenant 'demo'?";
        assert!(
            code == 3 && sentence.contains(hint),
            "{arguments:?}: {sentence}"
        );
    }
    let file = world.file("near.json", r#"{"providers": ["mok_provider"]}"#);
    let (_, sentence) = world.fails(&["policy", "put", "acme", "mine", "-f", &file]);
    let hint = "mok_provider is not registered; did you mean mock_provider?";
    assert!(sentence.contains(hint), "{sentence}");
    let (_, sentence) = world.fails(&["policy", "get", "dmeo", "default"]);
    assert!(
        sentence.contains("Did you mean tenant 'demo'? It has default."),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_deletion_says_whose_requests_it_affects() {
    let world = World::start(&[]).await;
    let (code, sentence) = world.fails(&["policy", "delete", "demo", "default"]);
    let affected = "requests of tenant 'demo' that name policy 'default', or no policy, will get \
                    'policy_not_found'. It is the tenant's last one.";
    assert!(
        code == 2 && sentence.contains(affected),
        "{code}: {sentence}"
    );
    let deleted = world.run(&["policy", "delete", "demo", "default", "--yes"]);
    assert_eq!(deleted.code, Some(0), "{}", deleted.err);
    assert!(deleted.err.contains(affected), "{}", deleted.err);
}

#[tokio::test]
async fn wrong_usage_is_a_document_where_json_was_asked_for() {
    let world = World::start(&[]).await;
    for arguments in [
        ["--output", "json", "polcy", "list"].as_slice(),
        &["request", "hi", "--output=json"],
        &["--output", "json", "policy"],
        &["--output", "json", "tree", "--nope"],
        &[
            "--output",
            "json",
            "policy",
            "put",
            "a",
            "b",
            "-f",
            "/nowhere/at.all",
        ],
    ] {
        let said = world.run(arguments);
        let document: Value = serde_json::from_str(&said.out).expect("one JSON document");
        assert_eq!(said.code, Some(2), "{arguments:?}");
        assert_eq!(
            (&document["ok"], &document["error"]["code"]),
            (&json!(false), &json!("usage")),
            "{document}"
        );
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
    let help = world.run(&["--output", "json", "--help"]);
    assert!(
        help.code == Some(0) && help.out.contains("Usage:"),
        "{}",
        help.out
    );
}

#[tokio::test]
async fn a_refusal_is_explained_too() {
    let world = World::start(&[]).await;
    let plain = ["request", "--tenant", "demo", "hi"];
    let (code, sentence) = world.fails(&plain);
    assert!(
        code == 1 && !sentence.contains("ATTEMPTS"),
        "{code}: {sentence}"
    );
    let (_, sentence) = world.fails(&[plain.as_slice(), &["--explain"]].concat());
    for part in [
        "ID              TYPE ",
        "1. pre normalize_text v1: ",
        "2. validator pii_guard v1: not run",
        "the request ended with ",
    ] {
        assert!(sentence.contains(part), "{part} in {sentence}");
    }
}

#[tokio::test]
async fn tables_fit_eighty_columns() {
    let world = World::start(&[]).await;
    for arguments in [
        ["ext", "list"].as_slice(),
        &["ext", "health"],
        &["breaker", "list", "--fleet"],
        &["policy", "list"],
        &["tree"],
    ] {
        let mut command = Command::new(program("beamline-router"));
        let output = command
            .args(["--nats-url", world.nats.url()])
            .args(arguments)
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.lines().count() > 1, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[tokio::test]
async fn bash_completes_below_the_first_level_and_knows_ids_and_tenants() {
    let mut world = World::start(&[]).await;
    let completed = |world: &World, words: &[&str]| {
        let program = program("beamline-router").display().to_string();
        let script = r#"source <("$0" completions bash); COMP_WORDS=("$0" "$@"); COMP_CWORD=$#
            compopt() { echo "compopt $*"; }; _beamline_router; printf '%s\n' "${COMPREPLY[@]}""#;
        let output = Command::new("bash")
            .args(["-c", script, &program])
            .args(words)
            .env("BEAMLINE__NATS__URL", world.nats.url())
            .current_dir(world.directory.path())
            .output()
            .expect("bash runs");
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(completed(&world, &["pol"]), ["policy"]);
    assert_eq!(completed(&world, &["policy", "ex"]), ["explain"]);
    assert_eq!(
        completed(&world, &["policy", "explain", "--call"]),
        ["--call-extensions"]
    );
    assert_eq!(completed(&world, &["--output", "=", "j"]), ["json"]);
    assert_eq!(completed(&world, &["policy", "get", ""]), ["demo"]);
    assert_eq!(
        completed(&world, &["policy", "get", "demo", "de"]),
        ["default"]
    );
    assert_eq!(completed(&world, &["request", "--tenant", "d"]), ["demo"]);
    assert_eq!(
        completed(&world, &["ext", "get", "m"]),
        ["mask_pii", "mask_pii_in", "mock_provider"]
    );
    assert_eq!(
        completed(&world, &["policy", "put", "a", "b", "-f", ""]),
        ["compopt", "-o", "default"]
    );
    world.nats.kill();
    assert!(
        completed(&world, &["policy", "get", ""]).is_empty(),
        "and no word about it"
    );
}

#[tokio::test]
async fn what_fails_again_and_again_fills_one_line_of_the_log() {
    let world = World::start(&[]).await;
    for _ in 0..5 {
        let (code, sentence) = world.fails(&["request", "--tenant", "demo", "hi"]);
        assert_eq!(code, 1, "{sentence}");
    }
    let lines = || {
        let log = world.router.log();
        let failed = log.lines().filter(|line| line.contains("failed"));
        let failed = failed.filter(|line| line.contains("extension call"));
        failed.map(str::to_owned).collect::<Vec<_>>()
    };
    eventually(LIMIT, "the count", async || {
        let is_count = |line: &String| line.contains("more extension calls failed");
        lines().iter().any(is_count).then_some(())
    })
    .await;
    // While its breaker is open, the reason is another one.
    let told = lines();
    assert!(told.len() <= 4, "{told:#?}");
}
