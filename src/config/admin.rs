//! Who may use the administration, and who therefore can.

use std::net::IpAddr;

use async_nats::ServerAddr;
use beamline_contract::admin::Role;
use secrecy::{ExposeSecret, SecretString};

use super::http::HttpConfig;
use super::nats::NatsConfig;
use super::printout::redacted;
use super::reader::Reader;
use super::values::{Problem, shown};

/// Section `admin`.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub api_key: Option<SecretString>,
    /// What whoever has `api_key` may do.
    pub api_key_role: Role,
    /// Whoever has no key may do everything.
    pub open: bool,
    /// Whoever has no key may look.
    pub anonymous_looks: bool,
}

/// A key of fewer characters could be guessed.
const SHORTEST_KEY: usize = 16;

/// `admin.anonymous`.
const VIEWER: &str = "viewer";
const NONE: &str = "none";

impl AdminConfig {
    pub(super) fn read(from: &mut Reader) -> Self {
        let api_key = from.secret("admin.api_key", redacted, check_key);
        if api_key
            .as_ref()
            .is_some_and(|key| key.expose_secret().len() < SHORTEST_KEY)
        {
            from.warn(format!(
                "admin.api_key has fewer than {SHORTEST_KEY} characters and could be guessed, also from a signature that somebody reads on the bus"
            ));
        }
        let role = from.text("admin.api_key_role", Role::Admin.as_str(), check_role);
        let anonymous = from.text("admin.anonymous", VIEWER, check_anonymous);
        let admin = Self {
            api_key,
            api_key_role: Role::parse(&role).unwrap_or(Role::Viewer),
            open: from.boolean("admin.open", false),
            anonymous_looks: anonymous == VIEWER,
        };
        if admin.open && !admin.anonymous_looks {
            let keys = ["admin.open", "admin.anonymous"];
            from.mistake_between(
                &keys,
                "opens everything to those whom admin.anonymous = \"none\" keeps out; keep one of the two",
            );
        }
        admin
    }

    /// What whoever has no key may do.
    pub fn anonymous(&self) -> Option<Role> {
        match (self.open, self.anonymous_looks) {
            (true, _) => Some(Role::Admin),
            (false, true) => Some(Role::Viewer),
            (false, false) => None,
        }
    }

    /// Leaving the loopback interface without a key may be meant, behind a proxy for instance.
    pub(super) fn check_exposure(&self, http: &HttpConfig, nats: &NatsConfig, from: &mut Reader) {
        if self.api_key.is_none() && !http.listen.ip().is_loopback() {
            from.warn(format!(
                "http.listen {} can be reached from other machines and admin.api_key is not set",
                http.listen
            ));
        }
        let reach = Reach::of(nats);
        if self.open {
            from.warn(format!("admin.open: {} {CHANGES}", reach.who()));
        }
        if !reach.here_only && !reach.logs_in && self.anonymous_looks && !self.open {
            from.warn(format!(
                "{} {LOOKS}; set nats.creds_file, nats.user or nats.token, or admin.anonymous = \"{NONE}\"",
                reach.who()
            ));
        }
        if !reach.here_only && !reach.encrypted {
            from.warn(format!(
                "messages to and from {} are not encrypted: whoever carries them can read and change them; \
                 use tls:// or nats.tls.required",
                reach.place
            ));
        }
    }

    /// What is open without a key, and to whom.
    pub(super) fn openings(&self, nats: &NatsConfig) -> Vec<String> {
        let reach = Reach::of(nats);
        let what = match self.anonymous() {
            None => return Vec::new(),
            Some(Role::Admin) => format!("{CHANGES} (admin.open)"),
            Some(_) => format!("{LOOKS} (admin.anonymous)"),
        };
        vec![format!("{} {what}", reach.who())]
    }
}

const CHANGES: &str = "can change extensions, policies and keys without a key";
const LOOKS: &str = "can read extensions, policies and health without a key";

/// Who reaches the administration's subjects, as far as this router's own configuration says.
struct Reach {
    place: String,
    here_only: bool,
    logs_in: bool,
    encrypted: bool,
}

impl Reach {
    fn of(nats: &NatsConfig) -> Self {
        let servers = || nats.url.split(',').filter_map(|url| url.parse().ok());
        Self {
            place: nats.url.clone(),
            here_only: servers().all(|server: ServerAddr| is_here(server.host())),
            logs_in: nats.creds_file.is_some() || nats.user.is_some() || nats.token.is_some(),
            encrypted: nats.tls.is_wanted()
                || servers().all(|server: ServerAddr| server.scheme() == "tls"),
        }
    }

    fn who(&self) -> String {
        let programs = if self.here_only {
            "every program on this machine".to_owned()
        } else {
            format!("every program on every machine that reaches {}", self.place)
        };
        if self.logs_in {
            format!("{programs}, with a login that NATS lets publish there,")
        } else {
            format!("{programs}, without a login,")
        }
    }
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The key travels in a header.
fn check_key(key: &str) -> Result<(), Problem> {
    let fits = key.chars().all(|c| c.is_ascii_graphic());
    fits.then_some(())
        .ok_or_else(|| "must be printable ASCII without blanks".to_owned())
}

fn check_role(word: &str) -> Result<(), Problem> {
    let words: Vec<&str> = Role::WORDS.iter().map(|(word, _)| *word).collect();
    Role::parse(word)
        .map(|_| ())
        .ok_or_else(|| format!("must be one of {}, not {}", words.join(", "), shown(word)))
}

fn check_anonymous(word: &str) -> Result<(), Problem> {
    let problem = || format!("must be \"{VIEWER}\" or \"{NONE}\", not {}", shown(word));
    let fits = [VIEWER, NONE].contains(&word);
    fits.then_some(()).ok_or_else(problem)
}
