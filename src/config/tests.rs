//! What users of the configuration may rely on: the layers, every kind of mistake with its place,
//! and kept secrets.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::*;

/// A directory with one configuration file in it.
struct Setup {
    directory: tempfile::TempDir,
}

impl Setup {
    fn new(toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let setup = Self { directory };
        setup.write("beamline.toml", toml);
        setup
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(
        &self,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, Mistakes> {
        load_with(Some(self.path("beamline.toml")), environment, flags)
    }

    /// The mistakes as lines, with the directory left out of the paths.
    fn mistakes(&self, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
        let mistakes = self.load(environment, flags).unwrap_err().to_string();
        let directory = format!("{}/", self.directory.path().display());
        mistakes
            .lines()
            .map(|line| line.replace(&directory, ""))
            .collect()
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn load_with(
    config_file: Option<PathBuf>,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, Mistakes> {
    let set = flags
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    load_from(
        &Overrides {
            config_file,
            set,
            discovered: None,
        },
        environment,
    )
}

#[test]
fn a_router_found_running_is_weaker_than_anything_written() {
    let load = |flags: &[(&str, &str)]| {
        let set = flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let found = Discovered {
            place: "up.json".into(),
            set: vec![("nats.url".into(), "nats://127.0.0.1:1".into())],
            key: Some("its-own".to_owned().into()),
            login: Some(FoundLogin {
                user: "its-user".to_owned(),
                password: "its-password".to_owned().into(),
            }),
        };
        load_from(
            &Overrides {
                config_file: None,
                set,
                discovered: Some(found),
            },
            [],
        )
        .unwrap()
    };
    let found = load(&[]);
    assert_eq!(found.nats.url, "nats://127.0.0.1:1");
    assert_eq!(
        found.to_json()["origins"]["nats.url"],
        "up.json of the running `up`"
    );
    assert_eq!(
        load(&[("nats.url", "nats://127.0.0.1:2")]).nats.url,
        "nats://127.0.0.1:2"
    );

    let key = |flags: &[(&str, &str)]| {
        let key = load(flags).admin.api_key;
        key.map(|key| key.expose_secret().to_owned())
    };
    let own = ("admin.api_key", "of-another-router");
    let elsewhere = ("nats.url", "nats://127.0.0.1:2");
    let its_address = ("nats.url", "nats://127.0.0.1:1");
    assert_eq!(key(&[own]).as_deref(), Some("its-own"), "never another one");
    assert_eq!(key(&[its_address]).as_deref(), Some("its-own"));
    assert_eq!(key(&[own, its_address]).as_deref(), Some(own.1));
    assert_eq!(key(&[own, elsewhere]).as_deref(), Some(own.1));
    assert_eq!(key(&[elsewhere]), None);

    let user = |flags: &[(&str, &str)]| load(flags).nats.user;
    let token = ("nats.token", "of-another-server");
    assert_eq!(user(&[]).as_deref(), Some("its-user"));
    assert_eq!(user(&[its_address]).as_deref(), Some("its-user"));
    assert_eq!(user(&[elsewhere]), None);
    for flags in [&[token][..], &[token, its_address]] {
        let found = load(flags).nats;
        assert_eq!(found.user.as_deref(), Some("its-user"));
        assert!(found.token.is_none(), "never another login");
    }
    assert!(load(&[token, elsewhere]).nats.token.is_some());
}

fn defaults() -> Config {
    load_with(None, &[], &[]).unwrap()
}

/// The values without their origins.
fn values(config: &Config) -> serde_json::Value {
    let mut json = config.to_json();
    json.as_object_mut().unwrap().remove("origins");
    json
}

#[test]
fn deployments_with_other_prefixes_have_other_buckets() {
    let bucket = |toml: &str| {
        Setup::new(toml)
            .load(&[], &[])
            .unwrap()
            .nats
            .sessions_bucket
    };
    assert_eq!(
        bucket("[nats]\nsubject_prefix = \"team.blue\""),
        "team_blue_sessions"
    );
    assert_eq!(
        bucket("[nats]\nsubject_prefix = \"team.blue\"\nsessions_bucket = \"own\""),
        "own"
    );
}

#[test]
fn without_any_layer_everything_has_its_default() {
    let config = defaults();
    assert_eq!(config.nats.url, "nats://127.0.0.1:4222");
    assert_eq!(config.nats.ping_interval.as_secs(), 2);
    assert_eq!(
        config.database.url.expose_secret(),
        "sqlite://.beamline/registry.db"
    );
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.router.max_in_flight, 1024);
    assert_eq!(config.router.allowed_tenants, None);
    assert_eq!(config.telemetry.log_format, LogFormat::Auto);
    assert!(config.admin.api_key.is_none());
    assert_eq!(config.warnings(), [""; 0]);
}

#[test]
fn later_layers_win_and_the_printed_form_says_which() {
    let setup = Setup::new(
        "[router]\nenvironment = \"file\"\ndefault_timeout = \"1s\"\nmax_in_flight = 10\n[nats.tls]\nrequired = true\n",
    );
    let environment = [
        ("BEAMLINE__ROUTER__ENVIRONMENT", "env"),
        ("BEAMLINE__ROUTER__DEFAULT_TIMEOUT", "2s"),
    ];
    let flags = [
        ("router.environment", "first"),
        ("router.environment", "flag"),
    ];
    let config = setup.load(&environment, &flags).unwrap();

    assert_eq!(config.router.environment, "flag");
    assert_eq!(config.router.default_timeout.as_secs(), 2);
    assert_eq!(config.router.max_in_flight, 10);
    assert!(config.nats.tls.required);

    let printed = config.to_toml();
    let file = setup.path("beamline.toml");
    for line in [
        "environment = \"flag\" # flag router.environment".to_owned(),
        "default_timeout = \"2s\" # BEAMLINE__ROUTER__DEFAULT_TIMEOUT".to_owned(),
        format!("max_in_flight = 10 # {}:4:1", file.display()),
        "drain_timeout = \"25s\" # default".to_owned(),
        "# allowed_tenants is not set".to_owned(),
    ] {
        assert!(printed.contains(&line), "{line} is missing in\n{printed}");
    }
    assert_eq!(
        config.to_json()["origins"]["router.drain_timeout"],
        "default"
    );
    assert_eq!(config.to_json()["nats"]["tls"]["required"], true);
}

#[test]
fn limits_that_follow_from_others_are_worked_out() {
    let router = |toml: &str| {
        Setup::new(&format!("[router]\n{toml}"))
            .load(&[], &[])
            .unwrap()
            .router
    };
    let rate = |toml| {
        router(toml)
            .tenant_rate
            .map(|(rate, burst)| (rate.get(), burst.get()))
    };
    assert_eq!([rate(""), rate("tenant_burst = 5")], [None, None]);
    assert_eq!(rate("tenant_rate = 20"), Some((20, 20)));
    assert_eq!(rate("tenant_rate = 20\ntenant_burst = 5"), Some((20, 5)));
    assert_eq!(
        router("max_bytes_in_flight = 1000").max_bytes_in_flight,
        1000
    );
    let mebibyte = 1024 * 1024;
    assert!((8 * mebibyte..=512 * mebibyte).contains(&router("").max_bytes_in_flight));
}

#[test]
fn the_file_may_be_named_by_a_variable_and_the_command_line_goes_first() {
    let setup = Setup::new("[router]\nenvironment = \"a\"\n");
    let other = setup.write("other.toml", "[router]\nenvironment = \"b\"\n");
    let named = [("BEAMLINE_CONFIG", other.to_str().unwrap())];
    assert_eq!(
        load_with(None, &named, &[]).unwrap().router.environment,
        "b"
    );
    assert_eq!(setup.load(&named, &[]).unwrap().router.environment, "a");
    assert_eq!(
        load_with(None, &[("BEAMLINE_CONFIG", "")], &[])
            .unwrap_err()
            .to_string(),
        "BEAMLINE_CONFIG: is empty; name a file or unset it"
    );
}

#[test]
fn text_of_the_environment_is_read_by_the_type_of_the_key() {
    let tenants = |text| {
        load_with(None, &[("BEAMLINE__ROUTER__ALLOWED_TENANTS", text)], &[])
            .unwrap()
            .router
            .allowed_tenants
            .unwrap()
    };
    assert_eq!(tenants("acme, globex"), ["acme", "globex"]);
    assert_eq!(tenants(""), [""; 0]);

    let environment = [
        ("BEAMLINE__DATABASE__MIGRATE_ON_START", "false"),
        ("BEAMLINE__ROUTER__MAX_IN_FLIGHT", "1500"),
        ("BEAMLINE__NATS__PING_INTERVAL", "250ms"),
        ("BEAMLINE__NATS__URL", "tls://a.example:4222, b.example"),
        ("BEAMLINE__TELEMETRY__LOG_FORMAT", "json"),
        ("BEAMLINE__HTTP__LISTEN", "[::1]:9000"),
    ];
    let config = load_with(None, &environment, &[]).unwrap();
    assert!(!config.database.migrate_on_start);
    assert_eq!(config.router.max_in_flight, 1500);
    assert_eq!(config.nats.ping_interval.as_millis(), 250);
    assert_eq!(config.nats.url, "tls://a.example:4222,b.example");
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    assert_eq!(config.http.listen.port(), 9000);
}

#[test]
fn each_mistake_in_a_file_is_told_with_its_line() {
    let cases = [
        // Unknown keys.
        (
            "[nats]\nurll = \"x\"",
            "2:1: unknown key nats.urll; did you mean nats.url?",
        ),
        (
            "[nats]\nurl = \"a\"\n[natss]\nurl = \"a\"",
            "4:1: unknown key natss.url; did you mean nats.url?",
        ),
        (
            "[http]\napi_key = \"x\"",
            "2:1: unknown key http.api_key; did you mean admin.api_key?",
        ),
        (
            "[cheese]\ncolour = 1",
            "2:1: unknown key cheese.colour; remove it",
        ),
        ("[cheese]", "1:2: unknown key cheese; remove it"),
        (
            "nats = \"nats://a\"",
            "1:1: nats is a section and takes no value; give one to its keys, such as nats.url",
        ),
        (
            "[[nats]]\nurl = \"a\"",
            "1:3: nats is a section and takes no value; give one to its keys, such as nats.url",
        ),
        (
            "\"nats.url\" = \"a\"",
            "1:1: unknown key \"nats.url\"; did you mean nats.url?",
        ),
        (
            "\"a\\u001bb\\nc\" = 1",
            "1:1: unknown key \"a\\u{1b}b\\nc\"; remove it",
        ),
        // Duplicates and broken TOML.
        (
            "[nats]\nurl = \"a\"\nurl = \"b\"",
            "3:1: duplicate key url; keep one of them",
        ),
        (
            "[nats]\nurl = nats://a\n",
            "2:7: not valid TOML: a text must be in quotes",
        ),
        // Types.
        (
            "[nats]\nurl = 4222",
            "2:1: nats.url must be text in quotes, not a number",
        ),
        (
            "[router]\nmax_in_flight = \"10\"",
            "2:1: router.max_in_flight must be a whole number between 1 and 1500, not text",
        ),
        (
            "[router]\nmax_in_flight = 1.5",
            "2:1: router.max_in_flight must be a whole number between 1 and 1500, not a fraction",
        ),
        (
            "[nats.tls]\nrequired = \"yes\"",
            "2:1: nats.tls.required must be true or false, not text",
        ),
        (
            "[router]\ndrain_timeout = 25",
            "2:1: router.drain_timeout must be a duration with its unit, such as \"5s\" or \"250ms\", not 25",
        ),
        (
            "[router]\nallowed_tenants = \"acme\"",
            "2:1: router.allowed_tenants must be a list of texts, such as [\"a\", \"b\"], not text",
        ),
        (
            "[router]\nallowed_tenants = [1]",
            "2:1: router.allowed_tenants must be a list of texts, such as [\"a\", \"b\"], not of a number",
        ),
        // Ranges.
        (
            "[router]\nmax_in_flight = 0",
            "2:1: router.max_in_flight must be a whole number between 1 and 1500, not 0",
        ),
        (
            "[router]\nmax_in_flight = -1",
            "2:1: router.max_in_flight must be a whole number between 1 and 1500, not -1",
        ),
        (
            "[router]\nmax_in_flight = 99999999999",
            "2:1: router.max_in_flight must be a whole number between 1 and 1500, not 99999999999",
        ),
        (
            "[router]\ndrain_timeout = \"0s\"",
            "2:1: router.drain_timeout must be between 1ms and 10m, not \"0s\"",
        ),
        (
            "[router]\ndrain_timeout = \"-1s\"",
            "2:1: router.drain_timeout must be a duration with its unit, such as \"5s\" or \"250ms\", not \"-1s\"",
        ),
        (
            "[nats]\nsessions_replicas = 2",
            "2:1: nats.sessions_replicas must be 1, 3 or 5, not 2",
        ),
        (
            "[nats]\nsessions_bucket = \"a.b\"",
            "2:1: nats.sessions_bucket must be letters, digits, \"-\" and \"_\", at most 96 characters, not \"a.b\"",
        ),
        // Between keys.
        (
            "[router]\nmax_timeout = \"10s\"",
            "2:1: router.max_timeout breaks the rule that router.default_timeout (30s) is not longer than \
             router.max_timeout (10s)",
        ),
        (
            "[nats]\nuser = \"u\"",
            "2:1: nats.user is given without nats.password; give both or none",
        ),
    ];
    for (toml, expected) in cases {
        let mistakes = Setup::new(toml).mistakes(&[], &[]);
        let expected = format!("beamline.toml:{expected}");
        assert!(
            mistakes.contains(&expected),
            "{toml}\ngave {mistakes:#?}\nnot {expected}"
        );
    }
}

#[test]
fn each_value_that_no_part_can_use_is_a_mistake() {
    let cases = [
        (
            "nats.url",
            "http://a",
            "must be one or several addresses with nats:// or tls://, such as",
        ),
        ("nats.url", "ws://a", "must be one or several addresses"),
        ("nats.url", "nats://", "must be one or several addresses"),
        (
            "nats.url",
            "nats://a,,nats://b",
            "must be one or several addresses",
        ),
        (
            "nats.url",
            "nats://a:99999",
            "must be one or several addresses",
        ),
        ("nats.url", "", "is empty; give it a value or leave it out"),
        (
            "nats.subject_prefix",
            "beam.>",
            "must be subject tokens of letters, digits",
        ),
        (
            "nats.subject_prefix",
            "beam..line",
            "must be subject tokens of letters, digits",
        ),
        (
            "nats.subject_prefix",
            "beam line",
            "must be subject tokens of letters, digits",
        ),
        (
            "nats.subject_prefix",
            "$SYS",
            "must be subject tokens of letters, digits",
        ),
        (
            "nats.creds_file",
            "/does/not/exist",
            "names a file that cannot be read: No such file or directory",
        ),
        ("nats.creds_file", "/", "names a file that cannot be read"),
        (
            "nats.token_file",
            "/does/not/exist",
            "names a file that cannot be read: No such file or directory",
        ),
        (
            "database.url",
            "mysql://a",
            "must start with postgres://, postgresql:// or sqlite:",
        ),
        ("database.url", "sqlite://", "names no file"),
        ("database.url", "sqlite://a?mode=never", "cannot be used"),
        ("database.url", "sqlite::memory:", "is in memory"),
        ("database.url", "sqlite:///a?mode=memory", "is in memory"),
        ("database.url", "sqlite:///a%00b", "no path holds a NUL"),
        (
            "database.url",
            "postgres://a:port/b",
            "cannot be used: error with configuration: invalid port number",
        ),
        (
            "database.url",
            "postgres://a/b?sslmode=never",
            "cannot be used",
        ),
        (
            "database.url",
            "postgres://a/b?sslmod=require",
            "has an unknown parameter; did you mean sslmode?",
        ),
        (
            "database.max_connections",
            "many",
            "must be a whole number between 1 and 1000, not \"many\"",
        ),
        (
            "database.migrate_on_start",
            "yes",
            "must be true or false, not \"yes\"",
        ),
        (
            "http.listen",
            "localhost:8080",
            "must be an IP address with a port, such as \"127.0.0.1:8080\"",
        ),
        (
            "router.environment",
            "my prod",
            "must be at most 64 letters, digits",
        ),
        (
            "router.allowed_tenants",
            "a,,b",
            "must be a list of tenants without blanks and empty names, not of \"\"",
        ),
        (
            "router.state_dir",
            "/dev/null",
            "must be a directory, not a file",
        ),
        (
            "admin.api_key",
            "two words",
            "must be printable ASCII without blanks",
        ),
        (
            "telemetry.log_format",
            "xml",
            "must be \"auto\", \"json\" or \"human\", not \"xml\"",
        ),
        (
            "telemetry.log_filter",
            "a=b=c",
            "must be a log filter such as \"info,sqlx=warn\", not \"a=b=c\"",
        ),
        (
            "telemetry.log_filter",
            "sqlx=warn,inof",
            "has no level \"inof\"; did you mean info?",
        ),
        (
            "telemetry.log_filter",
            "warning",
            "has no level \"warning\"; did you mean warn?",
        ),
        ("router.timeout", "1s", "unknown key router.timeout"),
        ("nats", "nats://a", "nats is a section"),
    ];
    for (key, value, expected) in cases {
        let mistakes = load_with(None, &[], &[(key, value)]).unwrap_err();
        let [mistake] = &mistakes.iter().collect::<Vec<_>>()[..] else {
            panic!("{key} = {value} gave {mistakes}")
        };
        assert_eq!(mistake.place.to_string(), format!("flag {key}"));
        assert_eq!(mistake.place.key.as_deref(), Some(key));
        assert!(
            mistake.message.contains(expected),
            "{key} = {value} gave {mistake}\nnot {expected}"
        );
    }
}

#[test]
fn good_values_of_every_form_are_taken() {
    for (key, value) in [
        ("nats.url", "demo.example"),
        ("nats.url", "tls://[::1]:4222"),
        ("nats.subject_prefix", "team-a.beam_line"),
        ("database.url", "sqlite:registry.db"),
        ("database.url", "sqlite:///var/lib/registry.db?mode=rwc"),
        (
            "database.url",
            "postgresql:///beamline?host=/run/postgresql",
        ),
        (
            "database.url",
            "postgres://u:p%40ss@db.example:5432/beamline?sslmode=verify-full",
        ),
        ("telemetry.log_filter", "warn,beamline_router=debug,sqlx"),
        ("telemetry.log_filter", "INFO"),
        ("router.default_timeout", "1m 30s"),
    ] {
        load_with(None, &[], &[(key, value)])
            .unwrap_or_else(|mistakes| panic!("{key} = {value}: {mistakes}"));
    }
}

#[test]
fn each_mistake_in_the_environment_is_told_with_the_variable() {
    let cases = [
        (
            "BEAMLINE__NATS__URLL",
            "x",
            "unknown variable; did you mean BEAMLINE__NATS__URL?",
        ),
        (
            "BEAMLINE__NATS_URL",
            "x",
            "unknown variable; did you mean BEAMLINE__NATS__URL?",
        ),
        (
            "BEAMLINE__nats__url",
            "x",
            "unknown variable; did you mean BEAMLINE__NATS__URL?",
        ),
        (
            "BEAMLINE__CHEESE__COLOUR",
            "x",
            "unknown variable; remove it",
        ),
        (
            "BEAMLINE__ROUTER__DRAIN_TIMEOUT",
            "0s",
            "router.drain_timeout must be between 1ms and 10m, not \"0s\"",
        ),
    ];
    for (variable, value, expected) in cases {
        let mistakes = load_with(None, &[(variable, value)], &[]).unwrap_err();
        assert_eq!(mistakes.to_string(), format!("{variable}: {expected}"));
    }
}

#[test]
fn names_and_values_that_are_not_utf_8_are_mistakes() {
    let broken = || OsString::from_vec(vec![b'a', 0xff]);
    let named = OsString::from_vec(b"BEAMLINE__NATS__\xff".to_vec());
    let environment = [
        ("BEAMLINE__NATS__URL".into(), broken()),
        (named, "x".into()),
        ("UNRELATED".into(), broken()),
        (broken(), broken()),
    ];
    let mistakes = load_from(&Overrides::default(), environment).unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "BEAMLINE__NATS__URL: the value is not valid UTF-8\n\
         BEAMLINE__NATS__\u{fffd}: the name of the variable is not valid UTF-8"
    );
}

#[test]
fn a_variable_given_twice_is_a_mistake() {
    let environment = [("BEAMLINE__NATS__URL", "a"), ("BEAMLINE__NATS__URL", "b")];
    assert_eq!(
        load_with(None, &environment, &[]).unwrap_err().to_string(),
        "BEAMLINE__NATS__URL: is set twice in the environment; keep one of them"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_of_its_own() {
    let setup = Setup::new("");
    let missing = setup.path("missing.toml");
    let mistakes = load_with(Some(missing.clone()), &[], &[])
        .unwrap_err()
        .to_string();
    assert!(
        mistakes.starts_with(&format!(
            "{}: cannot be read: No such file",
            missing.display()
        )),
        "{mistakes}"
    );

    setup.write("beamline.toml", b"[nats]\nurl = \"\xff\"\n");
    assert_eq!(
        setup.mistakes(&[], &[]),
        ["beamline.toml:2:8: this is not valid UTF-8; save the file as UTF-8"]
    );

    let mistakes = load_with(Some("/dev/zero".into()), &[], &[])
        .unwrap_err()
        .to_string();
    assert_eq!(
        mistakes,
        "/dev/zero: cannot be read: it has more than 1048576 bytes"
    );
}

#[test]
fn all_mistakes_of_all_layers_come_at_once_and_in_order() {
    let setup = Setup::new(
        "[router]\ndefault_timeout = \"soon\"\nmax_timeout = \"1s\"\nmax_in_flight = 0\n\n[nats]\nurl = \"http://a\"\n\
         url = \"nats://b\"\nsubject_prefix = oops\n\n[natz]\nurl = 1\n",
    );
    let environment = [
        ("BEAMLINE__HTTP__LISTEN", "here"),
        ("BEAMLINE__ADMIN__KEY", "x"),
    ];
    let mistakes = setup.mistakes(&environment, &[("router.environment", ""), ("log", "info")]);
    let places: Vec<&str> = mistakes
        .iter()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "beamline.toml:2:1",
            "beamline.toml:4:1",
            "beamline.toml:7:1",
            "beamline.toml:8:1",
            "beamline.toml:9:18",
            "beamline.toml:12:1",
            "BEAMLINE__ADMIN__KEY",
            "BEAMLINE__HTTP__LISTEN",
            "flag log",
            "flag router.environment",
        ],
        "{mistakes:#?}"
    );
}

#[test]
fn what_follows_from_a_mistake_is_not_a_second_one() {
    let setup = Setup::new("[nats.tls\nrequired = true\n\n[nats]\nurll = \"a\"\n");
    let mistakes = setup.mistakes(&[], &[]);
    assert_eq!(
        mistakes,
        [
            "beamline.toml:1:10: not valid TOML: unclosed table, expected `]`",
            "beamline.toml:5:1: unknown key nats.urll; did you mean nats.url?",
        ]
    );
}

#[test]
fn mistakes_are_one_list_in_json() {
    let mistakes = load_with(None, &[], &[("nats.urll", "x")]).unwrap_err();
    let expected = serde_json::json!([
        {"place": "flag nats.urll", "key": "nats.urll", "message": "unknown key nats.urll; did you mean nats.url?"}
    ]);
    assert_eq!(serde_json::to_value(&mistakes).unwrap(), expected);
}

#[test]
fn a_configuration_in_print_loads_to_itself() {
    let setup = Setup::new("");
    setup.write("token", "canary\n");
    let token = setup.path("token");
    let flags = [
        ("nats.token_file", token.to_str().unwrap()),
        ("nats.tls.ca_file", token.to_str().unwrap()),
        ("router.environment", "prod"),
        ("router.default_timeout", "1m 500ms"),
        ("router.allowed_tenants", "acme,glo\"bex"),
        (
            "database.url",
            "postgres://router@db.example/beamline?sslmode=require",
        ),
        ("database.migrate_on_start", "false"),
        ("telemetry.log_filter", "debug"),
    ];
    for flags in [&flags[..], &[]] {
        let config = load_with(None, &[], flags).unwrap();
        setup.write("beamline.toml", config.to_toml());
        let again = setup.load(&[], &[]).unwrap();
        assert_eq!(values(&again), values(&config));
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    }
}

mod examples;
mod odd_inputs;
mod secrets;

#[test]
fn what_is_open_is_said() {
    let openings = |flags: &[(&str, &str)]| load_with(None, &[], flags).unwrap().openings();
    let answers = "answers go to reply subjects that begin with one of _INBOX., _INBOX_, _R_. (nats.reply_prefixes)";
    let looks = "every program on this machine, without a login, can read extensions, policies and health without a key \
                 (admin.anonymous)";
    assert_eq!(openings(&[]), [looks, answers]);
    let closed = openings(&[
        ("admin.anonymous", "none"),
        ("nats.reply_prefixes", "acme.replies."),
    ]);
    let theirs =
        "answers go to reply subjects that begin with one of acme.replies. (nats.reply_prefixes)";
    assert_eq!(closed, [theirs]);
}
