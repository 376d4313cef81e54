//! The login of the NATS server: one for this router, the extensions and whatever else its owner
//! points at it. It keeps strangers out; everything of one person on one machine may do the same,
//! because each of it could read the others' secrets anyway.

use std::io;
use std::path::{Path, PathBuf};

use beamline_actors::disk;
use secrecy::{ExposeSecret, SecretString};

use super::secrets::Secret;
use super::state::StateDir;

pub(super) const USER: &str = "beamline";
/// What a shell reads.
pub const ENV_FILE: &str = "env";

/// Kept with the state directory, so that what was pointed at the server comes back by itself.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) password: SecretString,
    /// For the programs that are started here: whoever lists processes sees no password.
    pub(super) password_file: PathBuf,
}

impl Login {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            password: Secret::Password.open(directory)?,
            password_file: Secret::Password.place(directory),
        })
    }

    /// The part of the server's configuration. In clear: a hash would hide nothing, because the
    /// password lies in the same folder, and would cost a tenth of a second at each connection.
    pub(super) fn configuration(&self) -> String {
        let password = self.password.expose_secret();
        format!("authorization {{ user: \"{USER}\", password: \"{password}\" }}\n")
    }

    /// What a shell needs so that `nats`, the libraries, extensions and this program find the
    /// server and its login. The user is in the address, which most of them read, and beside it for
    /// the others (nats.js).
    pub(super) fn keep_for_shells(
        &self,
        url: &str,
        subject_prefix: &str,
        state: &StateDir,
    ) -> io::Result<()> {
        let password = self.password.expose_secret();
        let with_login = url.replacen("://", &format!("://{USER}:{password}@"), 1);
        let directory = quoted(&state.path().display().to_string());
        let text = format!(
            "# How to reach what `beamline-router up` runs here. In a shell: . this file\n\
             export NATS_URL='{with_login}'\n\
             export NATS_USER='{USER}'\n\
             export NATS_PASSWORD='{password}'\n\
             export BEAMLINE_SUBJECT_PREFIX='{subject_prefix}'\n\
             export BEAMLINE_UP_DIR={directory}\n\
             unset NATS_CREDS NATS_PASSWORD_FILE NATS_TOKEN\n"
        );
        disk::replace(&state.path().join(ENV_FILE), text.as_bytes())
    }
}

/// As a shell reads it back.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_shell_reads_it_whatever_the_folder_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join("it's $HOME; `x`");
        let state = StateDir::open(&odd).await.unwrap();
        let login = Login::open(state.path()).unwrap();
        login
            .keep_for_shells("nats://127.0.0.1:4555", "beamline", &state)
            .unwrap();
        let script = r#"set -eu; . "$0"; printf '%s\n' "$NATS_URL" "$BEAMLINE_UP_DIR""#;
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", script]).arg(odd.join(ENV_FILE)).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let password = login.password.expose_secret();
        let want = format!(
            "nats://beamline:{password}@127.0.0.1:4555\n{}\n",
            state.path().display()
        );
        assert_eq!(said, want);
    }
}
