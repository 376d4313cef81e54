//! What nobody writes on purpose: files and variables that are almost right.

use super::*;

#[test]
fn a_stray_line_hides_no_mistake_of_the_lines_after_it() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "hello\n[nats]\nurl = 3\nworld\n",
            &[
                "1:6: not valid TOML: key with no value, expected `=`",
                "3:1: nats.url must be text in quotes, not a number",
                "4:6: not valid TOML: key with no value, expected `=`",
            ],
        ),
        (
            "[router]\r\nhello\r\nmax_in_flight = 0\r\n",
            &[
                "2:6: not valid TOML: key with no value, expected `=`",
                "3:1: router.max_in_flight must be a whole number between 1 and 1500, not 0",
            ],
        ),
        // The list that is not closed breaks at the line of the next section.
        (
            "[router]\nallowed_tenants = [\"a\",\n\"b\"\n[nats]\nurl = 3\n",
            &["4:1: not valid TOML: missing comma between array elements, expected `,`"],
        ),
        (
            "[nats]\nurll = 1\n[router]\nenvironment = '''\n",
            &[
                "2:1: unknown key nats.urll; did you mean nats.url?",
                "4:1: router.environment is empty; give it a value or leave it out",
                "5:1: not valid TOML: invalid multi-line literal string, expected `'`",
            ],
        ),
    ];
    for (toml, expected) in cases {
        let expected: Vec<String> = expected
            .iter()
            .map(|line| format!("beamline.toml:{line}"))
            .collect();
        assert_eq!(Setup::new(toml).mistakes(&[], &[]), expected, "{toml}");
    }
}

#[test]
fn a_file_full_of_broken_lines_is_read_to_its_end() {
    let setup = Setup::new(&"a\n".repeat(5000));
    assert_eq!(setup.mistakes(&[], &[]).len(), 5000);
}

#[test]
fn a_byte_order_mark_takes_no_column() {
    let setup = Setup::new("\u{feff}natss.url = 1\n");
    let expected = "beamline.toml:1:7: unknown key natss.url; did you mean nats.url?";
    assert_eq!(setup.mistakes(&[], &[]), [expected]);
}

#[test]
fn numbers_are_read_in_every_form_of_toml() {
    let router = |value: &str| {
        let setup = Setup::new(&format!("[router]\nmax_in_flight = {value}\n"));
        setup.load(&[], &[]).unwrap().router.max_in_flight
    };
    let read = ["1_000", "0x10", "0o17", "0b11", "+7"].map(router);
    assert_eq!(read, [1000, 16, 15, 3, 7]);

    for digits in [20, 70] {
        let setup = Setup::new(&format!(
            "[router]\nmax_in_flight = {}\n",
            "9".repeat(digits)
        ));
        assert_eq!(
            setup.mistakes(&[], &[]),
            [
                "beamline.toml:2:1: router.max_in_flight must be a whole number between 1 and 1500, \
                 not a number of more than 64 bits"
            ]
        );
    }
}

#[test]
fn values_of_types_that_no_key_has_are_named() {
    let setup = Setup::new(
        "nats.url = 2024-01-01\nnats.tls.required = 1e3\nrouter.environment = [\"dev\"]\n\
         router.drain_timeout = {}\nrouter.allowed_tenants = [{a = 1}]\nnats.user.name = \"u\"\n",
    );
    assert_eq!(
        setup.mistakes(&[], &[]),
        [
            "beamline.toml:1:6: nats.url must be text in quotes, not a date",
            "beamline.toml:2:10: nats.tls.required must be true or false, not a fraction",
            "beamline.toml:3:8: router.environment must be text in quotes, not a list",
            "beamline.toml:4:8: router.drain_timeout is a key, not a section; give it a value",
            "beamline.toml:5:8: router.allowed_tenants must be a list of texts, such as [\"a\", \"b\"], not of a section",
            "beamline.toml:6:11: unknown key nats.user.name; did you mean nats.user?",
        ]
    );
}

#[test]
fn a_value_for_a_section_does_not_hide_what_is_wrong_in_it() {
    let setup = Setup::new("[nats]\nurl = 5\n[nats.tls]\nrequired = 5\n");
    let mistakes = setup.mistakes(&[("BEAMLINE__NATS", "x")], &[("nats.tls", "y")]);
    assert_eq!(
        mistakes,
        [
            "beamline.toml:2:1: nats.url must be text in quotes, not a number",
            "beamline.toml:4:1: nats.tls.required must be true or false, not a number",
            "BEAMLINE__NATS: nats is a section and takes no value; give one to its keys, such as nats.url",
            "flag nats.tls: nats.tls is a section and takes no value; give one to its keys, such as nats.tls.required",
        ]
    );
}

#[test]
fn keys_in_the_syntax_of_paths_are_unknown() {
    // The `config` crate would make a list of that many entries.
    let flags = [
        ("nats.url[99999999999]", "x"),
        ("nats..url", "x"),
        (".", "x"),
    ];
    let places: Vec<String> = load_with(None, &[("BEAMLINE__NATS__URL[0]", "x")], &flags)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        places,
        [
            "BEAMLINE__NATS__URL[0]: unknown variable; remove it",
            "flag .: unknown key .; remove it",
            "flag nats..url: unknown key nats..url; did you mean nats.url?",
            "flag nats.url[99999999999]: unknown key nats.url[99999999999]; remove it",
        ]
    );
}

#[test]
fn what_is_written_in_another_case_is_not_read_and_said() {
    let setup = Setup::new("[NATS]\nURL = \"nats://a\"\n");
    assert_eq!(
        setup.mistakes(&[], &[]),
        ["beamline.toml:2:1: unknown key NATS.URL; did you mean nats.url?"]
    );

    let environment = [("beamline__nats__url", "nats://a"), ("beamline_home", "x")];
    let config = load_with(None, &environment, &[]).unwrap();
    assert_eq!(config.nats.url, defaults().nats.url);
    assert_eq!(
        config.warnings(),
        ["beamline__nats__url is not read; did you mean BEAMLINE__NATS__URL?"]
    );
}

#[test]
fn an_empty_variable_is_a_mistake_unless_it_is_a_list() {
    for (variable, expected) in [
        (
            "BEAMLINE__ROUTER__MAX_IN_FLIGHT",
            "router.max_in_flight must be a whole number between 1 and 1500, not \"\"",
        ),
        (
            "BEAMLINE__NATS__TLS__REQUIRED",
            "nats.tls.required must be true or false, not \"\"",
        ),
        (
            "BEAMLINE__ADMIN__API_KEY_FILE",
            "admin.api_key_file is empty; give it a value or leave it out",
        ),
    ] {
        let mistakes = load_with(None, &[(variable, "")], &[]).unwrap_err();
        assert_eq!(mistakes.to_string(), format!("{variable}: {expected}"));
    }
    let config = load_with(None, &[("BEAMLINE__ROUTER__ALLOWED_TENANTS", "")], &[]).unwrap();
    assert_eq!(config.router.allowed_tenants, Some(Vec::new()));
}

#[test]
fn the_default_of_the_database_is_shown_as_such_and_a_file_takes_its_place() {
    let setup = Setup::new("");
    let path = setup.write("url", "sqlite://other.db");
    assert!(
        defaults()
            .to_toml()
            .contains("url = \"sqlite://.beamline/registry.db\" # default\n")
    );

    let flags = [("database.url_file", path.to_str().unwrap())];
    let config = load_with(None, &[], &flags).unwrap();
    assert_eq!(config.database.url.expose_secret(), "sqlite://other.db");
    assert_eq!(config.to_json()["database"]["url"], serde_json::Value::Null);
}

/// As Kubernetes gives what `echo` wrote into a secret.
#[test]
fn a_line_break_at_the_end_of_a_variable_is_no_part_of_its_value() {
    let setup = Setup::new("");
    let path = setup.write("key", "0123456789abcdef\n");
    let path = format!("{}\n", path.display());
    let environment = [
        ("BEAMLINE__ADMIN__API_KEY_FILE", path.as_str()),
        ("BEAMLINE__NATS__TOKEN", "a token \r\n"),
        ("BEAMLINE__DATABASE__URL", "postgres://u:p@db.example/b\n"),
        ("BEAMLINE__DATABASE__MAX_CONNECTIONS", "7\n"),
        ("BEAMLINE__TELEMETRY__LOG_FILTER", "info\n"),
    ];
    let config = setup.load(&environment, &[]).unwrap();
    let key = config.admin.api_key.unwrap();
    assert_eq!(key.expose_secret(), "0123456789abcdef");
    let token = config.nats.token.unwrap().now().unwrap();
    assert_eq!(token.expose_secret(), "a token ");
    let url = config.database.url.expose_secret();
    assert_eq!(url, "postgres://u:p@db.example/b");
    assert_eq!(config.database.max_connections, 7);
    assert_eq!(config.telemetry.log_filter, "info");

    let nothing = load_with(None, &[("BEAMLINE__NATS__TOKEN", "\n")], &[]).unwrap_err();
    let expected = "BEAMLINE__NATS__TOKEN: nats.token is empty; give it a value or leave it out";
    assert_eq!(nothing.to_string(), expected);
}

#[test]
fn a_database_address_with_several_hosts_is_a_mistake() {
    for url in [
        "postgres://u:p@a.example,b.example/db",
        "postgres://u:p@a.example:5432,b.example:5432/db?sslmode=require",
        "postgres:///db?host=a.example,b.example",
        "postgres://u@a.example/db?host=a.example%2Cb.example",
        "postgres://u@[::1]:5432,[::2]:5432/db",
    ] {
        let mistakes = load_with(None, &[], &[("database.url", url)]).unwrap_err();
        let mistakes = mistakes.to_string();
        assert!(
            mistakes.contains("database.url names several hosts"),
            "{mistakes}"
        );
    }
    for url in ["postgres://u:a,b@h/db", "postgres://u:p@[::1]:5432/db"] {
        load_with(None, &[], &[("database.url", url)]).unwrap();
    }
}

#[test]
fn a_filter_that_leaves_the_most_out_is_warned_of() {
    let filter = [("telemetry.log_filter", "beamline_router=debug")];
    let warnings = load_with(None, &[], &filter).unwrap().warnings().to_vec();
    let [warning] = warnings.as_slice() else {
        panic!("one warning, not {warnings:?}")
    };
    assert!(
        warning.contains(r#"as in "info,beamline_router=debug""#),
        "{warning}"
    );
}
