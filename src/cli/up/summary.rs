//! What `up` says when everything answers: what runs where, and one command to try.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use crate::cli::view::text;
use crate::up::login::ENV_FILE;
use crate::up::state::Running;
use crate::up::{demo, extensions};

pub(super) struct Summary<'a> {
    pub(super) running: &'a Running,
    pub(super) state_dir: &'a Path,
    /// The usual HTTP address, if another program has it.
    pub(super) taken: Option<SocketAddr>,
    /// The NATS port of earlier runs, if another program has it.
    pub(super) nats_taken: Option<u16>,
    pub(super) demo: bool,
    /// Whether other commands in this directory look there by themselves.
    pub(super) default_place: bool,
    /// Whether the configuration leads other commands to another server.
    pub(super) overridden: bool,
}

impl Summary<'_> {
    pub(super) fn text(&self) -> String {
        let taken = self
            .taken
            .map(|usual| format!(" ({usual} is taken)"))
            .unwrap_or_default();
        let nats_taken = self
            .nats_taken
            .map(|usual| format!(" (port {usual} of earlier runs is taken)"))
            .unwrap_or_default();
        let state = text::plain(&self.state_dir.display().to_string());
        let rows = [
            ("NATS", format!("{}{nats_taken}", self.running.nats_url)),
            ("HTTP", format!("http://{}{taken}", self.running.http)),
            ("extensions", self.extensions().join(", ")),
            ("policy", self.policy().unwrap_or_default()),
            ("database", format!("{state}/registry.db")),
            ("key", format!("{state}/admin.key")),
            ("login", format!("{state}/env")),
            ("logs", format!("{state}/logs/*.log")),
        ];
        let rows = rows.iter().filter(|(_, value)| !value.is_empty());
        let rows: String = rows
            .map(|(name, value)| format!("  {name:<12}{value}\n"))
            .collect();
        format!(
            "Beamline Router is up; Ctrl-C stops all of it.\n\n{rows}\n\
             Try, in another terminal:\n\n{}  {}\n\n{}",
            self.login_first(),
            self.next(),
            self.for_others(),
        )
    }

    /// What lies elsewhere is found only in a shell that was told.
    fn login_first(&self) -> String {
        if self.default_place {
            return String::new();
        }
        format!("  {}\n", self.login())
    }

    fn for_others(&self) -> String {
        if self.default_place {
            let login = self.login();
            return format!(
                "NATS wants a login. For `nats`, extensions and gateways of your own, first type\n\n  {login}\n"
            );
        }
        "The first line also tells `nats`, extensions and gateways of your own how to log in.\n"
            .to_owned()
    }

    /// What a shell reads, as it can be typed where `up` was started.
    fn login(&self) -> String {
        let file = self.state_dir.join(ENV_FILE).display().to_string();
        let file = text::plain(&file);
        if needs_no_quotes(&file) {
            return format!(". {file}");
        }
        format!(". '{}'", file.replace('\'', r"'\''"))
    }

    pub(super) fn document(&self) -> String {
        json!({
            "ok": true,
            "nats_url": self.running.nats_url,
            "nats_port_taken": self.nats_taken,
            "subject_prefix": self.running.subject_prefix,
            "http": self.running.http,
            "pid": self.running.pid,
            "state_dir": self.state_dir,
            "extensions": self.extensions(),
            "policy": self.policy(),
            "login": self.login(),
            "try": self.next(),
        })
        .to_string()
    }

    fn extensions(&self) -> Vec<&'static str> {
        if self.demo {
            extensions::REFERENCE
                .iter()
                .map(|reference| reference.id)
                .collect()
        } else {
            Vec::new()
        }
    }

    fn policy(&self) -> Option<String> {
        self.demo
            .then(|| format!("{}/{}", demo::TENANT, demo::POLICY))
    }

    fn next(&self) -> String {
        let mut command = own_name();
        if self.demo {
            command.push_str(&format!(
                " request --tenant {} \"{}\"",
                demo::TENANT,
                demo::MESSAGE
            ));
        } else {
            command.push_str(" tree");
        }
        if self.overridden {
            let Running {
                nats_url,
                subject_prefix,
                ..
            } = self.running;
            command.push_str(&format!(
                " --nats-url {nats_url} --subject-prefix {subject_prefix}"
            ));
        }
        command
    }
}

/// As it was typed, so that the line can be copied also when the program is not on the PATH.
fn own_name() -> String {
    std::env::args()
        .next()
        .filter(|name| needs_no_quotes(name))
        .unwrap_or_else(|| "beamline-router".to_owned())
}

fn needs_no_quotes(name: &str) -> bool {
    name.chars()
        .all(|character| character.is_ascii_alphanumeric() || "/._-".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(demo: bool, state_dir: &str, overridden: bool) -> String {
        let running = Running {
            nats_url: "nats://127.0.0.1:4555".to_owned(),
            subject_prefix: "beamline".to_owned(),
            http: ([127, 0, 0, 1], 9999).into(),
            pid: 7,
        };
        let taken = Some(([127, 0, 0, 1], 8080).into());
        Summary {
            running: &running,
            state_dir: Path::new(state_dir),
            taken,
            nats_taken: Some(4222),
            demo,
            default_place: state_dir == ".beamline",
            overridden,
        }
        .text()
    }

    #[test]
    fn it_names_every_place_and_one_command() {
        let text = text_of(true, ".beamline", false);
        for part in [
            "nats://127.0.0.1:4555 (port 4222 of earlier runs is taken)\n",
            "http://127.0.0.1:9999 (127.0.0.1:8080 is taken)\n",
            "normalize_text, pii_guard, mock_provider, mask_pii\n",
            "demo/default\n",
            ".beamline/registry.db\n",
            ".beamline/admin.key\n",
            ".beamline/logs/*.log\n",
            " request --tenant demo \"",
            "\n\n  . .beamline/env\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("--nats-url"), "{text}");
    }

    #[test]
    fn elsewhere_the_login_comes_first() {
        let text = text_of(false, "my router", false);
        let (_, next) = text.split_once("terminal:\n\n").expect("what to type");
        let mut lines = next.lines();
        assert_eq!(lines.next(), Some("  . 'my router/env'"));
        assert!(lines.next().is_some_and(|line| line.ends_with(" tree")));
        assert!(!text.contains("demo"), "{text}");
    }

    #[test]
    fn where_the_configuration_leads_elsewhere_the_command_says_where() {
        let text = text_of(false, ".beamline", true);
        assert!(
            text.contains(" tree --nats-url nats://127.0.0.1:4555 --subject-prefix beamline\n"),
            "{text}"
        );
    }
}
