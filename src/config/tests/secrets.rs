//! Secrets come from where they should, and go nowhere else.

use super::*;

const CANARY: &str = "canary-7f3a";

#[test]
fn no_printed_form_shows_a_secret() {
    let url = format!("postgres://router:{CANARY}@db.example/beamline");
    let by_parameter = format!("postgres://db.example/beamline?password={CANARY}&sslmode=require");
    for flags in [
        [
            ("nats.user", "router"),
            ("nats.password", CANARY),
            ("database.url", url.as_str()),
        ],
        [
            ("nats.token", CANARY),
            ("admin.api_key", CANARY),
            ("database.url", by_parameter.as_str()),
        ],
    ] {
        let config = load_with(None, &[], &flags).unwrap();
        for printed in [
            config.to_toml(),
            config.to_json().to_string(),
            format!("{config:?}"),
            format!("{config:#?}"),
        ] {
            assert!(!printed.contains(CANARY), "{printed}");
        }
        assert!(
            config
                .warnings()
                .iter()
                .all(|warning| !warning.contains(CANARY))
        );
        assert!(config.database.url.expose_secret().contains(CANARY));
        assert!(config.to_toml().contains("[redacted]"));
    }
}

#[test]
fn a_database_address_shows_everything_but_its_password() {
    for (url, expected) in [
        (
            "postgres://u:p@h:5432/db?sslmode=require",
            "postgres://u:[redacted]@h:5432/db?sslmode=require",
        ),
        ("postgres://u@h/db", "postgres://u@h/db"),
        (
            "postgres://h/db?password=p&user=u",
            "postgres://h/db?password=[redacted]&user=u",
        ),
        ("sqlite://.beamline/a@b:c.db", "sqlite://.beamline/a@b:c.db"),
        ("sqlite:registry.db", "sqlite:registry.db"),
    ] {
        let config = load_with(None, &[], &[("database.url", url)]).unwrap();
        assert_eq!(config.database.redacted_url(), expected);
        assert_eq!(config.to_json()["database"]["url"], expected);
    }
}

#[test]
fn no_mistake_shows_a_secret() {
    let cases = [
        ("nats.url", format!("nats://router:{CANARY}@a")),
        ("nats.url", format!("nats://{CANARY}@a:99999")),
        ("database.url", format!("mysql://router:{CANARY}@a")),
        (
            "database.url",
            format!("postgres://router:{CANARY}@a:port/b"),
        ),
        ("database.url", format!("postgres://router:{CANARY}/b")),
        (
            "database.url",
            format!("postgres://router:{CANARY}#@?b@a/b?{CANARY}=1"),
        ),
        ("admin.api_key", format!("{CANARY} {CANARY}")),
        ("admin.api_keys", CANARY.to_owned()),
        ("nats.password", CANARY.to_owned()),
    ];
    for (key, value) in cases {
        let mistakes = load_with(None, &[], &[(key, &value)]).unwrap_err();
        let shown = format!(
            "{mistakes} {mistakes:?} {}",
            serde_json::to_string(&mistakes).unwrap()
        );
        assert!(!shown.contains(CANARY), "{shown}");
    }
    for toml in [
        "[nats]\ntoken = \"canary-7f3a",
        "[nats]\ntoken = canary-7f3a",
        "[nats]\ntoken = [\"canary-7f3a\"]",
    ] {
        let mistakes = Setup::new(toml).mistakes(&[], &[]);
        assert!(!mistakes.concat().contains(CANARY), "{mistakes:?}");
    }
}

#[test]
fn an_address_of_nats_with_a_login_says_where_the_login_belongs() {
    let mistakes = load_with(None, &[], &[("nats.url", "nats://u:p@a")])
        .unwrap_err()
        .to_string();
    assert!(
        mistakes.contains("use nats.creds_file, nats.user with nats.password, or nats.token"),
        "{mistakes}"
    );
}

#[test]
fn there_is_one_way_to_log_in() {
    let setup = Setup::new("");
    let creds = setup.write("router.creds", "x");
    let flags = [
        ("nats.creds_file", creds.to_str().unwrap()),
        ("nats.token", "t"),
    ];
    assert_eq!(
        setup.mistakes(&[], &flags),
        [
            "flag nats.creds_file: nats.creds_file is given together with nats.token; keep one way to log in"
        ]
    );
    let certificate = [("nats.tls.cert_file", creds.to_str().unwrap())];
    assert_eq!(
        setup.mistakes(&[], &certificate),
        [
            "flag nats.tls.cert_file: nats.tls.cert_file is given without nats.tls.key_file; give both or none"
        ]
    );
}

#[test]
fn a_secret_may_come_from_a_file() {
    let setup = Setup::new("");
    let path = setup.write("key", "0123456789abcdef\r\n");
    let config = setup
        .load(
            &[("BEAMLINE__ADMIN__API_KEY_FILE", path.to_str().unwrap())],
            &[],
        )
        .unwrap();
    assert_eq!(
        config.admin.api_key.unwrap().expose_secret(),
        "0123456789abcdef"
    );
    assert_eq!(config.warnings, [""; 0]);

    setup.write("url", "sqlite://other.db\n");
    setup.write(
        "beamline.toml",
        format!(
            "[database]\nurl_file = \"{}\"\n",
            setup.path("url").display()
        ),
    );
    let config = setup.load(&[], &[]).unwrap();
    assert_eq!(config.database.url.expose_secret(), "sqlite://other.db");
    assert!(config.to_toml().contains("# url is read from url_file\n"));

    for (content, expected) in [
        (&b"\n"[..], "admin.api_key_file names a file that is empty"),
        (
            b"a b",
            "admin.api_key_file names a file whose content must be printable ASCII without blanks",
        ),
        (
            b"\xff",
            "admin.api_key_file names a file that is not valid UTF-8",
        ),
    ] {
        setup.write("key", content);
        let mistakes = setup.mistakes(&[], &[("admin.api_key_file", path.to_str().unwrap())]);
        assert_eq!(mistakes, [format!("flag admin.api_key_file: {expected}")]);
    }
}

#[test]
fn a_secret_and_its_file_in_one_layer_are_a_mistake_and_in_two_layers_the_later_one_counts() {
    let setup = Setup::new("[admin]\napi_key = \"from the file\"\n");
    let path = setup.write("key", "0123456789abcdef");
    let path = path.to_str().unwrap();
    let flags = [("admin.api_key", "a"), ("admin.api_key_file", path)];
    assert_eq!(
        load_with(None, &[], &flags).unwrap_err().to_string(),
        "flag admin.api_key: admin.api_key and admin.api_key_file are both given; keep one of them"
    );

    setup.write("beamline.toml", "[admin]\napi_key = \"in-the-toml-file\"\n");
    let environment = [("BEAMLINE__ADMIN__API_KEY_FILE", path)];
    let key = |flags| {
        setup
            .load(&environment, flags)
            .unwrap()
            .admin
            .api_key
            .unwrap()
            .expose_secret()
            .to_owned()
    };
    assert_eq!(key(&[]), "0123456789abcdef");
    assert_eq!(
        key(&[("admin.api_key", "on-the-command-line")]),
        "on-the-command-line"
    );
}

#[test]
fn a_secret_left_out_in_print_is_not_taken_for_one() {
    let setup = Setup::new("");
    let flags = [
        ("admin.api_key", CANARY),
        ("database.url", "postgres://u:p@h/db"),
    ];
    setup.write("beamline.toml", setup.load(&[], &flags).unwrap().to_toml());
    let mistakes = setup.mistakes(&[], &[]);
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(
        mistakes
            .iter()
            .all(|line| line.contains("put the secret in its place")),
        "{mistakes:?}"
    );
}

#[test]
fn files_with_secrets_that_everybody_can_read_are_warned_of() {
    let setup = Setup::new("[nats]\ntoken = \"t\"\n");
    let file = setup.path("beamline.toml");
    assert_eq!(setup.load(&[], &[]).unwrap().warnings(), [""; 0]);
    chmod(&file, 0o644);
    let warning = format!(
        "{} holds a secret and everybody can read it; restrict it with chmod 600",
        file.display()
    );
    assert_eq!(
        setup
            .load(&[], &[("nats.token", "replaced")])
            .unwrap()
            .warnings(),
        [warning]
    );

    setup.write("beamline.toml", "[database]\nurl = \"sqlite://a.db\"\n");
    chmod(&file, 0o644);
    assert_eq!(
        setup.load(&[], &[]).unwrap().warnings(),
        [""; 0],
        "no secret, no warning"
    );

    let key = setup.write("key", "0123456789abcdef");
    chmod(&key, 0o644);
    let key = key.to_str().unwrap();
    for setting in ["admin.api_key_file", "nats.creds_file"] {
        let expected = format!("{setting}: everybody can read {key}; restrict it with chmod 600");
        assert_eq!(
            setup.load(&[], &[(setting, key)]).unwrap().warnings(),
            [expected]
        );
    }
}

#[test]
fn what_is_allowed_but_risky_is_warned_of() {
    for (environment, flags, expected) in [
        (
            &[
                ("BEAMLINE_NATS_URL", "x"),
                ("BEAMLINE_NATS_PORT", "x"),
                ("BEAMLINE_HOME", "x"),
            ][..],
            &[][..],
            "BEAMLINE_NATS_URL is not read; did you mean BEAMLINE__NATS__URL?",
        ),
        (
            &[],
            &[("http.listen", "0.0.0.0:80")],
            "http.listen 0.0.0.0:80 can be reached from other machines and admin.api_key is not set",
        ),
        (
            &[],
            &[("admin.api_key", "short")],
            "admin.api_key has fewer than 16 characters and could be guessed, also from a signature that somebody reads on the bus",
        ),
    ] {
        assert_eq!(
            load_with(None, environment, flags).unwrap().warnings(),
            [expected]
        );
    }
}
