//! How the router reaches NATS, and under which subjects it works.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use secrecy::SecretString;

use super::overrides::FoundLogin;
use super::printout::redacted;
use super::reader::{Reader, read_secret};
use super::values::{Problem, shown};

/// Section `nats`. At most one way to log in is given: a credentials file, a user with a password,
/// or a token.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// One server, or several separated by commas. Never holds a user or a password.
    pub url: String,
    /// First tokens of every subject of this router, without a dot at the end.
    pub subject_prefix: String,
    /// How the inboxes of router and command line begin, so that permissions can name them.
    pub inbox_prefix: String,
    /// How the reply subjects of requests may begin; compared as text.
    pub reply_prefixes: Vec<String>,
    /// Connections that calls to extensions are spread over.
    pub call_connections: usize,
    /// JWT and key as written by `nsc`.
    pub creds_file: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<NatsSecret>,
    pub token: Option<NatsSecret>,
    /// The key-value bucket of sticky sessions.
    pub sessions_bucket: String,
    /// How many servers of a cluster keep the bucket.
    pub sessions_replicas: usize,
    pub tls: NatsTlsConfig,
    /// Two pings without an answer mean that the connection is dead.
    pub ping_interval: Duration,
    /// How long the router waits for the first connection before it gives up.
    pub startup_timeout: Duration,
}

/// A secret that may be replaced while the router runs, where it has a file.
#[derive(Debug, Clone)]
pub struct NatsSecret {
    text: SecretString,
    file: Option<PathBuf>,
}

impl NatsSecret {
    /// One that stays as it is.
    fn constant(text: SecretString) -> Self {
        Self { text, file: None }
    }

    fn read(from: &mut Reader, key: &str) -> Option<Self> {
        let text = from.secret(key, redacted, |_| Ok(()))?;
        let file = from.file_of_secret(key);
        Some(Self { text, file })
    }

    /// As it is now. Blocks for as long as the file takes.
    pub fn now(&self) -> Result<SecretString, String> {
        match &self.file {
            Some(file) => read_secret(file).map(|(text, _)| text.into()),
            None => Ok(self.text.clone()),
        }
    }
}

/// Section `nats.tls`.
#[derive(Debug, Clone)]
pub struct NatsTlsConfig {
    /// Refuse a server that offers no TLS.
    pub required: bool,
    /// Authorities to trust instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Own certificate, for servers that ask for one; together with `key_file`.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

impl NatsConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let url = from.text("nats.url", "nats://127.0.0.1:4222", check_url);
        let pings = Duration::from_millis(100)..=Duration::from_secs(120);
        let waits = Duration::from_millis(1)..=Duration::from_secs(600);
        let subject_prefix = from.text("nats.subject_prefix", "beamline", check_prefix);
        // Deployments that share a server and not a prefix do not share sessions.
        let own_bucket = format!("{}_sessions", subject_prefix.replace('.', "_"));
        let nats = Self {
            url: url.split(',').map(str::trim).collect::<Vec<_>>().join(","),
            inbox_prefix: from.text("nats.inbox_prefix", "_INBOX", check_prefix),
            reply_prefixes: read_reply_prefixes(from, &subject_prefix),
            call_connections: from.number("nats.call_connections", 4, 1..=16) as usize,
            subject_prefix,
            creds_file: from.file("nats.creds_file", true),
            user: from.optional_text("nats.user"),
            password: NatsSecret::read(from, "nats.password"),
            token: NatsSecret::read(from, "nats.token"),
            ping_interval: from.duration("nats.ping_interval", Duration::from_secs(2), pings),
            startup_timeout: from.duration("nats.startup_timeout", Duration::from_secs(30), waits),
            sessions_bucket: from.text_or_else("nats.sessions_bucket", &own_bucket, check_bucket),
            sessions_replicas: read_replicas(from),
            tls: NatsTlsConfig::read(from),
        };
        check_login(from);
        nats
    }

    /// Takes this login and no other: what was written for another server goes to none that was
    /// only found, or started here.
    pub fn log_in_only_as(&mut self, login: Option<FoundLogin>) {
        let (user, password) = login.map(|login| (login.user, login.password)).unzip();
        self.user = user;
        self.password = password.map(NatsSecret::constant);
        self.creds_file = None;
        self.token = None;
        self.tls = NatsTlsConfig::none();
    }
}

impl NatsConfig {
    /// Where the router lets requests send their answers.
    pub(super) fn answers_go(&self) -> String {
        format!(
            "answers go to reply subjects that begin with one of {} (nats.reply_prefixes)",
            self.reply_prefixes.join(", ")
        )
    }
}

impl NatsTlsConfig {
    /// Whoever names an authority or a certificate means TLS: without it, a password would go in
    /// clear to a server that offers none.
    pub fn is_wanted(&self) -> bool {
        self.required || self.ca_file.is_some() || self.cert_file.is_some()
    }

    fn none() -> Self {
        Self {
            required: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }

    fn read(from: &mut Reader) -> Self {
        let tls = Self {
            required: from.boolean("nats.tls.required", false),
            ca_file: from.file("nats.tls.ca_file", false),
            cert_file: from.file("nats.tls.cert_file", false),
            key_file: from.file("nats.tls.key_file", true),
        };
        check_pair(from, "nats.tls.cert_file", "nats.tls.key_file");
        tls
    }
}

fn check_login(from: &mut Reader) {
    check_pair(from, "nats.user", "nats.password");
    let ways: Vec<&str> = ["nats.creds_file", "nats.user", "nats.token"]
        .into_iter()
        .filter(|key| from.given(key))
        .collect();
    if ways.len() > 1 {
        let others = ways
            .iter()
            .skip(1)
            .copied()
            .collect::<Vec<_>>()
            .join(" and ");
        from.mistake_between(
            &ways,
            &format!("is given together with {others}; keep one way to log in"),
        );
    }
}

fn check_pair(from: &mut Reader, one: &str, other: &str) {
    for (given, missing) in [(one, other), (other, one)] {
        if from.given(given) && !from.given(missing) {
            from.mistake(
                given,
                &format!("is given without {missing}; give both or none"),
            );
        }
    }
}

fn check_url(list: &str) -> Result<(), Problem> {
    // Nothing of such a value is repeated: it holds a secret.
    if list.contains('@') {
        return Err(
            "must not hold a user, password or token, because addresses end up in logs; \
                    use nats.creds_file, nats.user with nats.password, or nats.token"
                .to_owned(),
        );
    }
    let is_usable = |server: &ServerAddr| {
        ["nats", "tls"].contains(&server.scheme()) && !server.host().is_empty()
    };
    let usable = |url: &&str| url.parse().as_ref().is_ok_and(is_usable);
    let wrong = list.split(',').map(str::trim).find(|url| !usable(url));
    let expected = "must be one or several addresses with nats:// or tls://, such as nats://127.0.0.1:4222, and commas between";
    wrong.map_or(Ok(()), |url| Err(format!("{expected}, not {}", shown(url))))
}

/// What JetStream takes as the name of a bucket.
fn check_bucket(name: &str) -> Result<(), Problem> {
    const LONGEST: usize = 96;
    if name.len() <= LONGEST
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    {
        return Ok(());
    }
    Err(format!(
        "must be letters, digits, \"-\" and \"_\", at most {LONGEST} characters, not {}",
        shown(name)
    ))
}

/// What every NATS client uses, with a suffix or without, and what a server makes of them for
/// another account.
const REPLY_PREFIXES: [&str; 3] = ["_INBOX.", "_INBOX_", "_R_."];

fn read_reply_prefixes(from: &mut Reader, subject_prefix: &str) -> Vec<String> {
    const KEY: &str = "nats.reply_prefixes";
    let own = format!("{subject_prefix}.");
    let prefixes = from.list_or(KEY, &REPLY_PREFIXES, |prefix| {
        check_reply_prefix(prefix, &own)
    });
    if prefixes.is_empty() {
        from.mistake(
            KEY,
            "is empty, so that nobody would be answered; name the beginning of an inbox",
        );
    }
    prefixes
}

/// A beginning of subjects that are nobody's but the caller's.
fn check_reply_prefix(prefix: &str, own: &str) -> Result<(), Problem> {
    let fits = !prefix.is_empty()
        && prefix.len() <= 255
        && prefix
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '*' && c != '>');
    if !fits {
        return Err(format!(
            "must be a list of beginnings of subjects without blanks and wildcards, not of {}",
            shown(prefix)
        ));
    }
    // The shorter one begins the other: every answer, or some, would go to the router itself.
    if prefix.starts_with('$') || prefix.starts_with(own) || own.starts_with(prefix) {
        return Err(format!(
            "must not allow the subjects of NATS or of the router itself, as {} does",
            shown(prefix)
        ));
    }
    Ok(())
}

/// A majority of an even number is as large as that of the next odd one.
fn read_replicas(from: &mut Reader) -> usize {
    let replicas = from.number("nats.sessions_replicas", 1, 1..=5);
    if replicas.is_multiple_of(2) {
        from.mistake(
            "nats.sessions_replicas",
            &format!("must be 1, 3 or 5, not {replicas}"),
        );
    }
    replicas as usize
}

/// Tokens that every NATS tool takes without quoting, and no wildcards.
fn check_prefix(prefix: &str) -> Result<(), Problem> {
    const LONGEST: usize = 64;
    let is_token = |token: &str| {
        !token.is_empty()
            && token
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if prefix.len() <= LONGEST && prefix.split('.').all(is_token) {
        return Ok(());
    }
    let expected =
        "must be subject tokens of letters, digits, \"-\" and \"_\" with dots between them";
    Err(format!(
        "{expected}, at most {LONGEST} characters, not {}",
        shown(prefix)
    ))
}
