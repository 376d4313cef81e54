use super::*;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["beamline-router"].iter().chain(arguments))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for arguments in [
        ["--timeout", "1500ms", "tree"],
        ["tree", "--timeout", "1500ms"],
    ] {
        let cli = parse(&arguments).expect("valid arguments");
        assert_eq!(cli.globals.timeout, Duration::from_millis(1500));
    }
    assert_eq!(
        parse(&["tree"]).expect("valid arguments").globals.timeout,
        Duration::from_secs(5)
    );
}

#[test]
fn short_flags_become_overrides_and_win() {
    let cli = parse(&[
        "--nats-url",
        "nats://b:4222",
        "--set",
        "nats.url=nats://a:4222",
        "--set",
        "router.environment=a=b",
        "up",
        "--http-listen",
        "127.0.0.1:0",
    ]);
    let cli = cli.expect("valid arguments");
    let mut overrides = cli.globals.overrides();
    overrides.set.extend(cli.command.overrides());
    let set: Vec<(&str, &str)> = overrides
        .set
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("nats.url", "nats://a:4222"),
        ("router.environment", "a=b"),
        ("nats.url", "nats://b:4222"),
        ("http.listen", "127.0.0.1:0"),
    ];
    assert_eq!(set, expected);
}

#[test]
fn the_flag_decides_the_format_then_the_environment() {
    let globals = |arguments: &[&str]| parse(arguments).expect("valid arguments").globals;
    assert_eq!(globals(&["tree"]).format(None), Ok(Format::Table));
    assert_eq!(globals(&["tree"]).format(Some("JSON")), Ok(Format::Json));
    assert_eq!(
        globals(&["--output", "table", "tree"]).format(Some("json")),
        Ok(Format::Table)
    );
    assert!(globals(&["tree"]).format(Some("xml")).is_err());
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let exit_code =
        |arguments: &[&str]| parse(arguments).map_or_else(|error| error.exit_code(), |_cli| 0);
    for wrong in [
        &["nonsense"][..],
        &[],
        &["tree", "--interval", "2s"],
        &["--timeout", "0s", "tree"],
        &["--timeout", "soon", "tree"],
        &["--set", "novalue", "tree"],
        &["--output", "xml", "tree"],
        &["ext", "create"],
        &["ext", "create", "--id", "x", "--type", "nonsense"],
        &["policy", "put", "acme", "default"],
        &["up", "--http-listen", "nowhere"],
    ] {
        assert_eq!(exit_code(wrong), 2, "{wrong:?}");
    }
    assert_eq!(exit_code(&["--help"]), 0);
    assert_eq!(exit_code(&["--version"]), 0);
}

#[test]
fn of_demo_and_no_demo_the_last_one_counts() {
    let demo = |arguments: &[&str]| {
        let Command::Up(args) = parse(arguments).expect("valid arguments").command else {
            panic!("not up: {arguments:?}")
        };
        args.demo()
    };
    assert!(demo(&["up"]));
    assert!(!demo(&["up", "--no-demo"]));
    assert!(!demo(&["up", "--demo", "--no-demo"]));
    assert!(demo(&["up", "--no-demo", "--demo"]));
}
